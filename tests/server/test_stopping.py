"""Told to stop: answer what is in flight, commit, close, exit 0; told twice: at once."""

from __future__ import annotations

import errno
import signal
from pathlib import Path

import pytest

from tests.server.support import HELLO, HeldStore, Wire, body, process, running


async def test_a_stop_answers_what_is_in_flight_and_exits_clean() -> None:
    store = HeldStore()
    async with running(store=store) as broker:
        wire = await broker.hello()
        store.holding = True
        first = wire.post("enqueue", ["q", [body()]])
        await broker.until(lambda: len(store.held) == 1)
        second = wire.post("enqueue", ["q", [body()]])
        await broker.until(lambda: broker.hub.counters.requests["enqueue"] == 2)

        broker.broker.stop()
        assert await wire.frame() == [0, 2, ["draining", {}]]
        store.let_go()

        assert (await wire.reply(first))[0] == 0
        assert (await wire.reply(second))[0] == 0
        assert await wire.frame() is None
        wire.close()
        assert await broker.exit_code() == 0


async def test_a_peer_that_cuts_its_connection_at_that_moment_does_not_spoil_the_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cut_off(_: object) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    async with running() as broker:
        wire = await broker.hello()
        # Its reset is there, and the loop has not read it yet.
        monkeypatch.setattr("asyncio.selector_events._SelectorSocketTransport.write_eof", cut_off)
        broker.broker.stop()

        assert await wire.frame() == [0, 2, ["draining", {}]]
        wire.close()
        assert await broker.exit_code() == 0


async def test_a_stop_ends_waiting_reserves_with_nothing() -> None:
    async with running() as broker:
        wire = await broker.hello()
        request = wire.post("reserve", [["q"], 1, 3_600_000])
        await broker.until(lambda: broker.hub.engine.waiting_count == 1)

        broker.broker.stop()

        assert await wire.reply(request) == (0, [])
        await wire.closed()
        wire.close()
        assert await broker.exit_code() == 0


async def test_while_it_stops_the_broker_takes_no_new_connections_and_no_new_jobs() -> None:
    store = HeldStore()
    async with running(store=store) as broker:
        wire, late = await broker.hello(), await Wire.connect(broker.port)
        await broker.until(lambda: len(broker.hub.connections) == 2)
        store.holding = True
        first = wire.post("enqueue", ["q", [body()]])
        await broker.until(lambda: len(store.held) == 1)

        broker.broker.stop()
        assert await wire.frame() == [0, 2, ["draining", {}]]
        status, error = await wire.ask("enqueue", ["q", [body()]])
        assert (status, error[0], error[2]) == (1, "DRAINING", True)
        late.post("hello", HELLO)
        assert (await late.fatal())[0] == "DRAINING"
        with pytest.raises(ConnectionRefusedError):
            await Wire.connect(broker.port)

        store.let_go()
        assert (await wire.reply(first))[0] == 0


async def test_a_commit_that_outlasts_the_grace_makes_the_stop_unclean() -> None:
    store = HeldStore()
    async with running({"timeouts.stop": "20ms"}, store=store) as broker:
        wire = await broker.hello()
        store.holding = True
        wire.post("enqueue", ["q", [body()]])
        await broker.until(lambda: len(store.held) == 1)

        broker.broker.stop()

        assert await broker.exit_code() == 1
        assert await wire.frame() == [0, 2, ["draining", {}]]
        assert await wire.frame() is None


async def test_a_client_that_never_reads_does_not_hold_up_the_stop() -> None:
    async with running({"timeouts.stop": "50ms"}) as broker:
        wire = await broker.hello()
        await wire.do("enqueue", ["q", [body(bytes(900_000))]])
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(50):
            wire.post("peek", {"queue": "q", "state": "ready", "limit": 1})
        await broker.until(lambda: any(each.unread_bytes for each in broker.hub.connections))

        broker.broker.stop()

        assert await broker.exit_code() == 0


async def test_draining_by_request_refuses_work_and_can_be_ended() -> None:
    async with running() as broker:
        wire = await broker.hello()
        await wire.do("enqueue", ["q", [body()]])
        [[job_id, attempt, *_]] = await wire.do("reserve", [["q"], 1, 0])

        assert await wire.do("drain", {}) == {"draining": True}
        assert (await wire.ask("enqueue", ["q", [body()]]))[1][0] == "DRAINING"
        assert (await wire.do("stats", {}))["draining"] is True
        assert await wire.do("ack", [[[job_id, attempt]]]) == [0]
        assert "now_ms" in await (await broker.hello()).do("ping", [])

        assert await wire.do("drain", {"off": True}) == {"draining": False}
        await wire.do("enqueue", ["q", [body()]])
        assert (await wire.ask("drain", {"off": "yes"}))[1][0] == "BAD_REQUEST"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_process_with_everything_confirmed_kept(
    place: Path, number: signal.Signals
) -> None:
    with process(place) as broker:
        wire = await Wire.hello(broker.ports["listen"][1])
        [job_id], _ = await wire.do("enqueue", ["q", [body()]])
        await wire.do("reserve", [["q"], 1, 0])

        broker.signal(number)

        assert await wire.frame() == [0, 2, ["draining", {}]]
        assert await wire.frame() is None
        wire.close()
        assert broker.wait() == 0
        assert not broker.port_file.exists()
        assert broker.logged("stopping")["signal"] == number.name
        assert broker.logged("stopped")["clean"] is True

    with process(place) as broker:
        wire = await Wire.hello(broker.ports["listen"][1])
        info = await wire.do("get", [job_id])
        assert info["state"] == "leased"
        wire.close()


async def test_a_second_signal_ends_the_process_at_once_even_while_a_commit_hangs(
    place: Path,
) -> None:
    with process(place, module="tests.server.hanging_broker") as broker:
        wire = await Wire.hello(broker.ports["listen"][1])
        wire.post("enqueue", ["q", [body()]])
        broker.told("COMMITTING")

        broker.signal(signal.SIGTERM)
        broker.told("STOPPING=1")
        broker.signal(signal.SIGTERM)

        assert broker.wait() == 128 + signal.SIGTERM
        assert broker.logged("stopping_at_once")["signal"] == "SIGTERM"
        assert not broker.port_file.exists()
        wire.close()


async def test_a_stop_that_takes_too_long_ends_by_itself_even_while_a_commit_hangs(
    place: Path,
) -> None:
    with process(
        place, module="tests.server.hanging_broker", environ={"TENURE_TIMEOUTS_STOP": "0s"}
    ) as broker:
        wire = await Wire.hello(broker.ports["listen"][1])
        wire.post("enqueue", ["q", [body()]])
        broker.told("COMMITTING")

        broker.signal(signal.SIGTERM)

        assert broker.wait() == 1
        assert not broker.port_file.exists()
        wire.close()


async def test_a_dump_shows_where_a_commit_hangs(place: Path) -> None:
    with process(place, module="tests.server.hanging_broker") as broker:
        wire = await Wire.hello(broker.ports["listen"][1])
        wire.post("enqueue", ["q", [body()]])
        broker.told("COMMITTING")

        broker.signal(signal.SIGUSR2)
        broker.signal(signal.SIGTERM)
        broker.told("STOPPING=1")
        broker.signal(signal.SIGTERM)

        broker.wait()
        assert "in hang" in broker.logged("dump")["stacks"]
        wire.close()
