"""Promise 8: full queues and a full store refuse enqueues; everything else goes on."""

from __future__ import annotations

from typing import Any

import pytest

from tenure_protocol.errors import (
    BrokerError,
    QueueFull,
    StoreFull,
    TooManyLeases,
    TooManyQueues,
    TooManyWaiting,
)
from tenure_protocol.limits import QUEUES_PER_RESERVE_MAX
from tenure_server.engine import EngineLimits
from tenure_server.engine.waiting import NAMES_PER_WAIT
from tests.support.world import World


def test_a_queue_at_max_jobs_refuses_and_stores_nothing(world: World) -> None:
    world.create(max_jobs=3)
    world.enqueue("q", 2)
    with pytest.raises(QueueFull) as refused:
        world.enqueue("q", 2)
    assert refused.value.retryable
    assert world.counts() == {"ready": 2}
    world.enqueue("q", 1)
    with pytest.raises(QueueFull):
        world.enqueue("q", 1)
    assert world.queue()["totals"]["rejected"] == 3


def test_leased_scheduled_and_retrying_jobs_count_towards_max_jobs(world: World) -> None:
    world.create(max_jobs=3)
    world.enqueue("q", 2)
    world.enqueue("q", 1, delay_ms=60_000)
    world.fail(world.reserve_one(), retry_in_ms=60_000)
    job = world.reserve_one()
    with pytest.raises(QueueFull):
        world.enqueue("q", 1)
    world.crash()
    with pytest.raises(QueueFull):
        world.enqueue("q", 1)
    world.ack(job)
    world.enqueue("q", 1)


def test_dead_and_ended_jobs_do_not_count_towards_max_jobs(world: World) -> None:
    world.create(max_jobs=1)
    world.enqueue("q", 1)
    world.fail(world.reserve_one(), dead=True)
    [job_id] = world.enqueue("q", 1)
    world.cancel(job_id)
    world.enqueue("q", 1)


def test_jobs_that_exist_already_do_not_count_as_more(world: World) -> None:
    world.create(max_jobs=1)
    [held] = world.enqueue("q", 1, unique="u")
    assert world.enqueue("q", 1, unique="u") == [held]


def test_a_queue_at_max_bytes_refuses_until_jobs_leave(world: World) -> None:
    world.create(max_bytes=10_000)
    args, stored = world.enqueue_args("q", [bytes(1_000)]), 0
    while (error := world.refusal("enqueue", args)) is None:
        stored += 1
    assert error.code == "QUEUE_FULL"
    assert 8 <= stored <= 9
    assert world.queue()["bytes"] <= 10_000
    job = world.reserve_one()
    with pytest.raises(QueueFull):
        world.enqueue("q", [bytes(1_000)])
    world.crash()
    with pytest.raises(QueueFull):
        world.enqueue("q", [bytes(1_000)])
    world.ack(job)
    world.enqueue("q", [bytes(1_000)])


def test_the_bytes_of_a_queue_come_back_to_zero(world: World) -> None:
    world.create(max_bytes=1_000_000, retry=["fixed", 0, 0.0])
    ids = world.enqueue("q", [bytes(100 * n) for n in range(12)], unique=None)
    world.ack(world.reserve_one())
    world.fail(world.reserve_one())
    world.release(world.reserve_one(), 1_000)
    world.fail(world.reserve_one(), dead=True)
    world.reserve_one()
    world.crash()
    world.turn()
    world.pass_time(30_000)
    world.cancel(ids[11])
    for job in world.reserve("q", 100):
        world.ack(job)
    assert (world.queue()["bytes"], world.queue()["jobs"]) == (0, 0)


def test_a_full_queue_does_not_hinder_others(world: World) -> None:
    world.create("full", max_jobs=1)
    world.enqueue("full", 1)
    with pytest.raises(QueueFull):
        world.enqueue("full", 1)
    world.enqueue("free", 1)


def test_a_full_queue_still_retries_and_takes_back_leases(world: World) -> None:
    world.create(max_jobs=2)
    world.enqueue("q", 2)
    a, b = world.reserve("q", 2)
    world.fail(a, retry_in_ms=0)
    world.release(b)
    assert world.counts() == {"ready": 2}


def test_a_full_store_refuses_enqueues_and_lets_everything_else_go_on(world: World) -> None:
    ids = world.enqueue("q", 10)
    dead = world.reserve_one()
    world.fail(dead, dead=True)
    world.engine.store_full = True
    with pytest.raises(StoreFull) as refused:
        world.enqueue("q", 1)
    assert refused.value.retryable
    job = world.reserve_one()
    world.extend(job)
    world.ack(job)
    world.fail(world.reserve_one(), retry_in_ms=0)
    world.release(world.reserve_one())
    world.cancel(ids[9])
    world.pass_time(30_000)
    world.call("dlq.purge", {"queue": "q", "ids": [dead.id]})
    assert world.call("queue.purge", {"queue": "q"})["purged"] == 7
    assert world.queue()["jobs"] == 0
    world.call("queue.delete", {"queue": "q", "force": True})
    world.engine.store_full = False
    world.enqueue("q", 1)


def test_a_full_store_takes_no_notes(world: World) -> None:
    world.create("fast", durability="memory")
    world.enqueue("q", 1)
    world.enqueue("fast", 1)
    job, fast = world.reserve_one(), world.reserve_one("fast")
    items = [[each.id, each.attempt, {"checkpoint": bytes(9)}] for each in (job, fast)]
    world.engine.store_full = True
    [refused, noted] = world.call("note", [items])
    assert (refused[1], noted) == ("STORE_FULL", 0)
    assert world.get(job.id)["checkpoint"] is None
    world.engine.store_full = False
    assert world.call("note", [items]) == [0, 0]


def test_a_full_store_still_answers_a_repeat_of_what_is_stored(world: World) -> None:
    args: dict[str, Any] = {"producer": bytes(16), "sequence": 1}
    ids = world.enqueue("q", 2, **args)
    world.engine.store_full = True
    assert world.enqueue("q", 2, **args) == ids


def test_memory_queues_take_jobs_while_the_store_is_full(world: World) -> None:
    world.create("fast", durability="memory")
    world.engine.store_full = True
    world.enqueue("fast", 1)
    assert len(world.reserve("fast")) == 1


def test_leases_are_capped_and_the_next_reserve_says_so() -> None:
    world = World(leases_max=3)
    world.enqueue("q", 10)
    got = world.reserve("q", 10)
    assert 1 <= len(got) <= 3
    got += world.reserve("q", 10) if len(got) < 3 else []
    assert len(got) == 3
    with pytest.raises(TooManyLeases) as refused:
        world.reserve("q", 1)
    assert refused.value.retryable
    world.ack(got[0])
    assert len(world.reserve("q", 10)) == 1


@pytest.mark.parametrize("how", ["ack", "release", "fail", "run out", "delete its queue"])
def test_a_waiting_reserve_that_was_crowded_out_is_served_when_a_lease_ends(how: str) -> None:
    world = World(leases_max=1)
    request = world.send_reserve("b", wait_ms=60_000, who="other")
    world.enqueue("a", 1, max_attempts=1)
    job = world.reserve_one("a")
    [job_id] = world.enqueue("b", 1)
    assert not world.answered(request)
    if how == "ack":
        world.ack(job)
    elif how == "release":
        world.release(job, 60_000)
    elif how == "fail":
        world.fail(job)
    elif how == "run out":
        world.pass_time(30_000)
    else:
        world.call("queue.delete", {"queue": "a", "force": True})
    assert [got.id for got in world.jobs_of(request)] == [job_id]


def test_waiting_reserves_that_were_crowded_out_are_served_one_lease_after_the_other() -> None:
    world = World(leases_max=2)
    world.enqueue("a", 2)
    held = world.reserve("a", 2)
    both = world.send_reserve(["b", "c"], wait_ms=60_000, who="both")
    waiting = [both, *(world.send_reserve("c", wait_ms=60_000, who=f"w{n}") for n in range(3))]
    dry = world.send_reserve("dry", wait_ms=60_000, who="dry")
    world.create("dry")
    world.enqueue("b", 1)
    world.enqueue("c", 3)
    while waiting:
        assert world.engine.lease_count == 2
        world.ack(held.pop(0))
        for request in [request for request in waiting if world.answered(request)]:
            held += world.jobs_of(request)
            waiting.remove(request)
    assert len(held) == 2
    assert not world.answered(dry)
    assert world.engine.waiting_count == 1


def test_waiting_reserves_that_were_crowded_out_are_served_when_more_leases_are_allowed() -> None:
    world = World(leases_max=1)
    request = world.send_reserve("b", wait_ms=60_000, who="other")
    world.enqueue("a", 1)
    world.reserve_one("a")
    world.enqueue("b", 1)
    assert not world.answered(request)
    world.engine.reconfigure(EngineLimits(leases_max=2), world.now)
    world.turn()
    assert len(world.jobs_of(request)) == 1


def test_waiting_reserves_are_capped() -> None:
    world = World(waiting_max=2)
    world.create()
    waiting = [world.send_reserve("q", wait_ms=60_000) for _ in range(2)]
    with pytest.raises(TooManyWaiting) as refused:
        world.reserve("q", wait_ms=60_000)
    assert refused.value.retryable
    assert world.reserve("q", wait_ms=0) == []
    world.enqueue("q", 3)
    assert all(len(world.jobs_of(request)) == 1 for request in waiting)
    assert len(world.reserve("q")) == 1


def test_the_queues_that_waiting_reserves_name_are_capped_all_together() -> None:
    world = World(waiting_max=32)
    most = NAMES_PER_WAIT * 32
    names = [f"q{number}" for number in range(QUEUES_PER_RESERVE_MAX)]
    assert most == 2 * QUEUES_PER_RESERVE_MAX
    world.send_reserve(names[:-1], wait_ms=60_000)
    first = world.send_reserve(names[:-1], wait_ms=60_000)
    world.send_reserve(names[:2], wait_ms=60_000)

    with pytest.raises(TooManyWaiting) as refused:
        world.reserve("q", wait_ms=60_000)
    assert refused.value.details == {"limit": most}
    assert refused.value.retryable
    assert world.reserve("q") == []

    world.enqueue("q7")
    assert [job.queue for job in world.jobs_of(first - 1)] == ["q7"]
    world.send_reserve(names[:-1], wait_ms=60_000)
    with pytest.raises(TooManyWaiting):
        world.reserve("q", wait_ms=60_000)


def test_one_reserve_may_wait_for_as_many_queues_as_it_may_name() -> None:
    world = World(waiting_max=1)
    names = [f"q{number}" for number in range(QUEUES_PER_RESERVE_MAX)]

    request = world.send_reserve(names, wait_ms=60_000)
    world.enqueue("q255")

    assert [job.queue for job in world.jobs_of(request)] == ["q255"]


def test_queues_are_capped_created_or_come_by_enqueue() -> None:
    world = World(queues_max=2)
    world.create("a")
    world.enqueue("b", 1)
    for _ in range(2):
        with pytest.raises(TooManyQueues):
            world.create("c")
        with pytest.raises(TooManyQueues):
            world.enqueue("c", 1)
    world.call("queue.delete", {"queue": "a", "force": False})
    world.enqueue("c", 1)


def errors_of(world: World, op: str, args: Any) -> str:
    error = world.refusal(op, args)
    return "OK" if error is None else error.code


@pytest.mark.parametrize(
    ("payload_bytes", "expected"), [(100, "OK"), (101, "PAYLOAD_TOO_LARGE"), (0, "OK")]
)
def test_payloads_are_bounded_exactly(payload_bytes: int, expected: str) -> None:
    world = World(payload_bytes_max=100)
    assert errors_of(world, "enqueue", world.enqueue_args("q", [bytes(payload_bytes)])) == expected


def test_a_payload_too_large_names_its_job_and_stores_none_of_the_request() -> None:
    world = World(payload_bytes_max=100)
    world.create()
    with pytest.raises(BrokerError) as refused:
        world.enqueue("q", [b"ok", b"ok", bytes(101), b"ok"])
    assert refused.value.code == "PAYLOAD_TOO_LARGE"
    assert refused.value.details["index"] == 2
    assert world.counts() == {}


@pytest.mark.parametrize(("count", "expected"), [(5, "OK"), (6, "BAD_REQUEST")])
def test_jobs_per_request_are_bounded_exactly(count: int, expected: str) -> None:
    world = World(jobs_per_request_max=5)
    assert errors_of(world, "enqueue", world.enqueue_args("q", count)) == expected


def test_a_result_too_large_is_refused_for_its_item_and_the_lease_stays() -> None:
    world = World(result_bytes_max=10)
    world.create(retention_ms=60_000)
    world.enqueue("q", 2)
    a, b = world.reserve("q", 2)
    outcomes = world.call("ack", [[[a.id, 1, bytes(11)], [b.id, 1, bytes(10)]]])
    assert outcomes[0][:2] == [1, "PAYLOAD_TOO_LARGE"]
    assert outcomes[1] == 0
    assert world.state(a.id) == "leased"
    world.ack(a)
