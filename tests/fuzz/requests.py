"""A right request of every operation, made of what the conversation has brought to light so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tenure_protocol.wire import pack
from tests.fuzz.choices import Choices

QUEUES = ["q0", "q1", "q2", "q3", "mem", "none-such", "q:" + "z" * 126]
STATES = ["ready", "scheduled", "retrying", "leased", "dead", "succeeded", "cancelled", "expired"]
UNIQUE = ["u", "u" * 200, "\u00e9"]


@dataclass(slots=True)
class Known:
    """What a client has learned: ids, leases, cursors, chores, workers, tokens."""

    ids: list[bytes] = field(default_factory=lambda: [bytes(16)])
    leases: list[list[Any]] = field(default_factory=lambda: [[bytes(16), 1]])
    cursors: list[Any] = field(default_factory=lambda: [None])
    chores: list[int] = field(default_factory=lambda: [0])
    workers: list[str] = field(default_factory=lambda: ["fuzz", "w"])
    tokens: list[int] = field(default_factory=lambda: [0])
    sessions: list[bytes] = field(default_factory=list)
    sequence: int = 0

    def learn(self, value: Any) -> None:
        """Keeps what may be used later; the newest of each kind."""
        if isinstance(value, dict):
            for name, keep in (
                ("cursor", self.cursors), ("chore", self.chores), ("worker", self.workers),
                ("token", self.tokens), ("session", self.sessions), ("id", self.ids),
            ):  # fmt: skip
                if value.get(name) is not None:
                    keep.append(value[name])
                    del keep[:-8]
            for inner in value.values():
                self.learn(inner)
        elif isinstance(value, list):
            if len(value) >= 8 and type(value[0]) is bytes and type(value[1]) is int:
                self.leases.append(value[:2])
                del self.leases[:-12]
            for inner in value[:64]:
                if type(inner) is bytes and len(inner) == 16:
                    self.ids.append(inner)
                    del self.ids[:-12]
                self.learn(inner)


Make = Callable[[Choices, Known], Any]
"""The arguments of an operation."""


def body(choices: Choices) -> bytes:
    """A job's body."""
    headers = choices.pick([None, None, {"a": "b"}, {"n": 1.5, "b": b"x", "none": None}])
    payload = choices.pick([b"", b"x", b"\xc0" * 40, b"y" * 2_000])
    return pack([choices.pick(["t", "task", "t" * 255]), payload, headers, choices.below(256)])


def _options(choices: Choices) -> dict[str, Any] | None:
    if choices.chance(50):
        return None
    every: dict[str, Any] = {
        "priority": choices.pick([0, 64, 255]), "delay_ms": choices.pick([0, 1, 60_000]),
        "max_attempts": choices.pick([1, 2, 1_000]), "lease_ms": choices.pick([100, 5_000]),
        "retry": _retry(choices), "expires_in_ms": choices.pick([1, 50_000]),
        "unique": choices.pick(UNIQUE), "retention_ms": choices.pick([0, 1_000, 86_400_000]),
        "run_at_ms": 1_750_000_000_000, "expires_at_ms": 1_750_000_900_000,
    }  # fmt: skip
    return {name: every[name] for name in every if choices.chance(25)}


def _retry(choices: Choices) -> list[Any]:
    return choices.pick(
        [["fixed", 0, 0.0], ["exponential", 1, 2.0, 1_000, 0.5], ["steps", [0, 1, 10], 1], ["fixed", 9, 1]]
    )  # fmt: skip


def _queue(choices: Choices) -> str:
    return choices.pick(QUEUES)


def _enqueue(choices: Choices, known: Known) -> Any:
    jobs: list[Any] = []
    for _ in range(1 + choices.below(4)):
        options = _options(choices)
        jobs.append(body(choices) if options is None else [body(choices), options])
    args: list[Any] = [_queue(choices), jobs]
    if choices.chance(40):
        known.sequence += choices.pick([1, 1, 1, 0, 600])
        args += [b"p" * 16, known.sequence, _options(choices)]
    return args


def _reserve(choices: Choices, known: Known) -> Any:
    names: list[Any] = [QUEUES[at] for at in range(len(QUEUES)) if choices.chance(40)] or ["q0"]
    if choices.chance(30):
        names = [[name, 1 + choices.below(1_000)] for name in names]
    waits = choices.pick([0, 0, 1, 5_000, 3_600_000])
    return [
        names,
        1 + choices.below(9),
        waits,
        choices.pick([None, 100, 60_000]),
        choices.chance(15),
    ]


def _lease(choices: Choices, known: Known) -> list[Any]:
    return list(choices.pick(known.leases))


def _leases(more: Callable[[Choices], list[Any]]) -> Make:
    def make(choices: Choices, known: Known) -> Any:
        return [[[*_lease(choices, known), *more(choices)] for _ in range(1 + choices.below(4))]]

    return make


def _failure(choices: Choices) -> list[Any]:
    every: dict[str, Any] = {
        "error_type": "E" * 300, "message": "m" * 5_000, "traceback": "t" * 20_000,
        "retry_in_ms": choices.pick([0, 1, 1_000_000]), "dead": choices.chance(60),
        "kind": choices.pick(["failed", "timeout", "crashed"]),
    }  # fmt: skip
    return [{name: every[name] for name in every if choices.chance(40)}]


def _notes(choices: Choices) -> list[Any]:
    every: dict[str, Any] = {
        "checkpoint": b"c" * choices.pick([0, 1, 9_000]), "progress": [1, choices.pick([None, 2.5]), "doing"],
        "log": ["line"] * choices.below(30),
    }  # fmt: skip
    return [{name: every[name] for name in every if choices.chance(50)}]


def _kept(choices: Choices, known: Known) -> Any:
    return [
        None if choices.chance(30) else [_lease(choices, known) for _ in range(choices.below(3))]
    ]


def _settings(choices: Choices) -> dict[str, Any]:
    every: dict[str, Any] = {
        "lease_ms": 100, "max_attempts": choices.pick([1, 3]), "retry": _retry(choices), "priority": 3,
        "max_jobs": choices.pick([0, 2, 50]), "max_bytes": choices.pick([0, 4_000]), "retention_ms": 5_000,
        "ended_retention_ms": choices.pick([0, 1_000]), "dead_retention_ms": choices.pick([0, 90_000]),
        "dlq": choices.chance(50), "poison_after": choices.pick([0, 1]), "durability": choices.pick(["disk", "memory"]),
        "paused": choices.chance(20),
    }  # fmt: skip
    return {name: every[name] for name in every if choices.chance(25)}


def _named_queue(choices: Choices, known: Known) -> Any:
    return {"queue": _queue(choices)}


def _configured(choices: Choices, known: Known) -> Any:
    return {"queue": _queue(choices), "settings": _settings(choices)}


def _page(choices: Choices, known: Known) -> dict[str, Any]:
    return {
        "queue": _queue(choices), "limit": choices.pick([None, 1, 2, 1_000]),
        "cursor": choices.pick(known.cursors), "bodies": choices.chance(50),
    }  # fmt: skip


def _filter(choices: Choices) -> dict[str, Any]:
    every: dict[str, Any] = {
        "error_type": "E*",
        "task": "t",
        "older_than_ms": 0,
        "newer_than_ms": 10**9,
    }
    return {name: every[name] for name in every if choices.chance(25)}


def _dead(choices: Choices, known: Known) -> Any:
    if choices.chance(50):
        return {"queue": _queue(choices), "ids": [choices.pick(known.ids)]}
    return {
        "queue": _queue(choices), "filter": _filter(choices), "limit": choices.pick([None, 1, 50]),
        "rate": choices.pick([None, 0.5, 1000.0]),
    }  # fmt: skip


def _told(choices: Choices, known: Known) -> Any:
    return {
        "name": choices.pick(["w", "w", "x" * 128]), "host": "h", "pid": 1, "queues": ["q0"], "state": "busy",
        "jobs": [[choices.pick(known.ids), 1, "t", "q0", 1, "p"]] * choices.below(20), "pools": [{"a": 1}],
    }  # fmt: skip


def _worker(choices: Choices, known: Known) -> dict[str, Any]:
    return {"worker": choices.pick(known.workers), "do": choices.pick(["quiet", "resume", "stop"])}


REQUESTS: dict[str, Make] = {
    "hello": lambda choices, known: hello(choices, known),
    "ping": lambda choices, known: [],
    "enqueue": _enqueue,
    "reserve": _reserve,
    "ack": _leases(lambda choices: choices.pick([[], [None], [b"result"], [b"r" * 4_000]])),
    "fail": _leases(_failure),
    "release": _leases(lambda choices: choices.pick([[], [0], [None, "why"], [9_000, "w" * 5_000]])),
    "extend": _leases(lambda choices: choices.pick([[], [None], [100], [43_200_000]])),
    "note": _leases(_notes),
    "keep": _kept,
    "goodbye": _kept,
    "get": lambda choices, known: [choices.pick(known.ids)],
    "wait": lambda choices, known: [choices.pick(known.ids), choices.pick([0, 1, 60_000, 3_600_000])],
    "cancel": lambda choices, known: [[choices.pick(known.ids) for _ in range(1 + choices.below(3))]],
    "peek": lambda choices, known: {**_page(choices, known), "state": choices.pick(STATES)},
    "queue.create": _configured,
    "queue.configure": _configured,
    "queue.list": lambda choices, known: {"prefix": choices.pick([None, "q"]), "limit": choices.pick([1, 9])},
    "queue.get": _named_queue,
    "queue.pause": _named_queue,
    "queue.resume": _named_queue,
    "queue.purge": _named_queue,
    "queue.delete": lambda choices, known: {"queue": _queue(choices), "force": choices.chance(60)},
    "dlq.list": lambda choices, known: {**_page(choices, known), **_filter(choices)},
    "dlq.groups": _named_queue,
    "dlq.replay": _dead,
    "dlq.purge": _dead,
    "chore.get": lambda choices, known: {"chore": choices.pick(known.chores)},
    "chore.list": lambda choices, known: {},
    "chore.cancel": lambda choices, known: {"chore": choices.pick(known.chores)},
    "stats": lambda choices, known: {},
    "drain": lambda choices, known: {"off": choices.chance(80)},
    "backup.create": lambda choices, known: {"name": choices.pick([None, "b", "../b"])},
    "worker.register": _told,
    "worker.beat": _told,
    "worker.report": lambda choices, known: {"token": choices.pick(known.tokens), "text": "stack" * 100},
    "worker.list": lambda choices, known: {},
    "worker.get": _worker,
    "worker.tell": _worker,
    "worker.stacks": lambda choices, known: {**_worker(choices, known), "timeout_ms": choices.pick([None, 0, 1, 9_000])},
}  # fmt: skip
"""By the name on the wire: every operation that the broker has."""

OFTEN = ["enqueue", "enqueue", "reserve", "reserve", "ack", "fail", "release", "note", "get"]
"""What most conversations are about, so that there is something for the others to meet."""


def hello(choices: Choices, known: Known) -> dict[str, Any]:
    """The arguments of a hello."""
    resumed = choices.pick(known.sessions) if known.sessions and choices.chance(30) else None
    return {
        "protocol": [1, 1],
        "client": choices.pick(["fuzz", "\U0001f600" * 128]),
        "session": resumed,
    }


def request(choices: Choices, known: Known) -> tuple[str, Any]:
    """An operation and its arguments, as a right client would send them."""
    op = choices.pick(OFTEN) if choices.chance(50) else choices.pick(sorted(REQUESTS))
    return op, REQUESTS[op](choices, known)
