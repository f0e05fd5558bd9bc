"""Queues: create, configure, list, pause."""

from __future__ import annotations

from typing import Any

import pytest

from tenure_protocol.errors import BadRequest, QueueExists, QueueNotFound
from tests.support.world import HOUR_MS, World

DEFAULTS = {
    "lease_ms": 30_000,
    "max_attempts": 5,
    "retry": ["exponential", 1_000, 4.0, 3_600_000, 0.2],
    "priority": 128,
    "max_jobs": 0,
    "max_bytes": 0,
    "retention_ms": 0,
    "ended_retention_ms": 86_400_000,
    "dead_retention_ms": 0,
    "dlq": True,
    "poison_after": 3,
    "durability": "disk",
    "paused": False,
}


def test_a_queue_is_created_with_the_defaults_and_what_is_given(world: World) -> None:
    info = world.create("q", lease_ms=5_000, max_jobs=7)
    assert info["settings"] == {**DEFAULTS, "lease_ms": 5_000, "max_jobs": 7}
    assert info["created_at_ms"] == world.wall_ms
    world.crash()
    assert world.queue()["settings"] == info["settings"]
    assert world.queue()["created_at_ms"] == info["created_at_ms"]


def test_an_unknown_queue_comes_with_its_first_job(world: World) -> None:
    world.enqueue("new.queue:1", 1)
    assert world.queue("new.queue:1")["settings"] == DEFAULTS


def test_an_unknown_queue_is_refused_when_the_broker_says_so() -> None:
    world = World(auto_create_queues=False)
    with pytest.raises(QueueNotFound):
        world.enqueue("q", 1)
    world.create("q")
    world.enqueue("q", 1)


def test_the_brokers_defaults_are_those_of_new_queues() -> None:
    world = World(queue_defaults={"lease_ms": 9_000, "max_attempts": 2})
    world.enqueue("a", 1)
    assert world.queue("a")["settings"]["lease_ms"] == 9_000
    assert world.create("b", max_attempts=3)["settings"] == {
        **DEFAULTS,
        "lease_ms": 9_000,
        "max_attempts": 3,
    }


def test_creating_twice_with_equal_settings_is_no_error_and_with_others_it_is(
    world: World,
) -> None:
    first = world.create("q", lease_ms=5_000)
    assert world.create("q", lease_ms=5_000)["created_at_ms"] == first["created_at_ms"]
    with pytest.raises(QueueExists):
        world.create("q", lease_ms=6_000)
    assert world.queue()["settings"]["lease_ms"] == 5_000


def test_configure_changes_only_what_is_given(world: World) -> None:
    world.create("q", lease_ms=5_000)
    args = {"queue": "q", "settings": {"max_attempts": 9, "priority": 3}}
    info = world.call("queue.configure", args)
    expected = {**DEFAULTS, "lease_ms": 5_000, "max_attempts": 9, "priority": 3}
    assert info["settings"] == expected
    world.crash()
    assert world.queue()["settings"] == expected


def test_configured_defaults_apply_to_jobs_that_are_waiting(world: World) -> None:
    world.enqueue("q", 1)
    settings = {"lease_ms": 7_000, "max_attempts": 2}
    world.call("queue.configure", {"queue": "q", "settings": settings})
    job = world.reserve_one()
    assert (job.lease_ms, job.max_attempts) == (7_000, 2)


def test_the_queues_priority_is_that_of_jobs_that_name_none(world: World) -> None:
    world.create(priority=3)
    [job_id] = world.enqueue("q", 1)
    assert world.get(job_id)["priority"] == 3


def test_durability_cannot_change(world: World) -> None:
    world.create("q")
    with pytest.raises(BadRequest):
        world.call("queue.configure", {"queue": "q", "settings": {"durability": "memory"}})
    args = {"queue": "q", "settings": {"durability": "disk", "max_jobs": 1}}
    assert world.call("queue.configure", args)["settings"]["max_jobs"] == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"lease_ms": 99},
        {"lease_ms": 12 * HOUR_MS + 1},
        {"lease_ms": "30s"},
        {"max_attempts": 0},
        {"max_attempts": 1001},
        {"priority": 256},
        {"priority": -1},
        {"max_jobs": -1},
        {"max_bytes": -1},
        {"retention_ms": -1},
        {"ended_retention_ms": 2**60},
        {"dead_retention_ms": 1.5},
        {"dlq": 1},
        {"poison_after": -1},
        {"durability": "paper"},
        {"paused": "no"},
        {"retry": ["fixed"]},
        {"no_such_setting": 1},
        {"lease_ms": True},
    ],
)
@pytest.mark.parametrize("op", ["queue.create", "queue.configure"])
def test_impossible_settings_are_refused_by_name(
    world: World, op: str, settings: dict[str, Any]
) -> None:
    world.create("q")
    name = "new" if op == "queue.create" else "q"
    with pytest.raises(BadRequest) as refused:
        world.call(op, {"queue": name, "settings": settings})
    [key] = settings
    assert str(key) in refused.value.message
    assert world.queue()["settings"] == DEFAULTS
    assert len(world.call("queue.list", {})["queues"]) == 1


@pytest.mark.parametrize("name", ["", "Q", "a b", "../x", "-a", "a" * 129, "é", 7, None, b"q"])
@pytest.mark.parametrize("op", ["queue.create", "enqueue", "reserve"])
def test_impossible_names_are_refused(world: World, op: str, name: object) -> None:
    args: Any = {"queue": name, "settings": {}, "state": "ready", "limit": 1}
    if op == "enqueue":
        args = [name, [b"\x94\xa1t\xc4\x00\xc0\x00"]]
    elif op == "reserve":
        args = [[name], 1, 0]
    with pytest.raises(BadRequest):
        world.call(op, args)


def test_queues_are_listed_by_name_page_by_page(world: World) -> None:
    names = [f"a{n:02}" for n in range(15)] + [f"b{n:02}" for n in range(10)]
    for name in reversed(names):
        world.create(name)
    for limit in (1, 7, 100):
        listed = world.pages("queue.list", {}, limit=limit, key="queues")
        assert [info["name"] for info in listed] == names
    listed = world.pages("queue.list", {"prefix": "b"}, limit=4, key="queues")
    assert [info["name"] for info in listed] == names[15:]


@pytest.mark.parametrize(
    "op",
    ["queue.get", "queue.configure", "queue.pause", "queue.resume", "queue.purge", "queue.delete",
     "dlq.list", "dlq.groups"],
)  # fmt: skip
def test_a_queue_that_is_not_there_is_said_to_be_missing(world: World, op: str) -> None:
    with pytest.raises(QueueNotFound):
        world.call(op, {"queue": "nowhere", "settings": {}, "force": True})


def test_a_paused_queue_gives_out_nothing_and_takes_jobs_and_settlements(world: World) -> None:
    world.enqueue("q", 2)
    job = world.reserve_one()
    assert world.call("queue.pause", {"queue": "q"})["settings"]["paused"] is True
    world.enqueue("q", 1)
    assert world.reserve("q", 10) == []
    world.ack(job)
    world.crash()
    assert world.reserve("q", 10) == []
    assert world.call("queue.resume", {"queue": "q"})["settings"]["paused"] is False
    assert len(world.reserve("q", 10)) == 2


def test_pausing_one_queue_does_not_pause_the_next_of_a_reserve(world: World) -> None:
    world.enqueue("a", 1)
    world.enqueue("b", 1)
    world.call("queue.pause", {"queue": "a"})
    assert [job.queue for job in world.reserve(["a", "b"], 10)] == ["b"]
