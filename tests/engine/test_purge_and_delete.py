"""Purging and deleting: constant work now, the rest swept behind in slices."""

from __future__ import annotations

import pytest

from tenure_protocol.errors import JobNotFound, QueueNotEmpty, QueueNotFound
from tenure_storage.store import CHORES, DEAD, DUE, FINISHED, JOBS, LANES, LEASES, STATES, UNIQUE
from tests.support.world import HOUR_MS, World


def mixed(world: World, each: int) -> None:
    world.enqueue("q", each, expires_in_ms=HOUR_MS)
    world.enqueue("q", each, delay_ms=60_000)
    world.enqueue("q", each, priority=3)
    jobs = world.reserve("q", each)
    failed = [[job.id, job.attempt, {"retry_in_ms": 60_000}] for job in jobs]
    world.call("fail", [failed])


def test_a_purge_drops_all_that_waits_and_leaves_what_is_leased(world: World) -> None:
    mixed(world, 5)
    leased = world.reserve("q", 2)
    [dead] = world.reserve("q", 1)
    world.fail(dead, dead=True)
    assert world.call("queue.purge", {"queue": "q"}) == {"purged": 12}
    assert world.counts() == {"leased": 2, "dead": 1}
    world.crash()
    assert world.counts() == {"leased": 2, "dead": 1}
    assert world.reserve("q", 10) == []
    world.ack(leased[0])
    world.fail(leased[1], retry_in_ms=0)
    assert world.reserve_one().id == leased[1].id


def test_jobs_that_come_after_a_purge_are_served(world: World) -> None:
    world.enqueue("q", 5)
    world.send("queue.purge", {"queue": "q"})
    request = world.send_enqueue("q", 2)
    world.turn()
    ids, _ = world.result(request)
    assert [job.id for job in world.reserve("q", 10)] == ids
    world.crash()
    assert world.counts() == {"leased": 2}


def test_a_purge_of_many_writes_a_handful_of_rows_and_reads_no_jobs(world: World) -> None:
    world.enqueue("q", 10_000)
    world.enqueue("q", 10_000, delay_ms=HOUR_MS)
    world.store.reset_counters()
    request = world.send("queue.purge", {"queue": "q"})
    sealed = world.engine.seal(world.now)
    assert sealed is not None
    writes = sum(len(rows) for rows in sealed.batch.tables)
    assert writes <= 12, [dict(rows) for rows in sealed.batch.tables if rows]
    assert world.store.rows_scanned[JOBS] <= 2_048
    world.store.commit(sealed.batch)
    assert [r.request_id for r in world.engine.announce(world.now)] == [request]


def test_what_a_purge_left_is_swept_behind_in_slices_and_across_crashes(world: World) -> None:
    mixed(world, 2_000)
    assert world.call("queue.purge", {"queue": "q"})["purged"] == 6_000
    for _ in range(50):
        world.crash()
        world.tick_if_due()
        world.seal()
        world.land()
    world.crash()
    for _ in range(20):
        world.pass_time(1_000)
    for table in (JOBS, STATES, DUE, LANES, CHORES):
        assert world.store.count(table) == 0, table


def test_a_purged_job_is_gone(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    world.call("queue.purge", {"queue": "q"})
    with pytest.raises(JobNotFound):
        world.get(job_id)
    [outcome] = world.call("cancel", [[job_id]])
    assert outcome[:2] == [1, "JOB_NOT_FOUND"]


def test_lines_are_used_again_and_old_ids_do_not_come_alive(world: World) -> None:
    old: list[bytes] = []
    for _ in range(30):
        old += world.enqueue("q", 3)
        world.call("queue.purge", {"queue": "q"})
        for _ in range(3):
            world.pass_time(1_000)
    lines = {job_id[:4] for job_id in old}
    assert len(lines) <= 5
    current = world.enqueue("q", 3)
    assert not set(current) & set(old)
    assert all(world.state(job_id) == "gone" for job_id in old)
    assert [job.id for job in world.reserve("q", 10)] == current


@pytest.mark.parametrize("state", ["ready", "scheduled", "leased", "dead"])
def test_a_queue_with_jobs_is_deleted_only_by_force(world: World, state: str) -> None:
    world.enqueue("q", 1, delay_ms=HOUR_MS if state == "scheduled" else 0)
    if state in ("leased", "dead"):
        job = world.reserve_one()
        if state == "dead":
            world.fail(job, dead=True)
    with pytest.raises(QueueNotEmpty):
        world.call("queue.delete", {"queue": "q", "force": False})
    answer = world.call("queue.delete", {"queue": "q", "force": True})
    assert answer["deleted"] is True
    with pytest.raises(QueueNotFound):
        world.queue()


def test_an_empty_queue_is_deleted_and_may_come_again(world: World) -> None:
    world.create("q", lease_ms=5_000)
    assert world.call("queue.delete", {"queue": "q", "force": False}) == {
        "deleted": True,
        "jobs": 0,
    }
    world.enqueue("q", 1)
    assert world.queue()["settings"]["lease_ms"] == 30_000


def test_a_deleted_queue_leaves_nothing_behind(world: World) -> None:
    world.create(retention_ms=HOUR_MS)
    world.enqueue("q", [(b"", {"unique": f"u{n}", "expires_in_ms": HOUR_MS}) for n in range(100)])
    for n, job in enumerate(world.reserve("q", 30)):
        if n < 10:
            world.ack(job)
        elif n < 20:
            world.fail(job, dead=True)
    world.call("queue.delete", {"queue": "q", "force": True})
    for _ in range(10):
        world.crash()
        world.pass_time(1_000)
    for table in (JOBS, LEASES, STATES, DEAD, FINISHED, DUE, UNIQUE, LANES, CHORES):
        assert world.store.count(table) == 0, table


@pytest.mark.parametrize("in_flight", [False, True], ids=["same commit", "commit in flight"])
def test_jobs_that_end_as_their_queue_is_deleted_leave_nothing_behind(
    world: World, in_flight: bool
) -> None:
    job, other = world.enqueue("q", 2)
    leased = world.reserve_one()
    assert leased.id == job

    world.send("cancel", [[other]])
    world.send("fail", [[[job, leased.attempt, {"dead": True}]]])
    if in_flight:
        world.seal()
    world.send("queue.delete", {"queue": "q", "force": True})
    world.live(5_000)

    for table in (JOBS, LEASES, STATES, DEAD, FINISHED, CHORES):
        assert world.store.count(table) == 0, table


def test_leases_of_a_deleted_queue_are_lost(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    world.call("queue.delete", {"queue": "q", "force": True})
    [outcome] = world.call("ack", [[[job.id, job.attempt]]])
    assert outcome[:2] == [1, "LEASE_LOST"]
    world.pass_time(30_000)
    world.enqueue("q", 1)
    assert world.reserve_one().id != job.id


def test_a_new_queue_of_the_same_name_has_none_of_the_old_ones_jobs(world: World) -> None:
    world.enqueue("q", 3)
    world.fail(world.reserve_one(), dead=True)
    world.call("queue.delete", {"queue": "q", "force": True})
    ids = world.enqueue("q", 2)
    world.crash()
    assert world.dead() == []
    assert [job.id for job in world.reserve("q", 10)] == ids
    assert world.counts() == {"leased": 2}
