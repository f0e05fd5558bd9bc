"""Waiting reserves: pushed when a job comes, first come first served, never left behind."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tenure_server.engine import reserve, serve
from tests.support.world import HOUR_MS, World


def test_a_reserve_without_wait_is_answered_at_once(world: World) -> None:
    world.create()
    before = world.batches
    request = world.send_reserve("q", 5, wait_ms=0)
    assert world.answered(request)
    assert world.jobs_of(request) == []
    assert world.batches == before


def test_a_waiting_reserve_ends_empty_when_its_time_is_over(world: World) -> None:
    world.create()
    request = world.send_reserve("q", 5, wait_ms=5_000)
    world.pass_time(4_999)
    assert not world.answered(request)
    world.pass_time(1)
    assert world.jobs_of(request) == []


def test_a_reserve_that_finds_jobs_does_not_wait_for_more(world: World) -> None:
    world.enqueue("q", 2)
    request = world.send_reserve("q", 10, wait_ms=5_000)
    world.turn()
    assert len(world.jobs_of(request)) == 2


def test_waiting_reserves_are_served_in_the_order_they_came(world: World) -> None:
    world.create()
    waiting = [world.send_reserve("q", 5, wait_ms=60_000, who=f"w{n}") for n in range(5)]
    ids = [world.enqueue("q", 1)[0] for _ in range(5)]
    assert [world.jobs_of(request)[0].id for request in waiting] == ids


def test_one_enqueue_serves_several_waiting_reserves(world: World) -> None:
    world.create()
    waiting = [world.send_reserve("q", 2, wait_ms=60_000, who=f"w{n}") for n in range(3)]
    world.turn()
    ids = world.enqueue("q", 5)
    got = [[job.id for job in world.jobs_of(request)] for request in waiting]
    assert sorted(job for some in got for job in some) == sorted(ids)
    assert all(got)


def test_a_queue_that_does_not_exist_yet_is_waited_for_and_not_created(world: World) -> None:
    request = world.send_reserve("later", wait_ms=60_000)
    world.turn()
    assert world.call("queue.list", {})["queues"] == []
    [job_id] = world.enqueue("later", 1)
    assert [job.id for job in world.jobs_of(request)] == [job_id]


def test_a_reserve_waits_on_all_its_queues(world: World) -> None:
    for queue in ("c", "b"):
        request = world.send_reserve(["a", "b", "c"], wait_ms=60_000)
        world.turn()
        [job_id] = world.enqueue(queue, 1)
        assert [(job.id, job.queue) for job in world.jobs_of(request)] == [(job_id, queue)]


@pytest.mark.parametrize("delay_ms", [1, 250, 30_000])
def test_a_waiting_reserve_gets_a_delayed_job_when_it_is_due(world: World, delay_ms: int) -> None:
    world.create()
    request = world.send_reserve("q", 5, wait_ms=60_000)
    world.turn()
    world.enqueue("q", 1, delay_ms=delay_ms)
    world.pass_time(delay_ms - 1)
    assert not world.answered(request)
    world.pass_time(1)
    assert len(world.jobs_of(request)) == 1


def test_a_waiting_reserve_gets_a_retry_when_it_is_due(world: World) -> None:
    world.enqueue("q", 1)
    world.fail(world.reserve_one(), retry_in_ms=7_000)
    request = world.send_reserve("q", 5, wait_ms=60_000)
    world.pass_time(6_999)
    assert not world.answered(request)
    world.pass_time(1)
    assert world.jobs_of(request)[0].attempt == 2


def test_a_waiting_reserve_gets_a_released_job(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    request = world.send_reserve("q", 5, wait_ms=60_000, who="other")
    world.turn()
    world.release(job)
    assert [got.attempt for got in world.jobs_of(request)] == [2]


def test_a_waiting_reserve_gets_a_job_whose_lease_ran_out(world: World) -> None:
    world.enqueue("q", 1)
    world.reserve_one()
    request = world.send_reserve("q", 5, wait_ms=60_000, who="other")
    world.pass_time(30_000)
    assert [got.attempt for got in world.jobs_of(request)] == [2]


def test_a_waiting_reserve_gets_a_job_when_its_queue_is_resumed(world: World) -> None:
    world.enqueue("q", 1)
    world.call("queue.pause", {"queue": "q"})
    request = world.send_reserve("q", 5, wait_ms=60_000)
    world.turn()
    assert not world.answered(request)
    world.call("queue.resume", {"queue": "q"})
    assert len(world.jobs_of(request)) == 1


def test_a_waiting_reserve_gets_a_replayed_dead_letter(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    world.fail(job, dead=True)
    request = world.send_reserve("q", 5, wait_ms=60_000)
    world.turn()
    world.call("dlq.replay", {"queue": "q", "ids": [job.id]})
    assert [got.id for got in world.jobs_of(request)] == [job.id]


def test_a_job_enqueued_while_the_reserve_was_being_committed_is_not_missed(world: World) -> None:
    world.create()
    world.send_enqueue("q", 1)
    world.seal()
    request = world.send_reserve("q", 5, wait_ms=60_000)
    assert not world.answered(request)
    world.land()
    world.turn()
    assert len(world.jobs_of(request)) == 1


def test_a_connection_that_closed_gets_no_jobs(world: World) -> None:
    world.create()
    request = world.send_reserve("q", 5, wait_ms=60_000, who="gone")
    world.turn()
    world.disconnect("gone")
    [job_id] = world.enqueue("q", 1)
    assert not world.answered(request)
    assert world.state(job_id) == "ready"
    assert world.engine.waiting_count == 0


def test_one_waiting_reserve_of_a_session_does_not_end_another(world: World) -> None:
    for queue in ("a", "b"):
        world.create(queue)
    on_a = world.send_reserve("a", wait_ms=60_000)
    on_b = world.send_reserve("b", wait_ms=60_000)
    world.turn()
    world.enqueue("b", 1)
    assert world.answered(on_b)
    assert not world.answered(on_a)
    world.enqueue("a", 1)
    assert world.answered(on_a)


def test_the_number_of_waiting_reserves_is_told(world: World) -> None:
    world.create()
    for n in range(3):
        world.send_reserve("q", 5, wait_ms=1_000, who=f"w{n}")
    world.turn()
    assert world.queue()["waiting_reserves"] == 3
    assert world.engine.waiting_count == 3
    world.pass_time(1_000)
    assert world.queue()["waiting_reserves"] == 0
    assert world.engine.waiting_count == 0


def test_a_thousand_waiting_reserves_on_one_queue_are_served(world: World) -> None:
    world.create()
    waiting = [world.send_reserve("q", wait_ms=60_000, who=f"w{n % 10}") for n in range(1_000)]
    world.turn()
    ids = world.enqueue("q", 1_000)
    assert [world.jobs_of(request)[0].id for request in waiting] == ids
    assert world.engine.waiting_count == 0


def test_a_turn_gives_those_who_wait_a_bounded_amount_and_the_next_ones_the_rest() -> None:
    world = World()
    world.create(paused=True)
    world.enqueue("q", [bytes(1_000_000)] * 60)
    requests = [world.send_reserve("q", 5, wait_ms=60_000, who=f"w{n}") for n in range(12)]
    world.send("queue.resume", {"queue": "q"})
    assert 30 <= world.engine.lease_count <= 45
    assert world.engine.alarm_mono_ms(world.now) == world.mono_ms
    world.turn()
    assert sum(len(world.jobs_of(request)) for request in requests) == 60


@pytest.mark.parametrize("weighted", [False, True], ids=["in order", "by weight"])
@pytest.mark.parametrize("scheduled", [False, True], ids=["empty", "with jobs for later"])
def test_waiting_for_hundreds_of_queues_looks_into_each_of_them_a_few_times(
    world: World, weighted: bool, scheduled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"q{number}" for number in range(256)]
    for name in names:
        if scheduled:
            world.enqueue(name, 1, delay_ms=60_000)
        else:
            world.create(name)
    wanted = [[name, 1] for name in names] if weighted else names
    looks = Counter[str]()
    look = reserve._collect_from

    def counted(*arguments: Any) -> int:
        looks[arguments[2].name] += 1
        return look(*arguments)

    monkeypatch.setattr(reserve, "_collect_from", counted)
    request = world.send_reserve(wanted, 10, wait_ms=120_000)
    world.turn()

    assert set(looks) == set(names)
    assert max(looks.values()) <= 8
    world.pass_time(60_000)
    if scheduled:
        assert len(world.jobs_of(request)) == 10


def alarms(world: World, ms: int) -> int:
    """Lets time pass as a server does; how often it was woken."""
    end_ms, woken = world.mono_ms + ms, 0
    while (alarm := world.engine.alarm_mono_ms(world.now)) is not None and alarm <= end_ms:
        world.pass_time(max(alarm - world.mono_ms, 0))
        woken += 1
    return woken


@pytest.mark.parametrize("ends", ["delete", "purge"])
def test_alarms_of_jobs_that_are_gone_do_not_pile_up(world: World, ends: str) -> None:
    rounds = 3 * serve.ALARMS_SLACK
    for n in range(rounds):
        # Each job is due before the last one: the alarm of a queue that stays is moved.
        name = f"q{n}" if ends == "delete" else "q"
        request = world.send_reserve(name, wait_ms=1)
        world.enqueue(name, 1, delay_ms=HOUR_MS - 20 * n)
        world.pass_time(1)
        assert world.jobs_of(request) == []
        world.call(f"queue.{ends}", {"queue": name, "force": True})
        world.live(1)
    assert alarms(world, 2 * HOUR_MS) <= serve.ALARMS_SLACK + 100


def test_a_queue_that_is_deleted_and_created_again_is_served_in_its_own_time(world: World) -> None:
    first = world.send_reserve("q", wait_ms=HOUR_MS)
    world.enqueue("q", 1, delay_ms=1_000)
    world.call("queue.delete", {"queue": "q", "force": True})
    world.enqueue("q", 1, delay_ms=2_000)
    world.live(1_999)
    assert not world.answered(first)
    world.live(1)
    assert len(world.jobs_of(first)) == 1
