"""Giving back, snoozing, and heartbeats."""

from __future__ import annotations

import pytest

from tenure_protocol.errors import BadRequest, LeaseLost
from tenure_protocol.limits import LEASE_MS_MAX, LEASE_MS_MIN
from tests.support.world import DAY_MS, World


def test_a_released_job_is_ready_at_once(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    world.release(world.reserve_one())
    assert world.state(job_id) == "ready"
    assert world.counts() == {"ready": 1}
    assert world.reserve_one(who="other").id == job_id


@pytest.mark.parametrize("delay_ms", [1, 5_000, DAY_MS])
def test_a_snoozed_job_comes_back_on_time_and_not_before(world: World, delay_ms: int) -> None:
    [job_id] = world.enqueue("q", 1)
    world.release(world.reserve_one(), delay_ms)
    assert world.counts() == {"scheduled": 1}
    world.crash()
    assert world.get(job_id)["ready_at_ms"] == world.wall_ms + delay_ms
    world.pass_time(delay_ms - 1)
    assert world.reserve("q") == []
    world.pass_time(1)
    job = world.reserve_one()
    assert (job.id, job.attempt, job.used) == (job_id, 2, 0)


def test_a_release_survives_a_crash_with_its_token_spent(world: World) -> None:
    world.enqueue("q", 1)
    first = world.reserve_one()
    world.release(first)
    world.crash()
    second = world.reserve_one()
    assert second.attempt == 2
    with pytest.raises(LeaseLost):
        world.ack(first)
    world.ack(second)


def test_many_are_released_at_once_and_keep_their_order(world: World) -> None:
    ids = world.enqueue("q", 500)
    jobs = world.reserve("q", 500)
    outcomes = world.call("release", [[[job.id, job.attempt] for job in reversed(jobs)]])
    assert outcomes == [0] * 500
    assert [job.id for job in world.reserve("q", 500)] == ids


@pytest.mark.parametrize("delay_ms", [-1, 2**48, "1", 1.5])
def test_an_impossible_snooze_is_refused_and_the_lease_stays(
    world: World, delay_ms: object
) -> None:
    [job_id] = world.enqueue("q", 1)
    job = world.reserve_one()
    try:
        [outcome] = world.call("release", [[[job.id, job.attempt, delay_ms]]])
    except BadRequest:
        pass
    else:
        assert outcome[:2] == [1, "BAD_REQUEST"]
    assert world.state(job_id) == "leased"


def test_an_extended_lease_ends_its_own_length_from_now(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    for _ in range(10):
        world.pass_time(29_000)
        assert world.extend(job) == {}
    world.pass_time(29_999)
    assert world.state(job.id) == "leased"
    world.pass_time(1)
    assert world.state(job.id) == "ready"


@pytest.mark.parametrize("lease_ms", [LEASE_MS_MIN, 5_000, 600_000, LEASE_MS_MAX])
def test_an_extended_lease_ends_the_asked_length_from_now(world: World, lease_ms: int) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    world.extend(job, lease_ms)
    assert world.get(job.id)["leased_until_ms"] == world.wall_ms + lease_ms
    world.pass_time(lease_ms - 1)
    assert world.state(job.id) == "leased"
    world.pass_time(1)
    assert world.state(job.id) == "ready"


def test_a_longer_lease_asked_for_by_extend_is_rearmed_in_full_after_a_crash(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    world.extend(job, 600_000)
    world.pass_time(100_000)
    world.crash()
    world.turn()
    world.pass_time(599_999)
    assert world.state(job.id) == "leased"
    world.pass_time(1)
    assert world.state(job.id) == "ready"


def test_extending_many_leases_of_their_own_length_writes_nothing(world: World) -> None:
    world.enqueue("q", 1_000)
    jobs = world.reserve("q", 1_000)
    before = world.batches
    world.pass_time(10_000)
    world.call("extend", [[[job.id, job.attempt] for job in jobs]])
    assert world.batches == before


@pytest.mark.parametrize("lease_ms", [LEASE_MS_MIN - 1, 0, -1, LEASE_MS_MAX + 1, "9", True])
@pytest.mark.parametrize("op", ["reserve", "extend", "enqueue"])
def test_impossible_leases_are_refused(world: World, lease_ms: object, op: str) -> None:
    world.enqueue("q", 2)
    job = world.reserve_one()
    if op == "reserve":
        with pytest.raises(BadRequest):
            world.call("reserve", [["q"], 1, 0, lease_ms])
    elif op == "enqueue":
        with pytest.raises(BadRequest):
            world.enqueue("q", 1, lease_ms=lease_ms)
    else:
        try:
            [outcome] = world.call("extend", [[[job.id, job.attempt, lease_ms]]])
        except BadRequest:
            pass
        else:
            assert outcome[:2] == [1, "BAD_REQUEST"]
    world.pass_time(29_999)
    assert world.state(job.id) == "leased"


def test_the_lease_of_the_reserve_wins_over_the_jobs_over_the_queues(world: World) -> None:
    world.create(lease_ms=1_000)
    world.enqueue("q", [b"queue's", (b"job's", {"lease_ms": 2_000}), (b"r", {"lease_ms": 2_000})])
    assert [job.lease_ms for job in world.reserve("q", 2)] == [1_000, 2_000]
    assert world.reserve_one(lease_ms=3_000).lease_ms == 3_000
