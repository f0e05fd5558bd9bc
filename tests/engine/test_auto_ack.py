"""At most once: an explicit choice of the reserve, never a default."""

from __future__ import annotations

import pytest

from tenure_protocol.errors import LeaseLost
from tenure_storage.store import JOBS, LEASES, STATES, UNIQUE
from tests.support.world import HOUR_MS, World


def test_the_jobs_have_ended_when_they_leave(world: World) -> None:
    ids = world.enqueue("q", 3, unique=None)
    jobs = world.reserve("q", 3, auto_ack=True)
    assert [(job.id, job.lease_ms) for job in jobs] == [(job_id, 0) for job_id in ids]
    assert world.counts() == {}
    assert world.queue()["totals"]["succeeded"] == 3
    world.crash()
    world.pass_time(HOUR_MS)
    assert world.reserve("q", 3) == []
    assert [world.store.count(table) for table in (JOBS, LEASES, STATES, UNIQUE)] == [0] * 4


def test_they_leave_only_when_their_end_is_committed(world: World) -> None:
    world.enqueue("q", 1)
    request = world.send_reserve("q", auto_ack=True)
    world.seal()
    assert not world.answered(request)
    world.crash()
    assert world.counts() == {"ready": 1}
    request = world.send_reserve("q", auto_ack=True)
    world.seal()
    world.land()
    world.crash()
    assert world.counts() == {}


def test_no_lease_is_taken(world: World) -> None:
    world.enqueue("q", 1)
    [job] = world.reserve("q", auto_ack=True)
    assert world.engine.lease_count == 0
    with pytest.raises(LeaseLost):
        world.release(job)


def test_the_jobs_are_kept_as_succeeded_for_the_retention(world: World) -> None:
    world.create(retention_ms=HOUR_MS)
    [job_id] = world.enqueue("q", 1)
    world.reserve("q", auto_ack=True)
    assert world.state(job_id) == "succeeded"


def test_a_waiting_reserve_may_be_at_most_once_too(world: World) -> None:
    world.create()
    request = world.send_reserve("q", wait_ms=60_000, auto_ack=True)
    world.turn()
    world.enqueue("q", 1)
    assert [job.lease_ms for job in world.jobs_of(request)] == [0]
    assert world.counts() == {}
    world.crash()
    assert world.counts() == {}


def test_a_waiter_is_told_the_end(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    request = world.send("wait", [job_id, 60_000], who="asker")
    world.reserve("q", auto_ack=True)
    assert world.result(request)["state"] == "succeeded"


def test_a_retried_job_can_be_taken_at_most_once(world: World) -> None:
    world.enqueue("q", 1)
    world.fail(world.reserve_one(), retry_in_ms=0)
    [job] = world.reserve("q", auto_ack=True)
    assert (job.attempt, job.used) == (2, 1)
    assert world.counts() == {}
    assert world.store.count(STATES) == 0


def test_it_is_never_a_default(world: World) -> None:
    world.enqueue("q", 2)
    for auto_ack in (None, False):
        [job] = world.reserve("q", auto_ack=auto_ack)
        assert job.lease_ms == 30_000
        world.ack(job)
