"""Garbage in every operation: answered with an error, never raised, and harms nothing."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tenure_protocol.errors import CODES, BrokerError
from tenure_protocol.wire import pack
from tests.support.wire_jobs import body
from tests.support.world import World

B = body()
J = bytes(16)

GARBAGE: list[Any] = [
    None, True, -1, 0, 2**63, 2**64 - 1, 1.5, float("nan"), float("inf"), "", "q", "x" * 10_000,
    b"", b"\xff" * 16, [], [[]], [None], {}, {"queue": []}, {"": 0}, [[[[[]]]]], [0] * 300,
]  # fmt: skip

VALID: dict[str, Any] = {
    "enqueue": ["q", [B, [B, {"priority": 3}]], bytes(16), 1, {"delay_ms": 5}],
    "reserve": [["q"], 1, 0, 1_000, False],
    "ack": [[[J, 1, b"r"]]],
    "fail": [[[J, 1, {"error_type": "E", "message": "m", "traceback": "t", "retry_in_ms": 5}]]],
    "release": [[[J, 1, 5]]],
    "extend": [[[J, 1, 5_000]]],
    "get": [J],
    "cancel": [[J]],
    "wait": [J, 0],
    "peek": {"queue": "q", "state": "ready", "limit": 5, "cursor": None, "bodies": True},
    "queue.create": {"queue": "fresh", "settings": {"lease_ms": 1_000}},
    "queue.configure": {"queue": "q", "settings": {"lease_ms": 1_000}},
    "queue.list": {"prefix": "q", "limit": 5, "cursor": None},
    "queue.get": {"queue": "q"},
    "queue.pause": {"queue": "q"},
    "queue.resume": {"queue": "q"},
    "queue.purge": {"queue": "other"},
    "queue.delete": {"queue": "other", "force": True},
    "dlq.list": {"queue": "q", "limit": 5, "cursor": None, "error_type": "E", "task": "t",
                 "older_than_ms": 1, "newer_than_ms": 1, "bodies": False},
    "dlq.groups": {"queue": "q"},
    "dlq.replay": {"queue": "q", "filter": {"task": "x*"}, "limit": 5, "rate": 2.0},
    "dlq.purge": {"queue": "q", "ids": [J]},
    "chore.get": {"chore": 1},
    "chore.list": {},
    "chore.cancel": {"chore": 1},
    "goodbye": [[[J, 1]]],
}  # fmt: skip


@pytest.fixture
def busy(world: World) -> World:
    world.create("other")
    world.enqueue("q", 2)
    world.reserve_one(who="holder")
    return world


def code_of(world: World, op: str, args: Any) -> str:
    """The code of the refusal, or "OK". Anything but an answer fails the test."""
    error = world.refusal(op, args)
    if error is None:
        return "OK"
    assert error.code in CODES, error
    assert error.message
    return error.code


def assert_unharmed(world: World) -> None:
    """The broker still does its work, and nothing in it is bent."""
    [job_id] = world.enqueue("sound", 1)
    job = world.reserve_one("sound")
    assert job.id == job_id
    world.ack(job)
    world.pass_time(1)
    world.crash()
    assert world.state(job_id) == "gone"


@pytest.mark.parametrize("op", VALID)
def test_valid_arguments_are_understood(busy: World, op: str) -> None:
    assert code_of(busy, op, VALID[op]) in ("OK", "JOB_NOT_FOUND", "CHORE_NOT_FOUND")


@pytest.mark.parametrize("op", VALID)
def test_garbage_instead_of_the_arguments_is_answered(busy: World, op: str) -> None:
    for garbage in GARBAGE:
        assert code_of(busy, op, garbage) != "INTERNAL", garbage
    assert_unharmed(busy)


@pytest.mark.parametrize("op", VALID)
def test_garbage_in_the_place_of_each_argument_is_answered(busy: World, op: str) -> None:
    valid = VALID[op]
    places: list[Any] = list(valid) if isinstance(valid, dict) else list(range(len(valid)))
    for place in places:
        for garbage in GARBAGE:
            args = valid.copy()
            args[place] = garbage
            assert code_of(busy, op, args) != "INTERNAL", (place, garbage)
    assert_unharmed(busy)


def mutated(rng: random.Random, value: Any) -> Any:
    """`value` with one part, at any depth, replaced by garbage."""
    if isinstance(value, (list, dict)) and value and rng.random() < 0.85:
        if isinstance(value, dict):
            key = rng.choice(sorted(value, key=repr))
            return {**value, key: mutated(rng, value[key])}
        at = rng.randrange(len(value))
        return [*value[:at], mutated(rng, value[at]), *value[at + 1 :]]
    return rng.choice(GARBAGE)


@pytest.mark.parametrize("op", VALID)
def test_garbage_deep_inside_is_answered(busy: World, op: str) -> None:
    rng = random.Random(op)
    for _ in range(150):
        args = mutated(rng, VALID[op])
        assert code_of(busy, op, args) != "INTERNAL", args
    assert_unharmed(busy)


@pytest.mark.parametrize("op", ["ack", "fail", "release", "extend", "cancel"])
@pytest.mark.parametrize(
    "args", [None, [], [[]], [None], ["x"], [[[]]], [[7]], [[[J]]], [[[J, "1"]]]]
)
def test_settlements_of_nothing_are_bad_requests(busy: World, op: str, args: Any) -> None:
    error = busy.refusal(op, args)
    if error is not None:
        assert error.code == "BAD_REQUEST"
        return
    outcomes = busy.call(op, args)
    assert all(outcome[:2] == [1, "BAD_REQUEST"] for outcome in outcomes)


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("enqueue", ["q", [b"not a body"]]),
        ("enqueue", ["q", [[B, {"priority": 256}]]]),
        ("enqueue", ["q", [[B, {"max_attempts": 0}]]]),
        ("enqueue", ["q", [[B, {"max_attempts": 1001}]]]),
        ("enqueue", ["q", [[B, {"expires_in_ms": 0}]]]),
        ("enqueue", ["q", [[B, {"expires_in_ms": 5, "expires_at_ms": 5}]]]),
        ("enqueue", ["q", [[B, {"retention_ms": -1}]]]),
        ("enqueue", ["q", [[]]]),
        ("enqueue", ["q", [B], b"short", 1]),
        ("enqueue", ["q", [B], bytes(16), -1]),
        ("enqueue", ["q", [B], bytes(16), None]),
        ("enqueue", ["q", []]),
        ("reserve", [[], 1, 0]),
        ("reserve", [["q"] * 257, 1, 0]),
        ("reserve", [["q"], 0, 0]),
        ("reserve", [["q"], 10_001, 0]),
        ("reserve", [["q"], 1, -1]),
        ("reserve", [["q"], 1, 3_600_001]),
        ("reserve", [[["q", 0]], 1, 0]),
        ("reserve", [[["q", 1001]], 1, 0]),
        ("reserve", [["q", ["p", 1]], 1, 0]),
        ("wait", [J, 3_600_001]),
        ("wait", [J, -1]),
        ("get", [b"short"]),
        ("dlq.list", {"queue": "q", "limit": 1001}),
        ("dlq.replay", {"queue": "q", "filter": {}, "rate": 0}),
        ("dlq.replay", {"queue": "q", "filter": {}, "limit": 0}),
    ],
)  # fmt: skip
def test_values_one_past_what_is_allowed_are_bad_requests(busy: World, op: str, args: Any) -> None:
    assert code_of(busy, op, args) == "BAD_REQUEST"
    assert_unharmed(busy)


def test_the_index_of_a_bad_job_is_told_and_none_is_stored(busy: World) -> None:
    busy.create("empty")
    with pytest.raises(BrokerError) as refused:
        busy.call("enqueue", ["empty", [B, B, [B, {"priority": -1}], B]])
    assert refused.value.details["index"] == 2
    assert busy.counts("empty") == {}


def test_an_unknown_operation_is_refused_by_name(busy: World) -> None:
    for op in ("", "explode", "Enqueue", "queue.explode", "__init__", "x" * 1_000):
        with pytest.raises(BrokerError) as refused:
            busy.call(op, [])
        assert refused.value.code == "UNKNOWN_OPERATION"
        assert refused.value.message.isprintable()


def test_unknown_fields_are_ignored(busy: World) -> None:
    args = ["empty", [[B, {"from_the_future": 1}]], None, None, {"so": "is this"}, "extra", 7]
    busy.call("enqueue", args)
    busy.call("peek", {"queue": "empty", "state": "ready", "limit": 1, "colour": "red"})
    [job] = busy.call("reserve", [["empty"], 1, 0, None, None, "extra"])
    assert busy.call("ack", [[[job[0], job[1]]], "extra"]) == [0]
    fail = {"error_type": "E", "mood": "bad"}
    assert busy.call("fail", [[[job[0], 9, fail]]])[0][0] == 1


def test_texts_that_are_too_long_are_cut_and_not_refused(busy: World) -> None:
    job = busy.reserve_one()
    busy.fail(job, error_type="E" * 10_000, message="m" * 100_000, traceback="t" * 99_999 + "END")
    row = busy.get(job.id)["history"][0]
    assert (len(row[5]), len(row[6]), len(row[7])) == (256, 4 * 1024, 16 * 1024)
    assert row[7].endswith("END")


@pytest.mark.parametrize("end", [b"\xc0\x80", b"\xc1\x01", b"\x01"])
def test_a_wrong_body_behind_others_like_it_is_refused_with_its_place(
    world: World, end: bytes
) -> None:
    right = pack(["t", b"x" * 20, None, 1])
    error = world.refusal("enqueue", ["q", [right, right, right[:-2] + end, right]])
    assert error is not None
    assert error.code == "BAD_REQUEST"
    assert error.details["index"] == 2
    assert_unharmed(world)
