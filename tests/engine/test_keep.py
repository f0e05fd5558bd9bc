"""`keep`: after a reconnect a worker says what it holds; the rest goes back, unharmed."""

from __future__ import annotations

import pytest

from tenure_protocol.errors import BadRequest
from tests.support.world import World


def test_leases_that_the_worker_does_not_know_of_go_back_at_once(world: World) -> None:
    world.enqueue("q", 3, max_attempts=1)
    known, *unknown = world.reserve("q", 3)
    world.disconnect("worker")
    world.open("worker", resume=True)
    assert world.call("keep", [[[known.id, known.attempt]]]) == {"released": 2}
    assert world.counts() == {"leased": 1, "ready": 2}
    again = world.reserve("q", 3)
    assert [(job.id, job.attempt, job.used) for job in again] == [(j.id, 2, 0) for j in unknown]
    world.ack(known)


def test_a_lease_of_another_attempt_is_not_the_one_that_is_kept(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    assert world.call("keep", [[[job.id, job.attempt + 1]]]) == {"released": 1}
    assert world.counts() == {"ready": 1}


@pytest.mark.parametrize("nothing", [[], [None], [[]]])
def test_keeping_nothing_gives_everything_back(world: World, nothing: list[object]) -> None:
    world.create("fast", durability="memory")
    world.enqueue("q", 2)
    world.enqueue("fast", 2)
    world.reserve(["q", "fast"], 4)
    assert world.call("keep", nothing) == {"released": 4}


def test_leases_of_other_sessions_are_left_alone(world: World) -> None:
    world.enqueue("q", 2)
    [mine] = world.reserve("q", 1)
    world.reserve("q", 1, who="another")
    assert world.call("keep", [None]) == {"released": 1}
    assert world.state(mine.id) == "ready"
    assert world.counts() == {"ready": 1, "leased": 1}


def test_what_goes_back_is_given_to_whoever_waits(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    waiting = world.send_reserve("q", 1, wait_ms=60_000, who="another")
    world.turn()
    assert world.call("keep", [None]) == {"released": 1}
    assert [got.id for got in world.jobs_of(waiting)] == [job.id]


def test_the_session_goes_on(world: World) -> None:
    world.enqueue("q", 2)
    world.call("keep", [None])
    assert len(world.reserve("q", 2)) == 2


def test_a_draining_broker_takes_jobs_back(world: World) -> None:
    world.enqueue("q", 1)
    world.reserve_one()
    world.engine.set_draining(True, world.now)
    assert world.call("keep", [None]) == {"released": 1}


@pytest.mark.parametrize("odd", [[5], ["all"], [[5]], [[["id", 1]]], [[[bytes(16)]]]])
def test_what_is_no_list_of_leases_is_refused(world: World, odd: list[object]) -> None:
    world.enqueue("q", 1)
    world.reserve_one()
    with pytest.raises(BadRequest):
        world.call("keep", odd)
    assert world.counts() == {"leased": 1}
