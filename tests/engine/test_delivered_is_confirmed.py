"""Promise 2: a job leaves only after its enqueue and its lease are committed."""

from __future__ import annotations

from tenure_storage.store import LEASES
from tests.support.world import World


def test_a_delivery_leaves_when_its_lease_is_announced_and_not_before(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    request = world.send_reserve("q")
    assert not world.answered(request)
    world.seal()
    assert not world.answered(request)
    world.land()
    assert not world.answered(request)
    assert world.store.count(LEASES) == 1
    world.announce()
    assert [job.id for job in world.jobs_of(request)] == [job_id]


def test_a_job_whose_enqueue_is_not_committed_is_not_delivered(world: World) -> None:
    world.create()
    world.send_enqueue("q", 1)
    world.seal()
    request = world.send_reserve("q")
    world.land()
    world.turn()
    assert world.jobs_of(request) == []
    assert len(world.reserve("q")) == 1


def test_a_lease_lost_in_a_crash_was_never_seen_and_its_attempt_is_given_again(
    world: World,
) -> None:
    world.enqueue("q", 1)
    request = world.send_reserve("q")
    world.seal()
    world.crash()
    assert not world.answered(request)
    assert world.reserve_one().attempt == 1


def test_a_lease_that_landed_unannounced_holds_after_a_crash(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    request = world.send_reserve("q")
    world.seal()
    world.land()
    world.crash()
    assert not world.answered(request)
    assert world.reserve("q") == []
    world.pass_time(30_000)
    again = world.reserve_one()
    assert (again.id, again.attempt, again.used) == (job_id, 2, 1)


def test_a_waiting_reserve_gets_a_job_in_the_batch_that_enqueues_it(world: World) -> None:
    world.create()
    waiting = world.send_reserve("q", wait_ms=10_000)
    world.turn()
    before = world.batches
    enqueued = world.send_enqueue("q", 1)
    world.turn()
    assert world.batches == before + 1
    [job] = world.jobs_of(waiting)
    assert [job.id] == world.result(enqueued)[0]
    world.ack(job)


def test_a_same_batch_delivery_lost_in_a_crash_leaves_nothing(world: World) -> None:
    world.create()
    waiting = world.send_reserve("q", wait_ms=10_000)
    world.turn()
    world.send_enqueue("q", 1)
    world.seal()
    world.crash()
    assert not world.answered(waiting)
    assert world.counts() == {}
    assert world.reserve("q") == []


def test_a_delivered_body_is_the_producers_bytes(world: World) -> None:
    payloads = [bytes([n]) * n for n in range(50)]
    world.enqueue("q", payloads)
    assert [job.payload for job in world.reserve("q", 50)] == payloads
