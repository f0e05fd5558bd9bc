"""Draining: no new work in or out; what is leased can be settled."""

from __future__ import annotations

import pytest

from tenure_protocol.errors import Draining
from tests.support.world import World


def drain(world: World, on: bool = True) -> None:
    world.engine.set_draining(on, world.now)
    world.turn()


def test_enqueues_and_reserves_are_refused_with_a_retryable_error(world: World) -> None:
    world.enqueue("q", 2)
    drain(world)
    with pytest.raises(Draining) as refused:
        world.enqueue("q", 1)
    assert refused.value.retryable
    with pytest.raises(Draining):
        world.reserve("q")
    assert world.counts() == {"ready": 2}


def test_waiting_reserves_end_empty(world: World) -> None:
    world.create()
    requests = [world.send_reserve("q", wait_ms=60_000, who=f"w{n}") for n in range(3)]
    world.turn()
    drain(world)
    assert [world.jobs_of(request) for request in requests] == [[], [], []]
    assert world.engine.waiting_count == 0


def test_leases_can_be_settled_and_extended(world: World) -> None:
    world.enqueue("q", 3)
    a, b, c = world.reserve("q", 3)
    drain(world)
    world.extend(a)
    world.ack(a)
    world.fail(b, retry_in_ms=0)
    world.release(c)
    assert world.counts() == {"ready": 2}
    assert world.call("goodbye", [None]) == {"released": 0}


def test_looking_and_cancelling_go_on(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    drain(world)
    assert world.state(job_id) == "ready"
    assert len(world.peek("q", "ready")) == 1
    world.cancel(job_id)


def test_time_goes_on(world: World) -> None:
    world.enqueue("q", 1)
    world.reserve_one()
    drain(world)
    world.pass_time(30_000)
    assert world.counts() == {"ready": 1}


def test_work_is_taken_again_when_draining_ends(world: World) -> None:
    world.enqueue("q", 1)
    drain(world)
    drain(world, False)
    world.enqueue("q", 1)
    assert len(world.reserve("q", 9)) == 2


def test_a_repeat_of_a_stored_enqueue_is_never_stored_twice(world: World) -> None:
    ids = world.enqueue("q", 1, producer=bytes(16), sequence=1)
    drain(world)
    try:
        again = world.enqueue("q", 1, producer=bytes(16), sequence=1)
    except Draining:
        again = ids
    assert again == ids
    drain(world, False)
    assert world.enqueue("q", 1, producer=bytes(16), sequence=1) == ids
    assert world.counts() == {"ready": 1}
