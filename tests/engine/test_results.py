"""Results, how long finished jobs are kept, and waiting for a job to end."""

from __future__ import annotations

import pytest

from tenure_protocol.errors import JobNotFound
from tenure_storage.store import FINISHED, STATES
from tests.support.world import DAY_MS, HOUR_MS, World


def test_a_result_is_kept_for_the_queues_retention(world: World) -> None:
    world.create(retention_ms=HOUR_MS)
    [job_id] = world.enqueue("q", [b"in"])
    world.ack(world.reserve_one(), b"\x00out")
    world.crash()
    info = world.get(job_id)
    assert (info["state"], info["result"]) == ("succeeded", b"\x00out")
    assert info["ended_at_ms"] == world.wall_ms
    assert [job["id"] for job in world.peek("q", "succeeded")] == [job_id]
    assert world.counts() == {"succeeded": 1}
    world.pass_time(HOUR_MS - 1)
    assert world.state(job_id) == "succeeded"
    world.pass_time(120_000)
    assert world.state(job_id) == "gone"
    assert world.counts() == {}
    assert world.store.count(FINISHED) == 0
    assert world.store.count(STATES) == 0


def test_a_succeeded_job_without_result_is_kept_too(world: World) -> None:
    world.create(retention_ms=HOUR_MS)
    [job_id] = world.enqueue("q", 1)
    world.ack(world.reserve_one())
    info = world.get(job_id)
    assert (info["state"], info["result"]) == ("succeeded", None)


def test_a_jobs_own_retention_wins(world: World) -> None:
    world.create(retention_ms=HOUR_MS)
    short, none = world.enqueue("q", [(b"", {"retention_ms": 60_000}), (b"", {"retention_ms": 0})])
    for job in world.reserve("q", 2):
        world.ack(job, b"r")
    assert world.state(none) == "gone"
    assert world.get(short)["result"] == b"r"
    world.pass_time(10 * 60_000)
    assert world.state(short) == "gone"


def test_a_result_without_retention_is_not_kept(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    world.ack(world.reserve_one(), b"r")
    assert world.state(job_id) == "gone"


def test_a_result_of_a_job_that_failed_before_is_kept_with_its_history(world: World) -> None:
    world.create(retention_ms=HOUR_MS)
    [job_id] = world.enqueue("q", 1)
    world.fail(world.reserve_one(), retry_in_ms=0)
    world.ack(world.reserve_one(), b"r")
    info = world.get(job_id)
    assert (info["state"], info["result"], info["failures"]) == ("succeeded", b"r", 1)


def test_a_waiter_gets_the_result_when_the_job_ends(world: World) -> None:
    world.create(retention_ms=HOUR_MS)
    [job_id] = world.enqueue("q", 1)
    request = world.send("wait", [job_id, 60_000], who="asker")
    world.turn()
    job = world.reserve_one()
    assert not world.answered(request)
    ack = world.send("ack", [[[job.id, job.attempt, b"answer"]]])
    assert not world.answered(request)
    world.seal()
    world.land()
    assert not world.answered(request), "the end was told before it was durable"
    world.announce()
    assert world.answered(ack)
    info = world.result(request)
    assert (info["state"], info["result"]) == ("succeeded", b"answer")


def test_a_waiter_gets_the_result_of_a_job_that_is_not_kept(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    requests = [world.send("wait", [job_id, 60_000], who=f"asker{n}") for n in range(3)]
    world.turn()
    world.ack(world.reserve_one(), b"answer")
    for request in requests:
        info = world.result(request)
        assert (info["id"], info["state"], info["result"]) == (job_id, "succeeded", b"answer")
    with pytest.raises(JobNotFound):
        world.call("wait", [job_id, 60_000])


@pytest.mark.parametrize("end", ["dead", "cancelled", "expired"])
def test_a_waiter_is_told_of_every_end(world: World, end: str) -> None:
    [job_id] = world.enqueue("q", 1, expires_in_ms=1_000)
    request = world.send("wait", [job_id, 60_000], who="asker")
    world.turn()
    if end == "dead":
        world.fail(world.reserve_one(), dead=True)
    elif end == "cancelled":
        world.cancel(job_id)
    else:
        world.pass_time(1_000)
    assert world.result(request)["state"] == end


def test_a_waiter_is_not_told_of_a_retry(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    request = world.send("wait", [job_id, 60_000], who="asker")
    world.fail(world.reserve_one(), retry_in_ms=0)
    assert not world.answered(request)
    world.ack(world.reserve_one())
    assert world.result(request)["state"] == "succeeded"


def test_a_waiter_whose_time_is_over_gets_the_job_as_it_is(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    request = world.send("wait", [job_id, 5_000], who="asker")
    world.pass_time(4_999)
    assert not world.answered(request)
    world.pass_time(1)
    assert world.result(request)["state"] == "ready"
    world.reserve_one()
    assert world.call("wait", [job_id, 0])["state"] == "leased"


def test_a_job_that_has_ended_and_is_kept_is_answered_at_once(world: World) -> None:
    world.create(retention_ms=DAY_MS)
    [job_id] = world.enqueue("q", 1)
    world.ack(world.reserve_one(), b"r")
    assert world.call("wait", [job_id, 60_000])["result"] == b"r"


def test_a_job_that_never_was_cannot_be_waited_for(world: World) -> None:
    with pytest.raises(JobNotFound):
        world.call("wait", [bytes(16), 60_000])


def test_a_waiter_whose_connection_closed_is_forgotten(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    request = world.send("wait", [job_id, 60_000], who="gone")
    world.disconnect("gone")
    world.ack(world.reserve_one())
    assert not world.answered(request)


@pytest.mark.parametrize("durability", ["disk", "memory"])
@pytest.mark.parametrize("op", ["queue.purge", "queue.delete"])
def test_who_waits_for_a_job_that_is_dropped_is_told_when_that_is_durable(
    world: World, op: str, durability: str
) -> None:
    world.create(durability=durability)
    world.create("other", durability=durability)
    leased, moved, waiting = world.enqueue("q", 3)
    [elsewhere] = world.enqueue("other", 1)
    world.reserve_one()
    world.release(world.reserve_one(), 30_000)
    dropped = [moved, waiting, waiting, *([leased] if op == "queue.delete" else [])]
    told = [world.send("wait", [job_id, HOUR_MS], who="asker") for job_id in dropped]
    stays = [world.send("wait", [elsewhere, HOUR_MS], who="asker")]
    stays += [world.send("wait", [leased, HOUR_MS], who="asker")] if op == "queue.purge" else []

    world.send(op, {"queue": "q", "force": True})
    if durability == "disk":
        for step in (world.seal, world.land):
            assert not any(world.answered(request) for request in told)
            step()
        world.announce()

    for request in told:
        with pytest.raises(JobNotFound):
            world.result(request)
    assert not any(world.answered(request) for request in stays)
    assert world.engine.waiting_count == len(stays)
