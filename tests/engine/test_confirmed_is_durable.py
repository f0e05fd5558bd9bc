"""Promise 1: a reply leaves only after its commit; a crash loses nothing confirmed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tenure_storage.store import JOBS
from tests.support.wire_jobs import Leased
from tests.support.world import World

SETTLEMENTS: dict[str, tuple[str, Callable[[Leased], list[object]]]] = {
    "ack": ("ack", lambda job: [[[job.id, job.attempt]]]),
    "fail": ("fail", lambda job: [[[job.id, job.attempt, {"retry_in_ms": 0}]]]),
    "fail dead": ("fail", lambda job: [[[job.id, job.attempt, {"dead": True}]]]),
    "release": ("release", lambda job: [[[job.id, job.attempt]]]),
    "snooze": ("release", lambda job: [[[job.id, job.attempt, 60_000]]]),
}

AFTERWARDS = {
    "ack": "gone",
    "fail": "ready",
    "fail dead": "dead",
    "release": "ready",
    "snooze": "scheduled",
}


def test_an_enqueue_is_answered_when_its_commit_is_announced_and_not_before(world: World) -> None:
    request = world.send_enqueue("q", 3)
    assert not world.answered(request)
    world.seal()
    assert not world.answered(request)
    world.land()
    assert not world.answered(request)
    world.announce()
    ids, existing = world.result(request)
    assert len(set(ids)) == 3
    assert existing is None


def test_a_confirmed_enqueue_survives_a_crash_with_its_body_and_options(world: World) -> None:
    [job_id] = world.enqueue("q", [b"\x00\xff bytes"], priority=7, max_attempts=9, lease_ms=1234)
    world.crash()
    job = world.reserve_one()
    assert (job.id, job.payload, job.max_attempts, job.lease_ms) == (
        job_id,
        b"\x00\xff bytes",
        9,
        1234,
    )
    assert world.get(job_id)["priority"] == 7


def test_an_enqueue_that_never_landed_was_never_answered_and_leaves_nothing(world: World) -> None:
    world.enqueue("q", 1)
    request = world.send_enqueue("q", 5)
    world.seal()
    world.crash()
    assert not world.answered(request)
    assert world.counts() == {"ready": 1}


def test_an_enqueue_that_landed_unannounced_is_there_after_a_crash(world: World) -> None:
    world.send_enqueue("q", 2)
    world.seal()
    world.land()
    world.crash()
    assert len(world.reserve("q", 10)) == 2


@pytest.mark.parametrize("how", SETTLEMENTS)
def test_a_settlement_is_answered_only_when_durable(world: World, how: str) -> None:
    op, args = SETTLEMENTS[how]
    world.enqueue("q", 1)
    job = world.reserve_one()
    request = world.send(op, args(job))
    for step in (world.seal, world.land):
        assert not world.answered(request)
        step()
    assert not world.answered(request)
    world.announce()
    assert world.answered(request)


@pytest.mark.parametrize("how", SETTLEMENTS)
def test_a_confirmed_settlement_is_not_undone_by_a_crash(world: World, how: str) -> None:
    op, args = SETTLEMENTS[how]
    world.enqueue("q", 1)
    job = world.reserve_one()
    [outcome] = world.call(op, args(job))
    assert outcome == 0 or outcome[0] == 0
    world.crash()
    assert world.state(job.id) == AFTERWARDS[how]


@pytest.mark.parametrize("how", SETTLEMENTS)
def test_a_settlement_lost_in_a_crash_leaves_the_lease_as_it_was(world: World, how: str) -> None:
    op, args = SETTLEMENTS[how]
    world.enqueue("q", 1)
    job = world.reserve_one()
    world.send(op, args(job))
    world.seal()
    world.crash()
    assert world.state(job.id) == "leased"
    world.ack(job)
    assert world.state(job.id) == "gone"


def test_a_lease_of_another_length_is_promised_only_when_durable(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one(lease_ms=1_000)
    world.send_enqueue("other", 1)
    request = world.send("extend", [[[job.id, job.attempt, 600_000]]])
    for step in (world.seal, world.land):
        assert not world.answered(request)
        step()
    assert not world.answered(request)
    world.announce()
    assert world.result(request) == [0]
    world.crash()
    world.pass_time(599_999)
    assert world.state(job.id) == "leased"


def test_a_lease_whose_longer_time_was_lost_in_a_crash_was_never_promised_it(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one(lease_ms=1_000)
    world.send_enqueue("other", 1)
    longer = world.send("extend", [[[job.id, job.attempt, 600_000]]])
    again = world.send("extend", [[[job.id, job.attempt]]])
    world.seal()
    on_its_way = world.send("extend", [[[job.id, job.attempt, 600_000]]])
    assert not any(world.answered(request) for request in (longer, again, on_its_way))
    world.crash()
    world.pass_time(1_000)
    assert world.reserve_one(who="other").id == job.id


def test_an_extension_that_waited_is_answered_with_the_commit_that_it_waited_for(
    world: World,
) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    longer = world.send("extend", [[[job.id, job.attempt, 600_000]]])
    world.seal()
    again = world.send("extend", [[[job.id, job.attempt]]])
    batches = world.batches
    world.land()
    world.announce()
    assert (world.result(longer), world.result(again)) == ([0], [0])
    assert (world.seal(), world.batches) == (None, batches)


def test_an_extension_is_answered_at_once_while_nothing_is_written(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    assert world.answered(world.send("extend", [[[job.id, job.attempt]]]))


def test_a_confirmed_ack_is_never_delivered_again(world: World) -> None:
    world.enqueue("q", 20)
    for job in world.reserve("q", 20):
        world.ack(job)
    world.crash()
    world.pass_time(100_000)
    assert world.reserve("q", 20) == []
    assert world.store.count(JOBS) == 0


def test_a_confirmed_cancel_is_not_undone_by_a_crash(world: World) -> None:
    keep, drop = world.enqueue("q", 2)
    request = world.send("cancel", [[drop]])
    assert not world.answered(request)
    world.turn()
    world.crash()
    assert world.state(drop) == "cancelled"
    assert [job.id for job in world.reserve("q", 10)] == [keep]


def test_replies_of_one_session_to_one_batch_keep_the_order_of_the_requests(world: World) -> None:
    requests = [world.send_enqueue("q", 1) for _ in range(10)]
    sealed = world.seal()
    assert sealed is not None
    assert [reply.request_id for reply in sealed.replies] == requests


def test_many_requests_of_one_turn_share_one_commit(world: World) -> None:
    world.enqueue("q", 1)
    before = world.batches
    for _ in range(50):
        world.send_enqueue("q", 1)
    world.turn()
    assert world.batches == before + 1
    assert world.counts() == {"ready": 51}
