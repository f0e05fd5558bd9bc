"""Cancelling: at once while it waits, by asking while a worker holds it."""

from __future__ import annotations

import pytest

from tenure_protocol.errors import JobNotFound
from tests.support.world import World


@pytest.mark.parametrize("state", ["ready", "scheduled", "retrying"])
def test_a_waiting_job_is_cancelled_at_once_and_never_delivered(world: World, state: str) -> None:
    [job_id] = world.enqueue("q", 1, delay_ms=1_000 if state == "scheduled" else 0)
    if state == "retrying":
        world.fail(world.reserve_one(), retry_in_ms=1_000)
    assert world.state(job_id) == state
    assert world.cancel(job_id) == {"state": "cancelled"}
    assert world.counts() == {"cancelled": 1}
    world.pass_time(1_000)
    assert world.reserve("q") == []
    assert world.state(job_id) == "cancelled"


def test_a_job_cancelled_in_the_batch_that_enqueued_it_is_not_delivered(world: World) -> None:
    world.create()
    world.send_enqueue("q", 2)
    sealed = world.seal()
    assert sealed is not None
    first, second = sealed.replies[0].body[0]  # type: ignore[index]
    world.send("cancel", [[first]])
    world.turn()
    assert [job.id for job in world.reserve("q", 9)] == [second]
    assert world.state(first) == "cancelled"


def test_cancelling_a_leased_job_asks_its_worker(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    assert world.extend(job) == {}
    assert world.cancel(job.id) == {"state": "leased", "asked": True}
    assert world.get(job.id)["cancel_asked"] is True
    assert world.extend(job) == {"cancel": True}
    world.crash()
    assert world.extend(job) == {"cancel": True}


def test_an_asked_worker_may_still_finish(world: World) -> None:
    world.create(retention_ms=60_000)
    world.enqueue("q", 1)
    job = world.reserve_one()
    world.cancel(job.id)
    world.ack(job, b"done all the same")
    assert world.state(job.id) == "succeeded"


@pytest.mark.parametrize("how", ["fail", "release", "lost"])
def test_an_asked_job_that_comes_back_is_cancelled_instead(world: World, how: str) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    world.cancel(job.id)
    if how == "fail":
        assert world.fail(job)["state"] == "cancelled"
    elif how == "release":
        world.release(job)
    else:
        world.pass_time(30_000)
    assert world.state(job.id) == "cancelled"
    assert world.reserve("q") == []
    assert world.counts() == {"cancelled": 1}


def test_jobs_that_are_not_there_are_refused_one_by_one(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    outcomes = world.call("cancel", [[bytes(16), job_id, b"\xff" * 16]])
    assert outcomes[0][:2] == [1, "JOB_NOT_FOUND"]
    assert outcomes[1] == [0, {"state": "cancelled"}]
    assert outcomes[2][:2] == [1, "JOB_NOT_FOUND"]


def test_an_ended_job_is_not_cancelled_again(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    world.ack(world.reserve_one())
    with pytest.raises(JobNotFound):
        world.cancel(job_id)


def test_a_cancelled_lease_counts_once(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    world.cancel(job.id)
    world.cancel(job.id)
    world.fail(job)
    assert world.queue()["totals"]["cancelled"] == 1
    assert world.queue()["jobs"] == 0


def test_one_job_named_twice_in_one_cancel_is_cancelled_once(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    first, second = world.call("cancel", [[job_id, job_id]])
    assert first == [0, {"state": "cancelled"}]
    assert second[0] == 1 or second == [0, {"state": "cancelled"}]
    assert world.counts() == {"cancelled": 1}
    assert world.queue()["totals"]["cancelled"] == 1
