"""Expiry: a job that was not started in time ends expired, visibly, and is never delivered."""

from __future__ import annotations

import pytest

from tenure_storage.store import DUE, JOBS
from tests.support.world import DAY_MS, YEAR_MS, World


@pytest.mark.parametrize("expires_in_ms", [1, 1_000, DAY_MS, 10 * YEAR_MS])
def test_a_job_not_started_in_time_expires_and_not_before(world: World, expires_in_ms: int) -> None:
    [job_id] = world.enqueue("q", 1, expires_in_ms=expires_in_ms)
    assert world.get(job_id)["expires_at_ms"] == world.wall_ms + expires_in_ms
    world.pass_time(expires_in_ms - 1)
    assert world.state(job_id) == "ready"
    world.pass_time(1)
    assert world.state(job_id) == "expired"
    assert world.reserve("q") == []
    assert world.counts() == {"expired": 1}


def test_an_absolute_expiry_is_kept(world: World) -> None:
    at = world.wall_ms + 500
    [job_id] = world.enqueue("q", 1, expires_at_ms=at)
    assert world.get(job_id)["expires_at_ms"] == at
    world.pass_time(500)
    assert world.state(job_id) == "expired"


def test_a_job_that_expired_while_nobody_ticked_is_not_delivered(world: World) -> None:
    [job_id] = world.enqueue("q", 1, expires_in_ms=1_000)
    world.wall_ms += 5_000
    world.mono_ms += 5_000
    request = world.send_reserve("q")
    world.turn()
    assert world.jobs_of(request) == []
    assert world.state(job_id) == "expired"


def test_a_job_that_expired_while_the_broker_was_down_is_not_delivered(world: World) -> None:
    [job_id] = world.enqueue("q", 1, expires_in_ms=1_000)
    world.wall_ms += 5_000
    world.crash()
    assert world.reserve("q") == []
    assert world.state(job_id) == "expired"


def test_a_started_job_does_not_expire_while_a_worker_has_it(world: World) -> None:
    [job_id] = world.enqueue("q", 1, expires_in_ms=1_000)
    job = world.reserve_one()
    world.pass_time(20_000)
    assert world.state(job_id) == "leased"
    world.ack(job)
    assert world.state(job_id) == "gone"
    assert world.queue()["totals"]["expired"] == 0


def test_a_delayed_job_that_expires_before_it_is_due_expires(world: World) -> None:
    [job_id] = world.enqueue("q", 1, delay_ms=5_000, expires_in_ms=1_000)
    world.pass_time(1_000)
    assert world.state(job_id) == "expired"
    world.pass_time(10_000)
    assert world.reserve("q") == []


@pytest.mark.parametrize("delay_ms", [None, 60_000])
def test_a_job_that_was_only_given_back_still_expires(world: World, delay_ms: int | None) -> None:
    [job_id] = world.enqueue("q", 1, expires_in_ms=10_000)
    world.release(world.reserve_one(), delay_ms)
    world.pass_time(10_000)
    assert world.state(job_id) == "expired"
    world.pass_time(60_000)
    assert world.reserve("q") == []


@pytest.mark.parametrize("delay_ms", [None, 1, 60_000])
def test_a_job_given_back_after_its_time_expires_at_once(
    world: World, delay_ms: int | None
) -> None:
    [job_id] = world.enqueue("q", 1, expires_in_ms=10_000)
    job = world.reserve_one()
    world.pass_time(20_000)
    world.release(job, delay_ms)
    assert world.state(job_id) == "expired"
    assert world.counts() == {"expired": 1}


@pytest.mark.parametrize("how", ["failed", "lost"])
def test_a_job_that_was_started_in_time_is_retried_past_its_expiry(world: World, how: str) -> None:
    [job_id] = world.enqueue("q", 1, expires_in_ms=10_000)
    job = world.reserve_one()
    if how == "failed":
        world.fail(job, retry_in_ms=60_000)
        world.pass_time(60_000)
    else:
        world.pass_time(30_000)
    assert world.reserve_one().id == job_id


def test_an_expired_job_frees_its_unique_name_and_its_room(world: World) -> None:
    world.create(max_jobs=1)
    [first] = world.enqueue("q", 1, unique="u", expires_in_ms=1_000)
    world.pass_time(1_000)
    [second] = world.enqueue("q", 1, unique="u")
    assert second != first


def test_expiry_leaves_no_rows_behind(world: World) -> None:
    world.create(ended_retention_ms=1_000)
    world.enqueue("q", 50, expires_in_ms=1_000)
    world.enqueue("q", 50, expires_in_ms=1_000)
    for job in world.reserve("q", 50):
        world.ack(job)
    world.pass_time(1_000)
    world.pass_time(120_000)
    assert world.store.count(JOBS) == 0
    assert world.store.count(DUE) == 0
    assert world.counts() == {}


def test_many_jobs_that_expire_at_once_all_do(world: World) -> None:
    world.enqueue("q", 3_000, expires_in_ms=1_000)
    [kept] = world.enqueue("q", 1)
    world.pass_time(1_000)
    assert world.counts() == {"expired": 3_000, "ready": 1}
    assert [job.id for job in world.reserve("q", 10)] == [kept]


def test_the_wall_clock_stepping_forward_expires_and_back_does_not_revive(world: World) -> None:
    [job_id] = world.enqueue("q", 1, expires_in_ms=DAY_MS)
    world.wall_ms += DAY_MS
    world.pass_time(1)
    assert world.state(job_id) == "expired"
    world.wall_ms -= DAY_MS
    world.pass_time(1)
    assert world.state(job_id) == "expired"
    assert world.reserve("q") == []
