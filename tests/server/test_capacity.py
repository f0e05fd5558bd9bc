"""A full store: enqueues are refused, everything else goes on, and room is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tenure_server import capacity_watch, exits
from tenure_storage import writer
from tenure_storage.journaled_store import open_journaled
from tests.server.support import body, running

KIB = 1 << 10


async def test_a_full_store_refuses_enqueues_and_takes_acks_until_there_is_room(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Every commit looks, however soon after the last.
    monkeypatch.setattr(capacity_watch, "COMMIT_CHECKS_APART_MS", 0)
    store = open_journaled(place / "data", max_bytes=1 << 20)
    async with running(store=store) as broker:
        wire = await broker.hello()
        jobs = [body(bytes(10 * KIB))] * 10
        status, outcome = 0, list[Any]()
        for _ in range(30):
            status, outcome = await wire.ask("enqueue", ["q", jobs])
            if status:
                break

        assert status == 1
        assert (outcome[0], outcome[2]) == ("STORE_FULL", True)
        assert (await wire.do("stats", {}))["store"]["full"] is True
        assert broker.hub.capacity.level == "full"
        log = capsys.readouterr().err
        assert log.index("store_nearly_full") < log.index('"event": "store_full"')

        leased = await wire.do("reserve", [["q"], 40, 0])
        outcomes = await wire.do("ack", [[[job[0], job[1]] for job in leased]])
        assert outcomes == [0] * 40
        assert (await wire.do("stats", {}))["store"]["full"] is False
        await wire.do("enqueue", ["q", jobs[:1]])
        assert "store_has_room" in capsys.readouterr().err
    store.close()


async def test_a_full_store_still_purges_and_that_makes_room(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity_watch, "COMMIT_CHECKS_APART_MS", 0)
    store = open_journaled(place / "data", max_bytes=1 << 20)
    async with running(store=store) as broker:
        wire = await broker.hello()
        while (await wire.ask("enqueue", ["q", [body(bytes(50 * KIB))] * 2]))[0] == 0:
            pass

        purged = await wire.do("queue.purge", {"queue": "q"})

        assert purged["purged"] > 10
        await broker.until(lambda: not broker.hub.engine.store_full)
        await wire.do("enqueue", ["q", [body()]])
    store.close()


async def test_a_full_disk_counts_as_a_full_store_and_frees_the_reserve(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_journaled(place / "data", max_bytes=256 << 20)
    free = [10 << 30]
    monkeypatch.setattr(capacity_watch, "disk_free_bytes", lambda _: free[0])
    async with running(store=store) as broker:
        wire = await broker.hello()
        assert (place / "data" / "reserve").exists()

        free[0] = 10 << 20
        broker.hub.capacity.check(broker.hub.clock().mono_ms)

        assert (await wire.ask("enqueue", ["q", [body()]]))[1][0] == "STORE_FULL"
        assert not (place / "data" / "reserve").exists()

        free[0] = 10 << 30
        broker.hub.capacity.check(broker.hub.clock().mono_ms)
        await wire.do("enqueue", ["q", [body()]])
    store.close()


async def test_a_look_at_a_full_store_that_finds_it_broken_ends_the_broker(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_journaled(place / "data", max_bytes=256 << 20)
    monkeypatch.setattr(capacity_watch, "COMMIT_CHECKS_APART_MS", 1 << 40)
    async with running(store=store) as broker:
        wire = await broker.hello()
        monkeypatch.setattr(capacity_watch, "disk_free_bytes", lambda _: 0)
        broker.hub.capacity.check(broker.hub.clock().mono_ms)
        await wire.do("queue.create", {"queue": "q"})

        def failing(_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(writer, "commit_transaction", failing)
        broker.hub.capacity.check(broker.hub.clock().mono_ms)

        assert await broker.exit_code() == exits.IO_ERROR
    store.close()


async def test_an_ephemeral_broker_can_be_full_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity_watch, "COMMIT_CHECKS_APART_MS", 0)
    async with running({"store.max_bytes": "1MiB"}) as broker:
        wire = await broker.hello()
        status, error = 0, list[Any]()
        for _ in range(30):
            status, error = await wire.ask("enqueue", ["q", [body(bytes(50 * KIB))]])
            if status:
                break

        assert (status, error[0]) == (1, "STORE_FULL")


async def test_the_store_is_looked_at_once_in_a_while_and_not_at_every_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as broker:
        wire = await broker.hello()
        looks: list[int] = []
        monkeypatch.setattr(broker.hub.capacity, "check", looks.append)
        broker.hub.capacity._checked_ms = broker.hub.clock().mono_ms + 60_000

        for _ in range(10):
            await wire.do("enqueue", ["q", [body()]])
        assert looks == []
        broker.hub.capacity._checked_ms = 0
        await wire.do("enqueue", ["q", [body()]])
        assert len(looks) == 1
