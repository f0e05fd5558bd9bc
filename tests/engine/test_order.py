"""Promise 5: priority first, then ready_at, then arrival; retries come back by their own time."""

from __future__ import annotations

import random

import pytest

from tests.support.world import DAY_MS, World


def drained(world: World, count: int = 1000) -> list[bytes]:
    return [job.id for job in world.reserve("q", count)]


def test_jobs_of_one_priority_leave_in_the_order_they_arrived(world: World) -> None:
    ids: list[bytes] = []
    for step in range(60):
        ids += world.enqueue("q", 1 + step % 4)
        if step % 3 == 0:
            world.pass_time(1)
    assert drained(world) == ids


def test_priority_0_runs_first_and_255_last(world: World) -> None:
    by_priority = {p: world.enqueue("q", 2, priority=p) for p in (128, 255, 0, 64, 192, 1)}
    assert drained(world) == [job for p in sorted(by_priority) for job in by_priority[p]]


def test_a_higher_priority_that_arrives_later_overtakes_at_the_next_reserve(world: World) -> None:
    world.enqueue("q", 2, priority=128)
    first = world.reserve_one()
    [urgent] = world.enqueue("q", 1, priority=0)
    assert world.reserve_one().id == urgent
    assert world.reserve_one().id != first.id


def test_one_reserve_takes_across_priorities_in_order(world: World) -> None:
    low = world.enqueue("q", 5, priority=200)
    high = world.enqueue("q", 5, priority=10)
    assert drained(world, 7) == high + low[:2]
    assert drained(world, 7) == low[2:]


def test_jobs_of_one_request_with_different_priorities_keep_arrival_within_each(
    world: World,
) -> None:
    jobs = [(b"%d" % n, {"priority": n % 3}) for n in range(30)]
    ids = world.enqueue("q", jobs)
    expected = [job for _, job in sorted(enumerate(ids), key=lambda pair: (pair[0] % 3, pair[0]))]
    assert drained(world) == expected


def test_within_a_priority_the_earlier_ready_at_leaves_first(world: World) -> None:
    order = random.Random(3)
    delays = [order.randrange(1, 5_000) for _ in range(100)]
    ids = [world.enqueue("q", 1, delay_ms=delay)[0] for delay in delays]
    world.pass_time(5_000)
    expected = [job for _, _, job in sorted(zip(delays, range(100), ids, strict=True))]
    assert drained(world) == expected


def test_a_delayed_job_of_high_priority_does_not_hold_back_ready_ones(world: World) -> None:
    [later] = world.enqueue("q", 1, priority=0, delay_ms=60_000)
    [now] = world.enqueue("q", 1, priority=255)
    assert drained(world) == [now]
    world.ack((now, 1))
    world.pass_time(60_000)
    assert drained(world) == [later]


def test_a_retry_comes_back_by_its_own_time_not_before_and_not_behind_later_ones(
    world: World,
) -> None:
    world.enqueue("q", 1)
    failed = world.reserve_one()
    world.fail(failed, retry_in_ms=10_000)
    world.pass_time(5_000)
    earlier = world.enqueue("q", 1)
    world.pass_time(5_000)
    later = world.enqueue("q", 1, delay_ms=1)
    world.pass_time(1)
    assert drained(world) == [*earlier, failed.id, *later]


def test_a_released_job_goes_back_to_its_own_place(world: World) -> None:
    ids = world.enqueue("q", 5)
    for job in world.reserve("q", 3):
        world.release(job)
    assert drained(world) == ids


def test_a_lost_lease_puts_the_job_back_in_its_own_place(world: World) -> None:
    first = world.enqueue("q", 2)
    world.reserve("q", 2)
    world.pass_time(29_000)
    later = world.enqueue("q", 2)
    world.pass_time(1_000)
    assert drained(world) == first + later


def test_strict_order_of_queues_empties_the_first_queue_first(world: World) -> None:
    b = world.enqueue("b", 3, priority=0)
    a = world.enqueue("a", 3, priority=255)
    got = [job.id for job in world.reserve(["a", "b"], 4)]
    assert got == [*a, b[0]]
    assert [job.id for job in world.reserve(["a", "b"], 4)] == b[1:]


def test_weighted_queues_share_reserves_by_weight(world: World) -> None:
    world.enqueue("gold", 1000)
    world.enqueue("tin", 1000)
    for _ in range(400):
        [_job] = world.reserve([["gold", 3], ["tin", 1]], 1, who="w")
    gold, tin = world.counts("gold")["leased"], world.counts("tin")["leased"]
    assert gold + tin == 400
    assert 240 <= gold <= 360, (gold, tin)


def test_weighted_batches_share_by_weight_too(world: World) -> None:
    world.enqueue("gold", 1000)
    world.enqueue("tin", 1000)
    for _ in range(20):
        assert len(world.reserve([["gold", 3], ["tin", 1]], 40)) == 40
    gold = world.counts("gold")["leased"]
    assert 400 <= gold <= 760, gold


def test_a_weighted_queue_that_was_idle_does_not_catch_up_on_the_others(world: World) -> None:
    world.enqueue("gold", 2_000)
    world.create("tin")
    wanted = [["gold", 3], ["tin", 1]]
    for _ in range(500):
        [_job] = world.reserve(wanted, 1)
    world.enqueue("tin", 1_000)
    queues = [world.reserve(wanted, 1)[0].queue for _ in range(200)]
    assert 120 <= queues.count("gold") <= 180, queues.count("gold")


def test_a_weighted_queue_without_jobs_leaves_its_share_to_the_others(world: World) -> None:
    world.create("empty")
    world.enqueue("tin", 10)
    assert len(world.reserve([["empty", 1000], ["tin", 1]], 10)) == 10


@pytest.mark.parametrize("step_ms", [-1, -500, -2_000])
def test_a_small_step_back_of_the_wall_clock_does_not_reorder(world: World, step_ms: int) -> None:
    before = world.enqueue("q", 2)
    world.wall_ms += step_ms
    after = world.enqueue("q", 2)
    assert drained(world) == before + after


def test_a_small_step_back_across_a_crash_does_not_reorder(world: World) -> None:
    before = world.enqueue("q", 2)
    world.wall_ms -= 300
    world.crash()
    after = world.enqueue("q", 2)
    world.pass_time(300)
    assert drained(world) == before + after


def test_a_large_step_back_is_accepted_logged_and_loses_nothing(world: World) -> None:
    before = world.enqueue("q", 2)
    world.wall_ms -= DAY_MS
    world.pass_time(1)
    after = world.enqueue("q", 2)
    world.pass_time(1)
    assert any("clock" in name for name in world.event_names())
    got = drained(world)
    assert set(after) <= set(got)
    world.pass_time(DAY_MS)
    assert set(got + drained(world)) >= set(before + after)


def test_a_step_forward_makes_delayed_jobs_ready(world: World) -> None:
    ids = world.enqueue("q", 3, delay_ms=DAY_MS)
    world.wall_ms += DAY_MS
    world.turn()
    assert drained(world) == ids


def test_ids_sort_as_jobs_leave(world: World) -> None:
    ids = [
        *world.enqueue("q", 5, priority=9),
        *world.enqueue("q", 5, priority=3),
        *world.enqueue("q", 5, priority=3),
    ]
    assert drained(world) == sorted(ids)


def test_jobs_that_a_window_was_read_up_to_while_they_landed_leave_once_and_in_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = world.enqueue("q", 5)
    world.crash()
    request = world.send_enqueue("q", 4)
    world.seal()
    world.land()
    # What is durable and not announced is passed over; the window ends in the middle of it.
    monkeypatch.setattr("tenure_server.engine.lanes.REFILL_ROWS_MAX", 7)
    taking = world.send("reserve", [["q"], 1, 0])
    world.announce()
    world.turn()
    [[first, *_]] = world.result(taking)
    ids, _ = world.result(request)
    assert [first, *drained(world)] == old + ids
