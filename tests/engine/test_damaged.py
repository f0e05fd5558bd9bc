"""Damaged records are set aside, named, and the broker goes on with the rest."""

from __future__ import annotations

from typing import Any

import pytest

from tenure_storage.store import (
    CHORES,
    DAMAGED,
    DEAD,
    DUE,
    FINISHED,
    JOBS,
    LANES,
    LEASES,
    PRODUCERS,
    QUEUES,
    STATES,
    TABLES,
    UNIQUE,
)
from tests.support.world import HOUR_MS, World


def harm(world: World, table: int, which: int = 0, at: int = -1) -> bytes:
    """Flips a byte in a row of the store and starts a new broker on it. The row's key."""
    key = sorted(world.store.rows(table))[which]
    world.store.flip(table, key, at)
    world.crash()
    return key


def assert_set_aside(world: World, table: int, key: bytes) -> None:
    assert bytes([table]) + key in world.store.rows(DAMAGED)
    assert key not in world.store.rows(table)
    world.event_names()
    [event] = [event for event in world.events if event.name == "record_damaged"]
    assert event.level == "error"
    assert world.engine.stats(world.now)["damaged"] == 1


@pytest.mark.parametrize("at", [0, 4, 10, -1])
@pytest.mark.parametrize("which", [0, 2, 4])
def test_a_damaged_job_is_set_aside_and_the_others_are_delivered(
    world: World, which: int, at: int
) -> None:
    ids = world.enqueue("q", 5)
    key = harm(world, JOBS, which, at)
    before = world.store.rows(JOBS)[key]
    got = [job.id for job in world.reserve("q", 10)]
    assert got == [job_id for job_id in ids if job_id != key]
    assert_set_aside(world, JOBS, key)
    assert world.store.rows(DAMAGED)[bytes([JOBS]) + key] == before
    assert world.counts() == {"leased": 4}
    for job_id in got:
        world.ack((job_id, 1))
    assert world.queue()["jobs"] == 0


@pytest.mark.parametrize("op", ["get", "cancel", "wait"])
def test_a_damaged_job_is_not_shown_and_is_counted_out(world: World, op: str) -> None:
    ids = world.enqueue("q", 3)
    key = harm(world, JOBS, 1)
    args = {"get": [key], "cancel": [[key]], "wait": [key, 0]}[op]
    if op == "cancel":
        [outcome] = world.call(op, args)
        assert outcome[:2] == [1, "JOB_NOT_FOUND"]
    else:
        error = world.refusal(op, args)
        assert error is not None
        assert error.code == "JOB_NOT_FOUND"
    assert_set_aside(world, JOBS, key)
    assert [job.id for job in world.reserve("q", 10)] == [ids[0], ids[2]]
    for job_id in (ids[0], ids[2]):
        world.ack((job_id, 1))
    assert world.queue()["jobs"] == 0
    assert world.counts() == {}


def test_a_damaged_job_does_not_stop_a_listing(world: World) -> None:
    ids = world.enqueue("q", 5)
    harm(world, JOBS, 2)
    assert [job["id"] for job in world.peek("q", "ready")] == [*ids[:2], *ids[3:]]


def test_a_damaged_leased_job_ends_when_it_is_settled_and_harms_nobody(world: World) -> None:
    world.enqueue("q", 2)
    job = world.reserve_one()
    key = harm(world, JOBS, 0)
    [outcome] = world.call("ack", [[[job.id, job.attempt]]])
    assert outcome == 0 or outcome[0] == 1
    world.pass_time(30_000)
    got = world.reserve("q", 10)
    assert key not in [job.id for job in got]
    assert len(got) == 1
    world.ack(got[0])
    assert world.queue()["jobs"] == 0


def test_a_damaged_leased_job_whose_lease_runs_out_is_set_aside(world: World) -> None:
    world.enqueue("q", 2)
    world.reserve_one()
    key = harm(world, JOBS, 0)
    world.turn()
    world.pass_time(30_000)
    assert_set_aside(world, JOBS, key)
    [job] = world.reserve("q", 10)
    world.ack(job)
    assert (world.queue()["jobs"], world.store.count(LEASES)) == (0, 0)


def test_a_damaged_lease_row_gives_its_job_back(world: World) -> None:
    ids = world.enqueue("q", 3)
    world.reserve("q", 2)
    key = harm(world, LEASES, 0)
    world.turn()
    assert_set_aside(world, LEASES, key)
    world.pass_time(30_000)
    got = world.reserve("q", 10)
    assert sorted(job.id for job in got) == sorted(ids)
    for job in got:
        world.ack(job)
    assert (world.queue()["jobs"], world.queue()["bytes"]) == (0, 0)


def test_a_damaged_state_row_costs_the_history_and_not_the_job(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    world.release(world.reserve_one())
    key = harm(world, STATES)
    job = world.reserve_one()
    assert job.id == job_id
    assert_set_aside(world, STATES, key)
    world.ack(job)
    assert world.queue()["jobs"] == 0


def test_a_damaged_state_row_of_a_moved_job_does_not_lose_the_job(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    world.fail(world.reserve_one(), retry_in_ms=1_000)
    harm(world, STATES)
    world.pass_time(1_000)
    job = world.reserve_one()
    assert job.id == job_id
    world.ack(job)
    assert world.queue()["jobs"] == 0


def test_a_damaged_dead_letter_is_set_aside_and_the_others_are_listed(world: World) -> None:
    ids = world.enqueue("q", 3)
    for job in world.reserve("q", 3):
        world.fail(job, dead=True)
    key = harm(world, DEAD, 1)
    assert [job["id"] for job in world.dead()] == [ids[0], ids[2]]
    assert_set_aside(world, DEAD, key)
    assert world.counts() == {"dead": 2}
    for op in ("dlq.replay", "dlq.purge"):
        [outcome] = world.call(op, {"queue": "q", "ids": [ids[1]]})["outcomes"]
        assert outcome[:2] == [1, "JOB_NOT_FOUND"]


@pytest.mark.parametrize("op", ["dlq.replay", "dlq.purge"])
def test_a_chore_passes_over_a_damaged_letter(world: World, op: str) -> None:
    world.enqueue("q", 5)
    for job in world.reserve("q", 5):
        world.fail(job, dead=True)
    harm(world, DEAD, 2)
    world.call(op, {"queue": "q", "filter": {}})
    world.live(5_000)
    counts = world.counts()
    assert counts.get("dead", 0) == 0
    assert counts.get("ready", 0) == (4 if op == "dlq.replay" else 0)


def test_a_damaged_finished_job_is_set_aside(world: World) -> None:
    world.create(retention_ms=HOUR_MS)
    world.enqueue("q", 3)
    for job in world.reserve("q", 3):
        world.ack(job)
    key = harm(world, FINISHED, 1)
    assert len(world.peek("q", "succeeded")) == 2
    assert_set_aside(world, FINISHED, key)
    assert world.counts() == {"succeeded": 2}
    world.live(HOUR_MS + 60_000)
    assert world.counts() == {}


def test_a_damaged_lane_row_does_not_stop_the_broker(world: World) -> None:
    world.enqueue("q", 3)
    world.enqueue("other", 1)
    key = harm(world, LANES, 0)
    world.turn()
    assert bytes([LANES]) + key in world.store.rows(DAMAGED)
    assert "record_damaged" in world.event_names()
    assert world.counts() == {"ready": 3}
    assert len(world.reserve("other", 10)) == 1
    assert len(world.reserve("q", 10)) == 3


def test_a_damaged_unique_row_frees_the_name(world: World) -> None:
    [first] = world.enqueue("q", 1, unique="u")
    key = harm(world, UNIQUE)
    [second] = world.enqueue("q", 1, unique="u")
    assert second != first
    assert bytes([UNIQUE]) + key in world.store.rows(DAMAGED)
    assert world.enqueue("q", 1, unique="u") == [second]
    world.ack(world.reserve_one())
    assert world.enqueue("q", 1, unique="u") == [second]


def test_a_damaged_producer_row_forgets_one_request(world: World) -> None:
    args: dict[str, Any] = {"producer": bytes(16), "sequence": 1}
    world.enqueue("q", 1, **args)
    key = harm(world, PRODUCERS)
    world.enqueue("q", 1, **args)
    assert bytes([PRODUCERS]) + key in world.store.rows(DAMAGED)
    assert world.counts() == {"ready": 2}
    world.enqueue("q", 1, **args)
    assert world.counts() == {"ready": 2}


def test_a_damaged_due_row_is_passed_over(world: World) -> None:
    world.enqueue("q", 3, expires_in_ms=1_000)
    harm(world, DUE, 1)
    world.live(5_000)
    assert world.reserve("q", 10) == []
    assert world.counts() == {"expired": 3}


def test_a_row_under_the_wrong_key_is_found_out(world: World) -> None:
    ids = world.enqueue("q", [b"a", b"b"])
    rows = world.store.rows(JOBS)
    world.store.replace(JOBS, ids[0], rows[ids[1]])
    world.crash()
    assert [job.payload for job in world.reserve("q", 10)] == [b"b"]
    assert_set_aside(world, JOBS, ids[0])


@pytest.mark.parametrize("table", range(len(TABLES)))
def test_every_row_of_every_table_may_be_damaged_and_the_broker_serves_on(table: int) -> None:
    for which in range(12):
        world = World(seed=which)
        world.create(retention_ms=HOUR_MS, ended_retention_ms=HOUR_MS)
        world.enqueue("q", 8, expires_in_ms=HOUR_MS, producer=bytes(16), sequence=1)
        world.enqueue("q", 1, unique="u")
        a, b, c, d, _e = world.reserve("q", 5)
        world.ack(a)
        world.fail(b, dead=True)
        world.fail(c, retry_in_ms=1_000)
        world.release(d)
        world.call("dlq.replay", {"queue": "q", "filter": {"task": "x"}, "rate": 0.01})
        keys = sorted(world.store.rows(table))
        if which >= len(keys):
            return
        world.store.flip(table, keys[which])
        world.crash()
        world.live(40_000)
        [job_id] = world.enqueue("fresh", 1)
        assert world.reserve_one("fresh").id == job_id
        for state in ("ready", "retrying", "leased", "dead", "succeeded"):
            if table != 8:
                world.peek("q", state)
        world.crash()
        world.live(1_000)


def test_jobs_of_a_purged_line_stay_gone_when_its_chore_row_is_damaged(world: World) -> None:
    world.enqueue("q", 50)
    world.send("queue.purge", {"queue": "q"})
    world.seal()
    world.land()
    harm(world, CHORES)
    for name in ("q", "other", "third"):
        world.enqueue(name, 1)
        assert len(world.reserve(name, 100)) == 1


def test_a_queue_whose_row_was_damaged_keeps_what_it_is_given_afterwards(world: World) -> None:
    world.enqueue("q", 1)
    key = harm(world, QUEUES)
    world.turn()
    assert "queue_row_damaged" in world.event_names()
    assert bytes([QUEUES]) + key in world.store.rows(DAMAGED)
    assert world.queue()["settings"]["paused"] is True
    ids = world.enqueue("q", 3)
    world.crash()
    world.turn()
    assert [world.state(job_id) for job_id in ids] == ["ready"] * 3
    assert world.counts() == {"ready": 3}
    world.call("queue.resume", {"queue": "q"})
    assert [job.id for job in world.reserve("q", 10)] == ids
    assert world.event_names().count("queue_row_damaged") == 1


@pytest.mark.parametrize("after", ["create", "purge"])
def test_a_queue_whose_row_was_damaged_takes_no_other_queues_line(world: World, after: str) -> None:
    world.enqueue("a", 1)
    world.create("b")
    if after == "purge":
        # The line that b leaves is free, but for the chore that still has to find it empty.
        world.send("queue.purge", {"queue": "b"})
        world.seal()
        world.land()
    harm(world, QUEUES)
    world.send_enqueue("a", 2)
    [other] = world.enqueue("b", 1)
    world.live(5_000)
    world.crash()
    assert (world.counts("a"), world.counts("b")) == ({"ready": 2}, {"ready": 1})
    assert [job.id for job in world.reserve("b", 10)] == [other]
    world.call("queue.resume", {"queue": "a"})
    assert len(world.reserve("a", 10)) == 2
