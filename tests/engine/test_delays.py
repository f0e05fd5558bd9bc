"""Delayed jobs: of any length, relative or absolute, ready by time alone."""

from __future__ import annotations

import pytest

from tenure_protocol.errors import BadRequest
from tenure_protocol.limits import TIME_MS_MAX
from tests.support.world import DAY_MS, YEAR_MS, World


@pytest.mark.parametrize("delay_ms", [1, 999, 60_000, DAY_MS, 30 * YEAR_MS, 1_000 * YEAR_MS])
def test_a_delayed_job_is_never_early_and_not_late(world: World, delay_ms: int) -> None:
    [job_id] = world.enqueue("q", 1, delay_ms=delay_ms)
    assert world.counts() == {"scheduled": 1}
    assert world.reserve("q") == []
    world.pass_time(delay_ms - 1)
    assert world.state(job_id) == "scheduled"
    assert world.reserve("q") == []
    world.pass_time(1)
    assert world.counts() == {"ready": 1}
    assert world.reserve_one().id == job_id


def test_a_delay_of_zero_is_now(world: World) -> None:
    world.enqueue("q", 1, delay_ms=0)
    assert len(world.reserve("q")) == 1


def test_an_absolute_time_is_kept(world: World) -> None:
    at = world.wall_ms + 3 * DAY_MS
    [job_id] = world.enqueue("q", 1, run_at_ms=at)
    assert world.get(job_id)["ready_at_ms"] == at
    world.pass_time(3 * DAY_MS - 1)
    assert world.reserve("q") == []
    world.pass_time(1)
    assert world.reserve_one().id == job_id


@pytest.mark.parametrize("at", [0, 1, 1_000_000_000_000])
def test_a_time_in_the_past_is_now(world: World, at: int) -> None:
    first = world.enqueue("q", 1)
    past = world.enqueue("q", 1, run_at_ms=at)
    got = [job.id for job in world.reserve("q", 2)]
    assert sorted(got) == sorted(first + past)


def test_the_last_possible_moment_can_be_named_and_none_after_it(world: World) -> None:
    [job_id] = world.enqueue("q", 1, run_at_ms=TIME_MS_MAX)
    assert world.state(job_id) == "scheduled"
    with pytest.raises(BadRequest):
        world.enqueue("q", 1, run_at_ms=TIME_MS_MAX + 1)


def test_a_delay_past_the_last_moment_is_refused_or_capped_but_never_wraps(world: World) -> None:
    world.create()
    with pytest.raises(BadRequest):
        world.enqueue("q", 1, delay_ms=TIME_MS_MAX + 1)
    try:
        world.enqueue("q", 1, delay_ms=TIME_MS_MAX)
    except BadRequest:
        assert world.counts() == {}
    else:
        assert world.counts() == {"scheduled": 1}
    assert world.reserve("q") == []


def test_relative_and_absolute_together_are_refused(world: World) -> None:
    with pytest.raises(BadRequest):
        world.enqueue("q", 1, delay_ms=5, run_at_ms=world.wall_ms + 5)


def test_a_jobs_own_delay_overrides_the_requests(world: World) -> None:
    now, later = world.enqueue("q", [(b"a", {"delay_ms": 0}), b"b"], delay_ms=1_000)
    assert [job.id for job in world.reserve("q", 9)] == [now]
    world.pass_time(1_000)
    assert [job.id for job in world.reserve("q", 9)] == [later]


def test_delayed_jobs_survive_a_crash_and_come_on_time(world: World) -> None:
    ids = world.enqueue("q", [(b"%d" % n, {"delay_ms": 1_000 * n}) for n in range(1, 21)])
    for n in range(20):
        world.crash()
        world.pass_time(999)
        assert world.reserve("q") == []
        world.pass_time(1)
        assert world.reserve_one(lease_ms=12 * 3_600_000).id == ids[n]


def test_counts_turn_ready_by_time_alone(world: World) -> None:
    world.enqueue("q", [(b"", {"delay_ms": 100 * n}) for n in range(1, 101)])
    for passed in range(1, 101):
        world.pass_time(100)
        counts = world.counts()
        assert (counts.get("ready", 0), counts.get("scheduled", 0)) == (passed, 100 - passed)


def test_thousands_that_come_due_at_once_are_counted_ready_within_a_few_ticks(
    world: World,
) -> None:
    world.enqueue("q", 5_000, delay_ms=1_000)
    world.pass_time(1_000)
    for _ in range(20):
        world.pass_time(1)
        world.queue()
    assert world.counts() == {"ready": 5_000}


def test_the_oldest_ready_age_is_the_age_of_the_first_ready_job(world: World) -> None:
    assert world.create()["oldest_ready_age_ms"] is None
    world.enqueue("q", 1, delay_ms=1_000)
    assert world.queue()["oldest_ready_age_ms"] is None
    world.pass_time(1_000 + 700)
    assert world.queue()["oldest_ready_age_ms"] == 700
    world.reserve_one()
    assert world.queue()["oldest_ready_age_ms"] is None
