"""Promise 3: one worker at a time; late settlements change nothing; restarts re-arm leases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tenure_protocol.errors import LeaseLost
from tenure_server.engine import settle
from tests.support.wire_jobs import Token
from tests.support.world import DAY_MS, HOUR_MS, YEAR_MS, World

SETTLE: dict[str, Callable[[World, Token], object]] = {
    "ack": lambda world, job: world.ack(job),
    "fail": lambda world, job: world.fail(job),
    "release": lambda world, job: world.release(job),
    "extend": lambda world, job: world.extend(job),
}


def test_a_leased_job_is_given_to_nobody_else(world: World) -> None:
    world.enqueue("q", 1)
    world.reserve_one(who="first")
    assert world.reserve("q", 10, who="second") == []
    world.pass_time(29_999)
    assert world.reserve("q", 10, who="second") == []


def test_two_reserves_of_one_turn_get_different_jobs(world: World) -> None:
    ids = world.enqueue("q", 4)
    first = world.send_reserve("q", 2, who="first")
    second = world.send_reserve("q", 2, who="second")
    world.turn()
    got = world.jobs_of(first) + world.jobs_of(second)
    assert [job.id for job in got] == ids


def test_a_lease_ends_after_its_time_and_the_next_delivery_has_the_next_attempt(
    world: World,
) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    assert (job.attempt, job.lease_ms, job.used) == (1, 30_000, 0)
    world.pass_time(30_000)
    again = world.reserve_one()
    assert (again.id, again.attempt, again.used) == (job.id, 2, 1)


def test_a_lease_lasts_its_time_by_a_clock_that_cuts_moments_too() -> None:
    world = World(clock_cut_ms=1)
    world.enqueue("q", 2)
    extended, job = world.reserve("q", 2)
    world.pass_time(30_000)
    assert world.reserve("q", 10) == []
    world.extend(extended)
    world.pass_time(1)
    assert [again.id for again in world.reserve("q", 10)] == [job.id]
    world.pass_time(29_999)
    assert world.reserve("q", 10) == []
    world.pass_time(1)
    assert [again.id for again in world.reserve("q", 10)] == [extended.id]


@pytest.mark.parametrize("how", SETTLE)
def test_a_stale_attempt_is_refused_and_changes_nothing(world: World, how: str) -> None:
    world.enqueue("q", 1)
    stale = world.reserve_one()
    world.pass_time(30_000)
    current = world.reserve_one()
    before = world.get(current.id)
    with pytest.raises(LeaseLost):
        SETTLE[how](world, stale)
    assert world.get(current.id) == before
    world.ack(current)


@pytest.mark.parametrize("how", SETTLE)
def test_an_attempt_that_never_was_is_refused(world: World, how: str) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    for attempt in (0, 2, 2**32 - 1):
        with pytest.raises(LeaseLost):
            SETTLE[how](world, (job.id, attempt))
    with pytest.raises(LeaseLost):
        SETTLE[how](world, (bytes(16), 1))
    assert world.counts() == {"leased": 1}


@pytest.mark.parametrize("how", SETTLE)
def test_an_expired_lease_is_refused_although_nobody_else_has_the_job(
    world: World, how: str
) -> None:
    [job_id] = world.enqueue("q", 1)
    job = world.reserve_one()
    world.pass_time(30_000)
    with pytest.raises(LeaseLost):
        SETTLE[how](world, job)
    assert world.state(job_id) == "ready"


def test_the_attempt_rises_with_every_delivery_also_after_a_release(world: World) -> None:
    world.enqueue("q", 1)
    for attempt in range(1, 20):
        job = world.reserve_one()
        assert (job.attempt, job.used) == (attempt, 0)
        world.release(job)
        if attempt % 5 == 0:
            world.crash()


def test_one_worker_may_settle_what_another_session_reserved(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one(who="first")
    world.ack(job, who="second")
    assert world.counts() == {}


def test_each_item_of_a_settlement_has_its_own_outcome(world: World) -> None:
    world.enqueue("q", 3)
    a, b, c = world.reserve("q", 3)
    outcomes = world.call("ack", [[[a.id, 1], [b.id, 9], [c.id, 1]]])
    assert outcomes[0] == 0
    assert outcomes[1][:2] == [1, "LEASE_LOST"]
    assert outcomes[2] == 0
    assert world.state(b.id) == "leased"


def test_one_lease_named_twice_in_one_ack_is_ended_once(world: World) -> None:
    world.enqueue("q", 2)
    job = world.reserve_one()
    first, second = world.call("ack", [[[job.id, 1], [job.id, 1]]])
    assert first == 0
    assert second == [0, {"repeated": True}]
    assert world.counts() == {"ready": 1}


@pytest.mark.parametrize("op", ["ack", "release", "fail"])
def test_a_repeated_settlement_is_answered_as_done_while_remembered(world: World, op: str) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    SETTLE[op](world, job)
    state = world.state(job.id)
    assert SETTLE[op](world, job) == {"repeated": True}
    assert world.state(job.id) == state


def test_a_repeated_release_is_no_release_of_the_next_lease(world: World) -> None:
    world.enqueue("q", 1)
    first = world.reserve_one()
    world.release(first)
    second = world.reserve_one()
    world.release(first)
    assert world.state(second.id) == "leased"
    world.ack(second)


@pytest.mark.parametrize("wall_step_ms", [0, -YEAR_MS, -DAY_MS, -1, 1, DAY_MS, YEAR_MS])
@pytest.mark.parametrize("mono_ms", [0, 5_000_000, 10**12])
def test_a_restart_rearms_leases_in_full_whatever_the_clocks_did(
    world: World, wall_step_ms: int, mono_ms: int
) -> None:
    world.enqueue("q", 1, lease_ms=60_000)
    job = world.reserve_one()
    world.pass_time(59_000)
    world.wall_ms += wall_step_ms
    world.mono_ms = mono_ms
    world.crash()
    world.turn()
    world.pass_time(59_999)
    assert world.state(job.id) == "leased"
    assert world.reserve("q") == []
    world.pass_time(1)
    info = world.get(job.id)
    assert info["state"] != "leased"
    assert (info["lost"], info["attempt"]) == (1, 1)


@pytest.mark.parametrize("wall_step_ms", [-DAY_MS, -1_000, 1_000, DAY_MS])
def test_a_step_of_the_wall_clock_ends_no_lease_and_keeps_none(
    world: World, wall_step_ms: int
) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    world.wall_ms += wall_step_ms
    world.pass_time(29_999)
    assert world.state(job.id) == "leased"
    world.pass_time(1)
    assert world.state(job.id) != "leased"


def test_a_lease_of_twelve_hours_holds_twelve_hours(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one(lease_ms=12 * HOUR_MS)
    assert job.lease_ms == 12 * HOUR_MS
    world.pass_time(12 * HOUR_MS - 1)
    assert world.reserve("q") == []
    world.pass_time(1)
    assert len(world.reserve("q")) == 1


def test_a_rearmed_lease_keeps_the_length_it_was_taken_with(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one(lease_ms=5_000)
    world.crash()
    world.turn()
    world.pass_time(4_999)
    assert world.state(job.id) == "leased"
    world.pass_time(1)
    assert world.state(job.id) == "ready"


def test_a_tick_ends_a_bounded_number_of_leases_and_the_next_ones_the_rest(world: World) -> None:
    ids = world.enqueue("q", 2 * settle.EXPIRED_PER_TICK + 1)
    world.reserve("q", len(ids))
    world.wall_ms += 30_000
    world.mono_ms += 30_000
    left = []
    while world.tick_if_due():
        left.append(world.engine.lease_count)
    assert left[:3] == [settle.EXPIRED_PER_TICK + 1, 1, 0]
    world.turn()
    assert [job.id for job in world.reserve("q", len(ids))] == ids


def test_leases_that_run_out_together_come_back_in_their_order(world: World) -> None:
    ids = world.enqueue("q", 100)
    world.reserve("q", 100)
    world.pass_time(30_000)
    assert [job.id for job in world.reserve("q", 100)] == ids
