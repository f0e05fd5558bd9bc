"""Promise 7: a job ends acked, dead, cancelled or expired, and each is visible."""

from __future__ import annotations

import pytest

from tenure_protocol.errors import JobNotFound
from tests.support.world import DAY_MS, World


def test_a_dead_job_keeps_payload_error_history_and_who_submitted_it(world: World) -> None:
    [job_id] = world.enqueue("q", [b"the payload"], who="shop", max_attempts=3, priority=5)
    enqueued_at = world.wall_ms
    world.pass_time(1_000)
    started = []
    for n in range(3):
        started.append(world.wall_ms)
        job = world.reserve_one(who=f"w{n}")
        world.pass_time(10)
        world.fail(
            job,
            who=f"w{n}",
            error_type=f"Error{n}",
            message=f"message {n}",
            traceback=f"traceback {n}",
            retry_in_ms=100,
        )
        world.pass_time(100)
    for info in (world.get(job_id), *world.dead()):
        assert info["id"] == job_id
        assert info["state"] == "dead"
        assert info["reason"] == "attempts"
        assert b"the payload" in info["body"]
        assert info["origin"] == "shop@shop.example:5000"
        assert info["enqueued_at_ms"] == enqueued_at
        assert info["priority"] == 5
        assert info["max_attempts"] == 3
        assert info["failures"] == 3
        assert [
            (row[0], row[1], row[2], row[3], row[5], row[6], row[7]) for row in info["history"]
        ] == [
            (
                n + 1,
                started[n],
                started[n] + 10,
                f"w{n}",
                f"Error{n}",
                f"message {n}",
                f"traceback {n}",
            )
            for n in range(3)
        ]


def test_the_history_tells_every_kind_of_attempt(world: World) -> None:
    [job_id] = world.enqueue("q", 1, max_attempts=50)
    world.fail(world.reserve_one(), retry_in_ms=0)
    world.fail(world.reserve_one(), retry_in_ms=0, kind="timeout")
    world.reserve_one()
    world.pass_time(30_000)
    world.release(world.reserve_one())
    world.fail(world.reserve_one(), dead=True)
    outcomes = [row[4] for row in world.get(job_id)["history"]]
    assert len(outcomes) == 5
    assert outcomes[0] == "failed"
    assert outcomes[1] == "timeout"
    assert outcomes[2] == "lost"
    assert outcomes[3] == "released"
    assert [row[0] for row in world.get(job_id)["history"]] == [1, 2, 3, 4, 5]


def test_the_history_keeps_the_last_twenty_attempts(world: World) -> None:
    [job_id] = world.enqueue("q", 1, max_attempts=100)
    for n in range(30):
        world.fail(world.reserve_one(), message=f"m{n}", retry_in_ms=0)
    history = world.get(job_id)["history"]
    assert [row[6] for row in history] == [f"m{n}" for n in range(10, 30)]


def test_a_cancelled_job_is_visible_for_the_queues_retention(world: World) -> None:
    world.create(ended_retention_ms=DAY_MS)
    [job_id] = world.enqueue("q", [b"data"])
    assert world.cancel(job_id) == {"state": "cancelled"}
    info = world.get(job_id)
    assert (info["state"], info["ended_at_ms"]) == ("cancelled", world.wall_ms)
    assert [job["id"] for job in world.peek("q", "cancelled")] == [job_id]
    assert world.counts() == {"cancelled": 1}
    world.pass_time(DAY_MS - 1)
    assert world.state(job_id) == "cancelled"
    world.pass_time(120_000)
    assert world.state(job_id) == "gone"
    assert world.counts() == {}


def test_an_expired_job_is_visible_for_the_queues_retention(world: World) -> None:
    world.create(ended_retention_ms=DAY_MS)
    [job_id] = world.enqueue("q", 1, expires_in_ms=1_000)
    world.pass_time(1_000)
    assert world.state(job_id) == "expired"
    assert [job["id"] for job in world.peek("q", "expired")] == [job_id]
    world.crash()
    assert world.counts() == {"expired": 1}
    world.pass_time(DAY_MS + 120_000)
    assert world.state(job_id) == "gone"
    assert world.counts() == {}


def test_a_dead_job_is_kept_until_purged(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    world.fail(world.reserve_one(), dead=True)
    for _ in range(3):
        world.pass_time(400 * DAY_MS)
        world.crash()
    assert world.state(job_id) == "dead"


def test_a_dead_job_is_kept_for_the_dead_retention_when_there_is_one(world: World) -> None:
    world.create(dead_retention_ms=DAY_MS)
    [job_id] = world.enqueue("q", 1)
    world.fail(world.reserve_one(), dead=True)
    world.pass_time(DAY_MS - 1)
    assert world.state(job_id) == "dead"
    world.pass_time(120_000)
    assert world.state(job_id) == "gone"
    assert world.counts() == {}


def test_without_a_dlq_a_dead_job_is_still_visible_for_a_while(world: World) -> None:
    world.create(dlq=False, ended_retention_ms=DAY_MS)
    [job_id] = world.enqueue("q", 1)
    assert world.fail(world.reserve_one(), dead=True)["state"] == "dead"
    info = world.get(job_id)
    assert info["state"] == "dead"
    world.pass_time(DAY_MS + 120_000)
    assert world.state(job_id) == "gone"


def test_an_acked_job_without_retention_is_gone(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    world.ack(world.reserve_one())
    with pytest.raises(JobNotFound):
        world.get(job_id)
    assert world.queue()["totals"]["succeeded"] == 1


def test_the_totals_count_every_way_a_job_ends(world: World) -> None:
    world.create(retry=["fixed", 0, 0.0])
    ids = world.enqueue("q", 5)
    world.enqueue("q", 1, expires_in_ms=50, priority=255)
    world.ack(world.reserve_one())
    world.fail(world.reserve_one(), dead=True)
    world.cancel(ids[2])
    world.pass_time(50)
    world.fail(world.reserve_one())
    world.release(world.reserve_one())
    job = world.reserve_one()
    world.extend(job)
    world.fail(job, kind="timeout")
    world.reserve_one()
    world.pass_time(30_000)
    totals = world.queue()["totals"]
    shown = {name: n for name, n in totals.items() if n}
    assert shown == {
        "enqueued": 6,
        "leased": 6,
        "succeeded": 1,
        "failed": 2,
        "timeouts": 1,
        "lost": 1,
        "released": 1,
        "extended": 1,
        "retried": 2,
        "dead": 1,
        "expired": 1,
        "cancelled": 1,
    }
