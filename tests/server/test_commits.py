"""The turn: one commit in flight, answers only after it, and no answer at all when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tenure_protocol.frames import encode_frame
from tenure_server import exits
from tenure_server.connection import Connection
from tenure_storage.journaled_store import open_journaled
from tenure_storage.store import StoreError
from tests.server.support import HeldStore, Wire, body, running
from tests.support.syncs import replace_syncs


def watch_writes(connection: Connection, on_write: Callable[[int], None]) -> None:
    """Calls `on_write` with the length of each write to a client."""
    original = connection.transport

    class Watched:
        def __getattr__(self, name: str) -> object:
            return getattr(original, name)

        def write(self, data: bytes) -> None:
            on_write(len(data))
            original.write(data)

    connection.transport = Watched()  # type: ignore[assignment]


async def test_an_enqueue_is_answered_only_after_its_commit() -> None:
    store = HeldStore()
    async with running(store=store) as broker:
        wire, other = await broker.hello(), await broker.hello()
        store.holding = True

        request = wire.post("enqueue", ["q", [body()]])
        await broker.until(lambda: len(store.held) == 1)
        for _ in range(20):
            await other.do("ping", [])
        assert len(wire.reader._buffer) == 0  # type: ignore[attr-defined]

        store.let_go()
        status, [ids, existing] = await wire.reply(request)
        assert (status, len(ids), existing) == (0, 1, None)


async def test_while_a_commit_is_in_flight_the_next_batch_gathers() -> None:
    store = HeldStore()
    async with running(store=store) as broker:
        wires = [await broker.hello() for _ in range(10)]
        store.holding = True
        before = store.submitted

        first = wires[0].post("enqueue", ["q", [body()]])
        await broker.until(lambda: len(store.held) == 1)
        later = [(wire, wire.post("enqueue", ["q", [body()]])) for wire in wires[1:]]
        await broker.until(lambda: broker.hub.counters.requests["enqueue"] == 10)
        for _ in range(10):
            await wires[0].do("ping", [])
        assert len(store.held) == 1

        store.let_go()
        assert (await wires[0].reply(first))[0] == 0
        for wire, request in later:
            assert (await wire.reply(request))[0] == 0
        assert store.submitted - before == 2


async def test_a_delivery_leaves_only_after_the_commit_of_its_lease() -> None:
    store = HeldStore()
    async with running(store=store) as broker:
        wire, other = await broker.hello(), await broker.hello()
        await wire.do("enqueue", ["q", [body()]])
        store.holding = True

        request = wire.post("reserve", [["q"], 1, 0])
        await broker.until(lambda: len(store.held) == 1)
        for _ in range(20):
            await other.do("ping", [])
        assert len(wire.reader._buffer) == 0  # type: ignore[attr-defined]

        store.let_go()
        assert len((await wire.reply(request))[1]) == 1


async def test_the_reply_to_a_client_that_left_meanwhile_is_dropped() -> None:
    store = HeldStore()
    async with running(store=store) as broker:
        leaving, staying = await broker.hello(), await broker.hello()
        store.holding = True
        leaving.post("enqueue", ["q", [body()]])
        await broker.until(lambda: len(store.held) == 1)

        leaving.close()
        await broker.until(lambda: len(broker.hub.connections) == 1)
        store.let_go()

        assert (await staying.do("queue.get", {"queue": "q"}))["counts"]["ready"] == 1


async def test_a_failed_commit_answers_nobody_and_ends_the_broker() -> None:
    store = HeldStore()
    async with running(store=store) as broker:
        wire, other = await broker.hello(), await broker.hello()
        store.holding = True
        wire.post("enqueue", ["q", [body()]])
        await broker.until(lambda: len(store.held) == 1)
        other.post("enqueue", ["q", [body()]])
        await broker.until(lambda: broker.hub.counters.requests["enqueue"] == 2)

        store.fail(OSError(5, "Input/output error"))

        assert await broker.exit_code() == exits.IO_ERROR
        assert await wire.frame() is None
        assert await other.frame() is None
        assert broker.hub.pump.latched


async def test_a_store_that_refuses_a_batch_ends_the_broker() -> None:
    store = HeldStore()
    async with running(store=store) as broker:
        wire = await broker.hello()
        store.inner.close()

        wire.post("enqueue", ["q", [body()]])

        assert await broker.exit_code() == exits.IO_ERROR
        assert await wire.frame() is None


async def test_a_refusal_of_the_turn_in_which_the_store_refuses_does_not_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = HeldStore()
    async with running(store=store) as broker:
        wire = await broker.hello()

        def refusing(*_: object) -> None:
            raise StoreError("the disk is gone")

        monkeypatch.setattr(store, "submit", refusing)
        wire.post("ack", ["nonsense"])
        wire.post("enqueue", ["q", [body()]])

        assert await broker.exit_code() == exits.IO_ERROR
        assert await wire.frame() is None


async def test_a_fault_of_the_engine_commits_and_answers_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = HeldStore()
    async with running(store=store) as broker:
        wire, other = await broker.hello(), await broker.hello()
        submitted = store.submitted

        def broken(*_: object) -> None:
            raise AssertionError("this cannot be")

        monkeypatch.setattr(broker.hub.engine, "execute", broken)
        wire.post("enqueue", ["q", [body()]])

        assert await broker.exit_code() == exits.INTERNAL
        assert await wire.frame() is None
        assert await other.frame() is None
        assert store.submitted == submitted


async def test_after_a_failed_fsync_the_next_start_has_what_was_confirmed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_journaled(place / "data", max_bytes=64 << 20)
    async with running(store=store) as broker:
        wire = await broker.hello()
        [confirmed], _ = await wire.do("enqueue", ["q", [body(b"kept")]])

        def failing(sync: Callable[[], object]) -> None:
            raise OSError(5, "Input/output error")

        replace_syncs(monkeypatch, failing)
        wire.post("enqueue", ["q", [body(b"lost")]])

        assert await broker.exit_code() == exits.IO_ERROR
        assert await wire.frame() is None
    store.close()
    monkeypatch.undo()

    again = open_journaled(place / "data", max_bytes=64 << 20)
    async with running(store=again) as broker:
        wire = await broker.hello()
        [job, *_unconfirmed] = await wire.do("reserve", [["q"], 10, 0])
        assert job[0] == confirmed
    again.close()


async def test_a_lone_request_is_answered_after_its_sync_too(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_journaled(place / "data", max_bytes=64 << 20)
    seen: list[str] = []

    def noted(sync: Callable[[], object]) -> None:
        sync()
        seen.append("synced")

    async with running(store=store) as broker:
        wire = await broker.hello()
        [connection] = broker.hub.connections
        watch_writes(connection, lambda size: seen.append("answered"))
        replace_syncs(monkeypatch, noted)
        for _ in range(3):
            await wire.do("enqueue", ["q", [body()]])
        assert seen == ["synced", "answered"] * 3
    store.close()


async def test_what_a_lone_request_changed_is_there_for_the_next_one(place: Path) -> None:
    store = open_journaled(place / "data", max_bytes=64 << 20)
    async with running(store=store) as broker:
        wire, worker = await broker.hello(), await broker.hello()
        for _ in range(20):
            [job_id], _ = await wire.do("enqueue", ["q", [body()]])
            assert (await worker.do("get", [job_id]))["state"] == "ready"
            [[leased, attempt, *_]] = await worker.do("reserve", [["q"], 1, 0])
            assert leased == job_id
            assert await worker.do("ack", [[[job_id, attempt]]]) == [0]
            assert await worker.do("reserve", [["q"], 1, 0]) == []
    store.close()


async def test_a_failed_sync_of_a_lone_request_ends_the_broker_unanswered(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_journaled(place / "data", max_bytes=64 << 20)
    async with running(store=store) as broker:
        wire = await broker.hello()
        await wire.do("enqueue", ["q", [body()]])

        def failing(sync: Callable[[], object]) -> None:
            raise OSError(5, "Input/output error")

        replace_syncs(monkeypatch, failing)
        wire.post("enqueue", ["q", [body()]])
        assert await broker.exit_code() == exits.IO_ERROR
        assert await wire.frame() is None
        assert broker.hub.pump.latched
    store.close()


async def test_replies_to_one_connection_leave_in_one_write() -> None:
    async with running() as broker:
        wire = await broker.hello()
        [connection] = broker.hub.connections
        writes: list[int] = []
        watch_writes(connection, writes.append)
        requests = [wire.post("ping", []) for _ in range(50)]
        await wire.writer.drain()
        for request in requests:
            await wire.reply(request)

        assert len(writes) <= 2


async def test_a_lease_that_runs_out_gives_the_job_to_a_waiting_worker() -> None:
    async with running() as broker:
        slow, quick = await broker.hello(), await broker.hello()
        await slow.do("enqueue", ["q", [body()]])
        [[job_id, attempt, *_]] = await slow.do("reserve", [["q"], 1, 0, 60_000])
        request = quick.post("reserve", [["q"], 1, 600_000])
        await broker.until(lambda: broker.hub.engine.waiting_count == 1)

        broker.advance(61_000)
        await broker.until(lambda: broker.hub.engine.waiting_count == 0)

        [refusal] = await slow.do("ack", [[[job_id, attempt]]])
        assert refusal[:2] == [1, "LEASE_LOST"]
        broker.advance(5_000)
        async with asyncio.timeout(10):
            [job] = (await quick.reply(request))[1]
        assert (job[0], job[1]) == (job_id, attempt + 1)


async def test_many_clients_at_once_share_commits() -> None:
    store = HeldStore()
    async with running(store=store) as broker:
        wires = [await broker.hello() for _ in range(100)]
        before = store.submitted

        async def work(wire: Wire) -> None:
            await wire.do("enqueue", ["q", [body()]])
            [[job_id, attempt, *_]] = await wire.do("reserve", [["q"], 1, 10_000])
            assert await wire.do("ack", [[[job_id, attempt]]]) == [0]

        await asyncio.gather(*map(work, wires))

        assert store.submitted - before < 150
        info = await wires[0].do("queue.get", {"queue": "q"})
        assert (info["jobs"], info["totals"]["succeeded"]) == (0, 100)


async def test_whoever_was_answered_finds_at_once_what_the_answer_speaks_of(place: Path) -> None:
    store = open_journaled(place / "data", max_bytes=64 << 20)
    async with running(store=store) as broker:
        wire = await broker.hello()
        [connection] = broker.hub.connections
        loop = asyncio.get_running_loop()
        asked = encode_frame([2, "reserve", [["q"], 1, 0]])

        connection.data_received(encode_frame([1, "enqueue", ["q", [body()]]]))
        # After the turn that answers the enqueue, before whatever that turn leaves for later.
        loop.call_soon(connection.data_received, asked)

        assert (await wire.reply(1))[0] == 0
        status, jobs = await wire.reply(2)
        assert (status, len(jobs)) == (0, 1)
    store.close()
