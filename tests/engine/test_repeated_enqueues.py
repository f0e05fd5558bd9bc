"""Promise 4: a repeated enqueue is answered with the first reply and stores nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tenure_protocol.errors import Draining, SequenceTooOld
from tenure_storage.store import PRODUCERS
from tests.support.world import DAY_MS, HOUR_MS, World

P1, P2 = bytes([1]) * 16, bytes([2]) * 16


def enqueue(world: World, sequence: int, jobs: Any = 2, **more: Any) -> Any:
    options = {"producer": P1, "sequence": sequence, **more}
    return world.call("enqueue", world.enqueue_args("q", jobs, **options), who="producer")


def test_a_repeat_is_answered_with_the_first_reply_and_stores_nothing(world: World) -> None:
    first = enqueue(world, 1)
    assert enqueue(world, 1) == first
    assert world.counts() == {"ready": 2}


def test_a_repeat_after_a_crash_is_answered_with_the_first_reply(world: World) -> None:
    first = enqueue(world, 1, [b"a", b"b", b"c"], priority=3, delay_ms=5_000)
    world.wall_ms += 1_234
    world.crash()
    assert enqueue(world, 1, [b"a", b"b", b"c"], priority=3, delay_ms=5_000) == first
    assert world.counts() == {"scheduled": 3}


def test_a_repeat_is_not_called_refused_because_the_broker_is_draining(world: World) -> None:
    first = enqueue(world, 1)
    world.crash()
    world.engine.set_draining(True, world.now)
    assert enqueue(world, 1) == first
    with pytest.raises(Draining):
        enqueue(world, 2)


def test_a_repeat_while_the_first_is_being_committed_waits_for_the_commit(world: World) -> None:
    first = world.send_enqueue("q", 2, producer=P1, sequence=1)
    world.seal()
    second = world.send_enqueue("q", 2, producer=P1, sequence=1)
    assert not world.answered(second)
    world.turn()
    assert world.result(first) == world.result(second)
    assert world.counts() == {"ready": 2}


def test_a_repeat_is_not_answered_before_the_first_is_durable(world: World) -> None:
    world.send_enqueue("q", 1, producer=P1, sequence=1)
    world.seal()
    second = world.send_enqueue("q", 1, producer=P1, sequence=1)
    world.seal()
    world.crash()
    assert not world.answered(second)
    enqueue(world, 1, 1)
    assert world.counts() == {"ready": 1}


def test_two_copies_in_one_turn_store_one(world: World) -> None:
    first = world.send_enqueue("q", 3, producer=P1, sequence=7)
    second = world.send_enqueue("q", 3, producer=P1, sequence=7)
    world.turn()
    assert world.result(first) == world.result(second)
    assert world.counts() == {"ready": 3}


def test_an_enqueue_whose_commit_was_lost_is_stored_by_the_repeat(world: World) -> None:
    world.create()
    world.send_enqueue("q", 2, producer=P1, sequence=1)
    world.seal()
    world.crash()
    ids, _ = enqueue(world, 1)
    assert sorted(job.id for job in world.reserve("q", 10)) == sorted(ids)


def test_a_repeat_after_the_jobs_ended_stores_nothing(world: World) -> None:
    first = enqueue(world, 1)
    for job in world.reserve("q", 2):
        world.ack(job)
    world.crash()
    assert enqueue(world, 1) == first
    assert world.counts() == {}


def test_a_repeat_tells_again_which_jobs_existed(world: World) -> None:
    [held] = world.enqueue("q", [b"x"], unique="u1")
    jobs = [
        (b"a", {}),
        (b"b", {"unique": "u1"}),
        (b"c", {"unique": "u2"}),
        (b"d", {"unique": "u2"}),
    ]
    first = enqueue(world, 1, jobs)
    ids, existing = first
    assert existing == [1, 3]
    assert ids[1] == held
    assert ids[3] == ids[2]
    world.ack(world.reserve_one())
    world.crash()
    assert enqueue(world, 1, jobs) == first
    assert world.queue()["jobs"] == 2


def test_a_repeat_of_jobs_with_own_options_is_answered_with_the_first_ids(world: World) -> None:
    jobs = [
        (b"a", {"priority": 9}),
        (b"b", {"delay_ms": 60_000}),
        (b"c", {}),
        (b"d", {"priority": 1, "delay_ms": 1}),
    ]
    first = enqueue(world, 5, jobs)
    assert len(set(first[0])) == 4
    world.pass_time(10_000)
    world.crash()
    assert enqueue(world, 5, jobs) == first
    assert world.queue()["jobs"] == 4


def test_the_last_1024_requests_of_a_producer_are_remembered(world: World) -> None:
    replies = {n: enqueue(world, n, 1) for n in range(1, 1_101)}
    world.crash()
    for sequence in (1_100, 1_099, 500, 77):
        assert enqueue(world, sequence, 1) == replies[sequence]
    for sequence in (76, 1):
        with pytest.raises(SequenceTooOld):
            enqueue(world, sequence, 1)
    assert world.counts() == {"ready": 1_100}


def test_sequences_may_arrive_out_of_order(world: World) -> None:
    for sequence in (5, 1, 3, 4, 2):
        enqueue(world, sequence, 1)
    for sequence in (1, 2, 3, 4, 5):
        enqueue(world, sequence, 1)
    assert world.counts() == {"ready": 5}


def test_producers_do_not_share_sequences(world: World) -> None:
    enqueue(world, 1, 1)
    enqueue(world, 1, 1, producer=P2)
    assert world.counts() == {"ready": 2}


def test_an_enqueue_without_a_producer_is_always_new(world: World) -> None:
    for _ in range(2):
        world.enqueue("q", 1)
    assert world.counts() == {"ready": 2}


def test_a_refused_enqueue_is_not_remembered(world: World) -> None:
    world.create(max_jobs=1)
    enqueue(world, 1, 1)
    request = world.send_enqueue("q", 1, producer=P1, sequence=2)
    world.turn()
    assert world.replies[request].status == 1
    world.ack(world.reserve_one())
    ids, _ = enqueue(world, 2, 1)
    assert [job.id for job in world.reserve("q", 9)] == ids


def remembered(world: World, durability: str) -> int:
    """How many requests to queues of that durability are remembered."""
    return (world.store if durability == "disk" else world.volatile).count(PRODUCERS)


@pytest.mark.parametrize("durability", ["disk", "memory"])
def test_what_is_remembered_is_bounded_by_age(durability: str) -> None:
    world = World(producer_ttl_ms=HOUR_MS)
    world.create(durability=durability)
    for n in range(20):
        enqueue(world, 1, 1, producer=bytes([n]) * 16)
    assert remembered(world, durability) == 20
    world.pass_time(2 * HOUR_MS)
    world.pass_time(DAY_MS)
    enqueue(world, 1, 1, producer=b"\xff" * 16)
    world.pass_time(DAY_MS - HOUR_MS)
    assert remembered(world, durability) <= 1


@pytest.mark.parametrize("durability", ["disk", "memory"])
def test_too_many_producers_are_cut_down_to_those_heard_last(durability: str) -> None:
    world = World(producer_rows_max=50)
    world.create(durability=durability)
    for n in range(200):
        enqueue(world, 1, 1, producer=n.to_bytes(16, "big"))
    world.live(30_000)
    assert remembered(world, durability) <= 50
    last = enqueue(world, 2, 1, producer=bytes(16))
    world.live(30_000)
    assert enqueue(world, 2, 1, producer=bytes(16)) == last


def test_a_broker_that_remembers_nobody_any_more_sleeps() -> None:
    world = World(producer_ttl_ms=HOUR_MS)
    for durability in ("disk", "memory"):
        world.create(durability, durability=durability)
        world.enqueue(durability, 1, producer=P1, sequence=1)
        world.ack(world.reserve_one(durability))
    world.live(2 * HOUR_MS)
    assert (remembered(world, "disk"), remembered(world, "memory")) == (0, 0)
    assert world.engine.alarm_mono_ms(world.now) is None
