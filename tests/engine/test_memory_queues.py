"""Memory queues: confirmed at once, never written, gone after a restart; the queue itself stays."""

from __future__ import annotations

import pytest

from tenure_protocol.errors import JobNotFound, LeaseLost
from tenure_storage.store import DEAD, DUE, FINISHED, JOBS, LANES, LEASES, PRODUCERS, STATES, UNIQUE
from tests.support.world import HOUR_MS, World

JOB_TABLES = (JOBS, LEASES, STATES, DEAD, FINISHED, DUE, UNIQUE, LANES, PRODUCERS)


@pytest.fixture
def fast(world: World) -> World:
    world.create(
        durability="memory",
        retention_ms=HOUR_MS,
        ended_retention_ms=HOUR_MS,
        retry=["fixed", 0, 0.0],
    )
    return world


def test_a_whole_life_in_memory_is_answered_at_once_and_writes_nothing(fast: World) -> None:
    before = fast.batches
    enqueued = fast.send_enqueue("q", 6, unique=None, expires_in_ms=HOUR_MS)
    assert fast.answered(enqueued)
    reserve = fast.send_reserve("q", 6)
    assert fast.answered(reserve)
    a, b, c, d, e, f = fast.jobs_of(reserve)
    for op, item in (
        ("ack", [a.id, 1, b"result"]),
        ("fail", [b.id, 1, {}]),
        ("fail", [c.id, 1, {"dead": True}]),
        ("release", [d.id, 1]),
        ("release", [e.id, 1, 60_000]),
        ("extend", [f.id, 1, 600_000]),
    ):
        request = fast.send(op, [[item]])
        assert fast.answered(request), op
    cancel = fast.send("cancel", [[d.id]])
    assert fast.answered(cancel)
    fast.pass_time(HOUR_MS)
    assert fast.batches == before
    assert all(fast.store.count(table) == 0 for table in JOB_TABLES)


def test_jobs_are_gone_after_a_restart_and_the_queue_stays_empty_and_works(fast: World) -> None:
    ids = fast.enqueue("q", 3)
    job = fast.reserve_one()
    fast.crash()
    info = fast.queue()
    assert (info["settings"]["durability"], info["jobs"], info["bytes"]) == ("memory", 0, 0)
    assert fast.counts() == {}
    for job_id in ids:
        with pytest.raises(JobNotFound):
            fast.get(job_id)
    with pytest.raises(LeaseLost):
        fast.ack(job)
    fast.enqueue("q", 1)
    assert len(fast.reserve("q", 5)) == 1


def test_an_id_from_before_the_restart_does_not_name_a_job_after_it(fast: World) -> None:
    [old] = fast.enqueue("q", 1)
    fast.crash()
    [new] = fast.enqueue("q", 1)
    assert old != new


def test_memory_says_so_wherever_it_shows(fast: World) -> None:
    [job_id] = fast.enqueue("q", 1)
    assert fast.get(job_id)["durability"] == "memory"
    [disk] = fast.enqueue("safe", 1)
    assert fast.get(disk)["durability"] == "disk"


def test_states_counts_retries_and_dead_letters_work_as_on_disk(fast: World) -> None:
    ids = fast.enqueue("q", 4, max_attempts=2)
    for _ in range(2):
        fast.fail(fast.reserve_one())
    assert fast.get(ids[0])["failures"] == 1
    fast.ack(fast.reserve_one())
    for job in fast.reserve("q", 9):
        fast.fail(job)
    for job in fast.reserve("q", 9):
        fast.fail(job)
    counts = fast.counts()
    assert sum(counts.values()) == 4
    for state, n in counts.items():
        assert len(fast.peek("q", state)) == n
    dead = [job["id"] for job in fast.dead()]
    assert dead
    fast.call("dlq.replay", {"queue": "q", "ids": dead})
    assert {job.id for job in fast.reserve("q", 9)} >= set(dead)


def test_leases_of_memory_jobs_run_out(fast: World) -> None:
    fast.enqueue("q", 1)
    fast.reserve_one()
    fast.pass_time(30_000)
    assert fast.reserve_one().attempt == 2


def test_delays_unique_names_expiry_and_cancel_work_in_memory(fast: World) -> None:
    [delayed] = fast.enqueue("q", 1, delay_ms=1_000, unique="u")
    assert fast.enqueue("q", 1, unique="u") == [delayed]
    [expiring] = fast.enqueue("q", 1, expires_in_ms=500)
    [cancelled] = fast.enqueue("q", 1)
    fast.cancel(cancelled)
    fast.pass_time(1_000)
    assert fast.state(expiring) == "expired"
    assert [job.id for job in fast.reserve("q", 9)] == [delayed]


def test_purge_and_delete_work_in_memory(fast: World) -> None:
    fast.enqueue("q", 5_000)
    assert fast.call("queue.purge", {"queue": "q"})["purged"] == 5_000
    fast.enqueue("q", 1)
    assert len(fast.reserve("q", 9)) == 1
    fast.pass_time(1_000)
    fast.call("queue.delete", {"queue": "q", "force": True})
    fast.crash()
    assert fast.call("queue.list", {})["queues"] == []


def test_a_waiting_reserve_on_both_kinds_is_served_by_either(fast: World) -> None:
    for queue, instant in (("q", True), ("disk", False)):
        request = fast.send_reserve(["disk", "q"], wait_ms=60_000)
        fast.turn()
        fast.send_enqueue(queue, 1)
        assert fast.answered(request) is instant
        fast.turn()
        assert [job.queue for job in fast.jobs_of(request)] == [queue]


def test_a_reserve_that_takes_from_both_waits_for_the_commit(fast: World) -> None:
    fast.enqueue("disk", 1)
    fast.enqueue("q", 1)
    request = fast.send_reserve(["q", "disk"], 2)
    assert not fast.answered(request)
    fast.turn()
    assert [job.queue for job in fast.jobs_of(request)] == ["q", "disk"]


def test_settlements_of_both_kinds_in_one_request_keep_their_order(fast: World) -> None:
    fast.enqueue("disk", 2)
    fast.enqueue("q", 2)
    a, b = fast.reserve("q", 2)
    c, d = fast.reserve("disk", 2)
    items = [[a.id, 1], [c.id, 1], [b.id, 7], [d.id, 1]]
    outcomes = fast.call("ack", [items])
    assert [0 if outcome == 0 else outcome[1] for outcome in outcomes] == [0, 0, "LEASE_LOST", 0]


def test_repeated_enqueues_do_not_double_in_memory(fast: World) -> None:
    ids = fast.enqueue("q", 2, producer=bytes(16), sequence=1)
    assert fast.enqueue("q", 2, producer=bytes(16), sequence=1) == ids
    assert fast.counts() == {"ready": 2}


def test_order_is_kept_in_memory(fast: World) -> None:
    low = fast.enqueue("q", 3, priority=9)
    high = fast.enqueue("q", 3, priority=1)
    assert [job.id for job in fast.reserve("q", 9)] == high + low
