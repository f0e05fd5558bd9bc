"""Unique names: one unfinished job per name and queue; freed when it finishes, however."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tenure_protocol.errors import BadRequest
from tenure_storage.store import UNIQUE
from tests.support.world import World


def held(world: World, name: str = "u", queue: str = "q") -> tuple[bytes, bool]:
    """The id that an enqueue under the name gives, and whether it existed."""
    ids, existing = world.call("enqueue", world.enqueue_args(queue, 1, unique=name))
    return ids[0], existing is not None


def test_a_second_enqueue_returns_the_first_id_and_says_so(world: World) -> None:
    first = held(world)
    assert held(world) == (first[0], True)
    assert first[1] is False
    assert world.counts() == {"ready": 1}
    assert world.queue()["totals"]["deduplicated"] == 1


def test_the_first_body_stays(world: World) -> None:
    world.enqueue("q", [b"first"], unique="u")
    world.enqueue("q", [b"second"], unique="u")
    assert world.reserve_one().payload == b"first"


def test_the_name_is_held_through_every_unfinished_state_and_crashes(world: World) -> None:
    [job_id] = world.enqueue("q", 1, unique="u", delay_ms=1_000)
    assert held(world) == (job_id, True)
    world.pass_time(1_000)
    assert held(world) == (job_id, True)
    job = world.reserve_one()
    world.crash()
    assert held(world) == (job_id, True)
    world.fail(job, retry_in_ms=1_000)
    world.crash()
    assert held(world) == (job_id, True)
    assert world.get(job_id)["unique"] == "u"


FINISH: dict[str, Callable[[World, bytes], object]] = {
    "acked": lambda world, _: world.ack(world.reserve_one()),
    "dead": lambda world, _: world.fail(world.reserve_one(), dead=True),
    "cancelled": lambda world, job_id: world.cancel(job_id),
    "expired": lambda world, _: world.pass_time(60_000),
    "purged": lambda world, _: world.call("queue.purge", {"queue": "q"}),
    "taken at most once": lambda world, _: world.reserve_one(auto_ack=True),
}


@pytest.mark.parametrize("how", FINISH)
@pytest.mark.parametrize("crash", [False, True])
def test_the_name_is_free_when_the_job_is(world: World, how: str, crash: bool) -> None:
    [first] = world.enqueue("q", 1, unique="u", expires_in_ms=60_000)
    FINISH[how](world, first)
    if crash:
        world.crash()
    second, existed = held(world)
    assert second != first
    assert not existed
    assert held(world) == (second, True)


def test_the_name_is_free_in_the_batch_that_frees_it(world: World) -> None:
    [first] = world.enqueue("q", 1, unique="u")
    job = world.reserve_one()
    world.send("ack", [[[job.id, job.attempt]]])
    request = world.send_enqueue("q", 1, unique="u")
    world.turn()
    ids, existing = world.result(request)
    assert ids != [first]
    assert existing is None


def test_names_are_of_their_queue(world: World) -> None:
    a, b = held(world, queue="a"), held(world, queue="b")
    assert a[0] != b[0]
    assert not b[1]


def test_one_name_twice_in_one_request_is_one_job(world: World) -> None:
    args = world.enqueue_args("q", [b"a", b"b", b"c"], unique="u")
    ids, existing = world.call("enqueue", args)
    assert len(set(ids)) == 1
    assert existing == [1, 2]
    assert world.counts() == {"ready": 1}


def test_an_existing_name_is_not_reported_before_its_job_is_durable(world: World) -> None:
    world.create()
    world.send_enqueue("q", 1, unique="u")
    world.seal()
    second = world.send_enqueue("q", 1, unique="u")
    assert not world.answered(second)
    world.crash()
    assert held(world)[1] is False


def test_a_replay_under_a_taken_name_is_refused_and_the_letter_stays(world: World) -> None:
    [dead] = world.enqueue("q", 1, unique="u")
    world.fail(world.reserve_one(), dead=True)
    [current] = world.enqueue("q", 1, unique="u")
    [outcome] = world.call("dlq.replay", {"queue": "q", "ids": [dead]})["outcomes"]
    assert outcome[:2] == [1, "BAD_REQUEST"]
    assert world.state(dead) == "dead"
    world.ack(world.reserve_one())
    assert world.state(current) == "gone"
    [outcome] = world.call("dlq.replay", {"queue": "q", "ids": [dead]})["outcomes"]
    assert outcome == 0 or outcome[0] == 0
    assert held(world) == (dead, True)


def test_a_purge_frees_the_names_of_what_it_purged_and_not_of_what_is_leased(
    world: World,
) -> None:
    [leased] = world.enqueue("q", 1, unique="leased")
    world.reserve_one()
    world.enqueue("q", 1, unique="waiting")
    world.call("queue.purge", {"queue": "q"})
    assert held(world, "leased") == (leased, True)
    assert held(world, "waiting")[1] is False


def test_a_name_taken_anew_after_a_purge_survives_the_sweep(world: World) -> None:
    names = [f"u{n}" for n in range(3_000)]
    world.enqueue("q", [(b"", {"unique": name}) for name in names])
    request = world.send("queue.purge", {"queue": "q"})
    again = world.send_enqueue("q", [(b"", {"unique": name}) for name in names[:10]])
    world.turn()
    assert world.result(request)["purged"] == 3_000
    ids, existing = world.result(again)
    assert existing is None
    for _ in range(20):
        world.pass_time(1_000)
    assert world.store.count(UNIQUE) == 10
    for name, job_id in zip(names, ids, strict=False):
        assert held(world, name) == (job_id, True)


def test_no_name_stays_behind(world: World) -> None:
    world.create(ended_retention_ms=1_000)
    for n in range(30):
        [job_id] = world.enqueue("q", 1, unique=f"u{n}")
        if n % 3 == 0:
            world.cancel(job_id)
        elif n % 3 == 1:
            world.ack(world.reserve_one())
        else:
            world.fail(world.reserve_one(), dead=True)
    assert world.store.count(UNIQUE) == 0


@pytest.mark.parametrize("name", ["", "x" * 201, "é" * 101, 7, b"u"])
def test_impossible_names_are_refused(world: World, name: object) -> None:
    with pytest.raises(BadRequest):
        world.enqueue("q", 1, unique=name)


@pytest.mark.parametrize("name", ["x", "x" * 200, "é" * 100, "a/b c\n\x00"])
def test_every_text_of_1_to_200_bytes_is_a_name(world: World, name: str) -> None:
    [job_id] = world.enqueue("q", 1, unique=name)
    assert held(world, name) == (job_id, True)
    assert world.get(job_id)["unique"] == name
