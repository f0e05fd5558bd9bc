"""A worker tells that the process of a job died: counted as a lost lease, and known at once."""

from __future__ import annotations

from typing import Any

import pytest

from tenure_protocol.errors import BadRequest
from tests.support.world import World


def crash(world: World, **more: Any) -> dict[str, Any]:
    """The next job's process dies."""
    return world.fail(world.reserve_one(), kind="crashed", retry_in_ms=0, **more)


def test_a_crash_counts_as_lost_and_uses_up_an_attempt(world: World) -> None:
    [job_id] = world.enqueue("q", 1, max_attempts=2)
    assert crash(world)["state"] == "retrying"
    info = world.get(job_id)
    assert (info["lost"], info["failures"], info["timeouts"]) == (1, 0, 0)
    answer = crash(world)
    assert (answer["state"], answer["reason"]) == ("dead", "attempts")
    totals = world.queue()["totals"]
    assert (totals["lost"], totals["failed"], totals["timeouts"]) == (2, 0, 0)


def test_the_third_crash_is_poison(world: World) -> None:
    [job_id] = world.enqueue("q", 1, max_attempts=100)
    assert [crash(world)["reason"] for _ in range(3)] == [None, None, "poison"]
    assert world.get(job_id)["state"] == "dead"


def test_crashes_and_lost_leases_are_poison_together(world: World) -> None:
    [job_id] = world.enqueue("q", 1, max_attempts=100)
    crash(world)
    world.reserve_one()
    world.pass_time(30_000)
    world.crash()
    assert crash(world)["reason"] == "poison"
    assert world.get(job_id)["lost"] == 3


def test_a_crash_is_told_in_the_history_with_its_last_lines(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    crash(world, error_type="WorkerCrashed", message="killed by signal 9", traceback="Killed\n")
    [past] = world.get(job_id)["history"]
    assert past[4:] == ["crashed", "WorkerCrashed", "killed by signal 9", "Killed\n"]


def test_a_crash_is_retried_by_the_policy_further_apart_each_time(world: World) -> None:
    world.create(retry=["steps", [1_000, 5_000, 60_000], 0.0], poison_after=0)
    world.enqueue("q", 1, max_attempts=10)
    pauses = []
    for _ in range(3):
        answer = world.fail(world.reserve_one(), kind="crashed")
        pauses.append(answer["ready_at_ms"] - world.wall_ms)
        world.pass_time(pauses[-1])
    assert pauses == [1_000, 5_000, 60_000]


def test_a_crash_of_a_cancelled_job_ends_it(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    job = world.reserve_one()
    world.cancel(job_id)
    assert world.fail(job, kind="crashed")["state"] == "cancelled"


def test_another_kind_of_failure_is_refused(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    for kind in ("lost", "Crashed", 3):
        with pytest.raises(BadRequest):
            world.fail(job, kind=kind)
    assert world.state(job.id) == "leased"


# ---- what the next delivery tells ----------------------------------------------------------


def test_the_next_delivery_tells_how_often_the_job_was_lost(world: World) -> None:
    world.create(poison_after=0)
    world.enqueue("q", 1, max_attempts=100)
    crash(world)
    world.reserve_one()
    world.pass_time(30_000)
    [row] = world.call("reserve", [["q"], 1, 0])
    assert row[7:] == [2, {"lost": 2}]


def test_a_delivery_without_a_past_has_eight_items(world: World) -> None:
    world.enqueue("q", 1)
    [first] = world.call("reserve", [["q"], 1, 0])
    assert len(first) == 8
    world.fail((first[0], 1), retry_in_ms=0)
    [second] = world.call("reserve", [["q"], 1, 0])
    assert len(second) == 8
    world.release((second[0], 2))
    [third] = world.call("reserve", [["q"], 1, 0])
    assert len(third) == 8


def test_a_replayed_job_begins_without_lost_leases(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    for _ in range(3):
        crash(world)
    world.call("dlq.replay", {"queue": "q", "ids": [job_id]})
    [row] = world.call("reserve", [["q"], 1, 0])
    assert len(row) == 8
