"""Retry policies: exponential, fixed, steps, with jitter; per queue, per job, per failure."""

from __future__ import annotations

from typing import Any

import pytest

from tenure_protocol.errors import BadRequest
from tests.support.world import DAY_MS, HOUR_MS, World


def delays(world: World, count: int, queue: str = "q", **error: Any) -> list[int]:
    """How long the broker makes one job wait after each of its first failures."""
    waits = []
    for _ in range(count):
        answer = world.fail(world.reserve_one(queue), **error)
        assert answer["state"] == "retrying"
        wait = answer["ready_at_ms"] - world.wall_ms
        waits.append(wait)
        world.pass_time(max(wait - 1, 0))
        if wait > 0:
            assert world.reserve(queue) == []
        world.pass_time(1)
    return waits


def test_the_default_is_about_1_4_16_64_seconds(world: World) -> None:
    world.enqueue("q", 1)
    for wait, nominal in zip(delays(world, 4), (1_000, 4_000, 16_000, 64_000), strict=True):
        assert 0.8 * nominal <= wait <= nominal


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (["exponential", 100, 2.0, 1_000, 0.0], [100, 200, 400, 800, 1_000, 1_000]),
        (["fixed", 700, 0.0], [700] * 6),
        (["fixed", 0, 0.0], [0] * 6),
        (["steps", [10, 50, 5], 0.0], [10, 50, 5, 5, 5, 5]),
        (["steps", [DAY_MS], 0.0], [DAY_MS] * 6),
    ],
)
@pytest.mark.parametrize("of", ["queue", "job"])
def test_a_policy_without_jitter_is_exact(
    world: World, policy: list[object], expected: list[int], of: str
) -> None:
    if of == "queue":
        world.create(retry=policy, max_attempts=100)
        world.enqueue("q", 1)
    else:
        world.enqueue("q", 1, retry=policy, max_attempts=100)
    assert delays(world, 6) == expected


@pytest.mark.parametrize("jitter", [0.1, 0.5, 1.0])
def test_jitter_spreads_within_its_bounds(world: World, jitter: float) -> None:
    world.create(retry=["fixed", 10_000, jitter])
    world.enqueue("q", 200)
    waits = [world.fail(job)["ready_at_ms"] - world.wall_ms for job in world.reserve("q", 200)]
    assert all(10_000 * (1 - jitter) - 1 <= wait <= 10_000 for wait in waits)
    assert max(waits) - min(waits) > 10_000 * jitter * 0.7
    assert len(set(waits)) > 50


def test_the_cap_bounds_the_thousandth_retry(world: World) -> None:
    world.create(
        retry=["exponential", 1_000, 1000.0, HOUR_MS, 0.0], max_attempts=1_000, poison_after=0
    )
    world.enqueue("q", 1)
    assert delays(world, 30)[-1] == HOUR_MS


def test_retry_in_overrides_the_policy(world: World) -> None:
    world.enqueue("q", 1, max_attempts=10)
    assert delays(world, 2, retry_in_ms=12_345) == [12_345, 12_345]
    assert delays(world, 1, retry_in_ms=0) == [0]


def test_a_timeout_is_retried_by_the_same_policy(world: World) -> None:
    world.create(retry=["steps", [10, 20, 30], 0.0])
    world.enqueue("q", 1)
    assert delays(world, 1) == [10]
    assert delays(world, 1, kind="timeout") == [20]


def test_dead_ends_it_at_once_with_attempts_left(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    answer = world.fail(world.reserve_one(), dead=True)
    assert answer["state"] == "dead"
    assert answer["reason"] == "asked"
    assert world.state(job_id) == "dead"


def test_retry_in_does_not_buy_more_attempts(world: World) -> None:
    world.enqueue("q", 1, max_attempts=1)
    assert world.fail(world.reserve_one(), retry_in_ms=5)["state"] == "dead"


def test_a_retrying_job_is_listed_and_counted_as_retrying_until_it_is_due(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    world.fail(world.reserve_one(), retry_in_ms=1_000)
    assert world.counts() == {"retrying": 1}
    assert world.state(job_id) == "retrying"
    world.crash()
    assert world.counts() == {"retrying": 1}
    assert [job["id"] for job in world.peek("q", "retrying")] == [job_id]
    world.pass_time(1_000)
    assert world.counts() == {"ready": 1}
    assert world.state(job_id) == "ready"


def test_a_retried_job_keeps_id_body_options_and_priority(world: World) -> None:
    [job_id] = world.enqueue("q", [b"data"], priority=3, lease_ms=777, max_attempts=8, unique="u")
    before = world.get(job_id)
    world.fail(world.reserve_one(), retry_in_ms=100)
    world.crash()
    world.pass_time(100)
    job = world.reserve_one()
    assert (job.id, job.payload, job.lease_ms, job.max_attempts) == (job_id, b"data", 777, 8)
    after = world.get(job_id)
    for field in ("priority", "origin", "enqueued_at_ms", "unique", "body", "max_attempts"):
        assert after[field] == before[field]


def test_changing_the_queues_policy_changes_the_next_retry(world: World) -> None:
    world.create(retry=["fixed", 100, 0.0])
    world.enqueue("q", 1)
    assert delays(world, 1) == [100]
    world.call("queue.configure", {"queue": "q", "settings": {"retry": ["fixed", 300, 0.0]}})
    assert delays(world, 1) == [300]


@pytest.mark.parametrize(
    "policy",
    [
        ["exponential"],
        ["fixed", -1, 0.0],
        ["fixed", 1, 1.1],
        ["steps", [], 0.0],
        ["exponential", 10, 2.0, 5, 0.0],
        ["never"],
        "fixed",
        7,
        ["fixed", 400 * DAY_MS, 0.0],
    ],
)
def test_impossible_policies_are_refused(world: World, policy: object) -> None:
    with pytest.raises(BadRequest):
        world.enqueue("q", 1, retry=policy)
    with pytest.raises(BadRequest):
        world.create("other", retry=policy)


@pytest.mark.parametrize("retry_in_ms", [-1, 2**48, "5", 1.5])
def test_an_impossible_retry_in_is_refused_and_the_lease_stays(
    world: World, retry_in_ms: object
) -> None:
    [job_id] = world.enqueue("q", 1)
    with pytest.raises(BadRequest):
        world.fail(world.reserve_one(), retry_in_ms=retry_in_ms)
    assert world.state(job_id) == "leased"
