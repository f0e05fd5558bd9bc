"""A client is read only as fast as it is answered, and reads as slowly as it likes, at nobody's cost."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tenure_protocol.frames import encode_frame
from tests.server.support import HeldStore, Running, Wire, body, running


async def test_a_client_with_too_many_unanswered_requests_is_not_read_until_answered() -> None:
    store = HeldStore()
    async with running({"limits.requests_per_connection": 10}, store=store) as broker:
        wire, other = await broker.hello(), await broker.hello()
        store.holding = True

        requests = [wire.post("enqueue", ["q", [body()]]) for _ in range(25)]
        await broker.until(lambda: broker.hub.counters.requests["enqueue"] == 10)
        assert "now_ms" in await other.do("ping", [])
        assert broker.hub.counters.requests["enqueue"] == 10

        store.let_go()
        for request in requests:
            assert (await wire.reply(request))[0] == 0
        assert broker.hub.request_bytes == 0


async def test_a_client_with_too_many_unanswered_bytes_is_not_read_until_answered() -> None:
    store = HeldStore()
    async with running({"limits.request_bytes_per_connection": "64KiB"}, store=store) as broker:
        wire, other = await broker.hello(), await broker.hello()
        store.holding = True

        requests = [wire.post("enqueue", ["q", [body(bytes(50_000))]]) for _ in range(6)]
        await broker.until(lambda: broker.hub.counters.requests["enqueue"] == 2)
        assert "now_ms" in await other.do("ping", [])
        assert broker.hub.counters.requests["enqueue"] == 2

        store.let_go()
        for request in requests:
            assert (await wire.reply(request))[0] == 0


async def test_all_clients_together_may_have_only_so_many_bytes_unanswered() -> None:
    store = HeldStore()
    async with running({"limits.request_bytes_max": "1MiB"}, store=store) as broker:
        wires = [await broker.hello() for _ in range(8)]
        store.holding = True

        requests = [
            [wire.post("enqueue", ["q", [body(bytes(100_000))]]) for _ in range(5)]
            for wire in wires
        ]
        await broker.until(lambda: len(broker.hub.starved) > 0)
        assert broker.hub.request_bytes < (1 << 20) + 8 * 110_000
        assert broker.hub.counters.requests["enqueue"] < 40

        store.let_go()
        for wire, posted in zip(wires, requests, strict=True):
            for request in posted:
                assert (await wire.reply(request))[0] == 0
        assert broker.hub.request_bytes == 0
        assert not broker.hub.starved


async def test_of_too_many_unfinished_frames_the_largest_is_cut_off() -> None:
    async with running({"limits.request_bytes_max": "1MiB"}) as broker:
        large, small = await broker.hello(), await broker.hello()
        frame = encode_frame([9, "enqueue", ["q", [body(bytes(900_000))]]])
        large.writer.write(frame[:800_000])
        await broker.until(lambda: broker.hub.partial_bytes == 800_000)

        small.writer.write(frame[:300_000])

        assert (await large.fatal())[0] == "TOO_MANY_WAITING"
        small.writer.write(frame[300_000:])
        assert (await small.reply(9))[0] == 0
        assert broker.hub.partial_bytes == 0


async def test_waiting_requests_do_not_keep_a_client_from_being_read() -> None:
    async with running({"limits.requests_per_connection": 2}) as broker:
        wire = await broker.hello()

        for _ in range(10):
            wire.post("reserve", [["q"], 1, 60_000])

        assert "now_ms" in await wire.do("ping", [])


async def test_time_in_which_a_client_was_not_read_is_not_its_silence() -> None:
    store = HeldStore()
    async with running({"limits.requests_per_connection": 2}, store=store) as broker:
        wire = await broker.hello()
        store.holding = True
        requests = [wire.post("enqueue", ["q", [body()]]) for _ in range(4)]
        await broker.until(lambda: broker.hub.counters.requests["enqueue"] == 2)

        for _ in range(3):
            broker.advance(60_000)
        store.let_go()
        for request in requests:
            assert (await wire.reply(request))[0] == 0
        broker.advance(60_000)

        assert "now_ms" in await wire.do("ping", [])


async def silent_peer(broker: Running) -> Wire:
    """A client with small buffers that reads nothing after its hello."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect(("127.0.0.1", broker.port))
    wire = Wire(*await asyncio.open_connection(sock=peer, limit=4096))
    await wire.do("hello", {"protocol": [1, 1], "client": "slow"})
    return wire


async def test_a_client_that_does_not_read_small_answers_is_not_read_either() -> None:
    async with running({"limits.outbound_bytes_max": "1MiB"}) as broker:
        good, wire = await broker.hello(), await silent_peer(broker)
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]

        requests = [wire.post("stats", {}) for _ in range(15_000)]
        # Others are served on, and at some point nothing more of this client is read.
        read = -1
        while read != broker.hub.counters.requests["stats"]:
            read = broker.hub.counters.requests["stats"]
            for _ in range(300):
                await good.do("ping", [])
        assert read < 15_000

        wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for request in requests:
            assert (await wire.reply(request))[0] == 0


async def slow_reader(broker: Running) -> tuple[Wire, list[int]]:
    """A client that asks for 40 MB of replies and reads none of them, behind small buffers."""
    wire = await silent_peer(broker)
    await wire.do("enqueue", ["q", [body(bytes(400_000))]])
    wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
    arguments = {"queue": "q", "state": "ready", "limit": 1}
    return wire, [wire.post("peek", arguments) for _ in range(100)]


async def test_a_slow_reader_is_not_read_and_gets_everything_once_it_reads() -> None:
    async with running({"limits.outbound_bytes_max": "1MiB"}) as broker:
        good = await broker.hello()
        wire, requests = await slow_reader(broker)
        await broker.until(lambda: broker.hub.counters.requests["peek"] >= 3)

        for _ in range(50):
            assert "now_ms" in await good.do("ping", [])
        assert broker.hub.counters.requests["peek"] < 20

        wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for request in requests:
            assert (await wire.reply(request))[0] == 0


async def test_a_client_that_never_reads_is_disconnected_and_the_others_are_not() -> None:
    async with running({"limits.outbound_bytes_max": "1MiB"}) as broker:
        wire, _ = await slow_reader(broker)
        await broker.until(lambda: broker.hub.counters.requests["peek"] >= 3)
        good = await broker.hello()
        for _ in range(50):
            await good.do("ping", [])

        broker.advance(20_000)
        assert "now_ms" in await good.do("ping", [])
        broker.advance(20_000)
        broker.advance(20_000)

        await broker.until(lambda: "send_timeout" in broker.hub.counters.closed)
        assert "now_ms" in await good.do("ping", [])
        assert broker.hub.request_bytes == 0
        wire.close()


def unread_bytes(broker: Running) -> int:
    return sum(each.unread_bytes for each in broker.hub.connections)


async def test_of_many_slow_readers_those_who_leave_most_unread_are_cut_off() -> None:
    settings = {"limits.outbound_bytes_max": "1MiB", "limits.outbound_bytes_total": "4MiB"}
    async with running(settings) as broker:
        good = await broker.hello()

        slow = [(await slow_reader(broker))[0] for _ in range(6)]
        await broker.until(lambda: broker.hub.counters.closed.get("unread_replies", 0) >= 1)
        assert 0 < unread_bytes(broker) <= 2 * (4 << 20)

        broker.advance(1_000)
        broker.advance(2_000)
        assert 0 < unread_bytes(broker) <= 4 << 20
        assert "now_ms" in await good.do("ping", [])
        for wire in slow:
            wire.close()


async def test_long_replies_to_many_clients_are_made_turn_by_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tenure_server.hub.BULK_BYTES_MAX", 100_000)
    async with running() as broker:
        wires = [await broker.hello() for _ in range(30)]
        await wires[0].do("enqueue", ["q", [body(bytes(5_000))] * 10])
        engine, made = broker.hub.engine, [0]
        execute = engine.execute

        def watched(*arguments: Any) -> None:
            made.append(engine.bulk_bytes)
            execute(*arguments)

        monkeypatch.setattr(engine, "execute", watched)

        # All are there before the broker reads the first: it must not make all pages at once.
        asked = [
            [wire.post("peek", {"queue": "q", "state": "ready"}) for _ in range(3)]
            for wire in wires
        ]
        enqueued = wires[0].post("enqueue", ["q", [body()]])
        for wire, requests in zip(wires, asked, strict=True):
            for request in requests:
                status, page = await wire.reply(request)
                assert (status, len(page["jobs"]) >= 10) == (0, True)

        assert (await wires[0].reply(enqueued))[0] == 0
        assert len(made) == 1 + 30 * 3 + 1
        assert 90_000 < max(made) < 200_000


async def test_who_asks_for_a_little_is_not_behind_all_that_others_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tenure_server.hub.BULK_BYTES_MAX", 100_000)
    async with running() as broker:
        greedy = [await broker.hello() for _ in range(5)]
        modest = await broker.hello()
        await modest.do("enqueue", ["large", [body(bytes(5_000))] * 10])
        await modest.do("enqueue", ["small", [body()]])
        engine = broker.hub.engine
        asked: list[str] = []
        execute = engine.execute

        def watched(session: Any, request_id: int, op: str, *rest: Any) -> None:
            asked.append(op)
            execute(session, request_id, op, *rest)

        monkeypatch.setattr(engine, "execute", watched)

        for wire in greedy:
            for _ in range(20):
                wire.post("peek", {"queue": "large", "state": "ready"})
        assert len(await modest.do("reserve", [["small"], 1, 0])) == 1

        # One page each, and what the first had begun with; not twenty of each.
        assert asked.index("reserve") < 25
        for wire in greedy:
            for request in range(2, 22):
                assert (await wire.reply(request))[0] == 0
