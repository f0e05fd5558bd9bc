"""What must be on the disk at a moment, told from the marks of the clients alone.

A client does one thing after another, on a queue of its own. What is confirmed must hold; of
the one thing that is under way either state will do; what ended in an error that leaves it
open stays open. So each job has a small set of states that it may be in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

GONE = "gone"
ANY_ATTEMPT = -1


class State(NamedTuple):
    """A job's state, and for a leased one its attempt."""

    name: str
    attempt: int = ANY_ATTEMPT


Found = dict[str, State]
"""What a store holds: job's key -> its state."""

NOWHERE = frozenset({State(GONE)})


def payload_of(key: str, size: int) -> bytes:
    """The payload of a job: tells its key, and shows every byte that was changed."""
    head = f"{key}|{size}|".encode()
    digest = hashlib.sha256(head).digest()
    return head + (digest * (size // len(digest) + 1))[:size]


def key_of(payload: bytes) -> str:
    """The key of a job with this payload; "changed ..." if the payload is not as it was sent."""
    key, _, rest = payload.partition(b"|")
    size, _, _ = rest.partition(b"|")
    name = key.decode(errors="replace")
    if size.isdigit() and payload == payload_of(name, int(size)):
        return name
    return "changed " + payload[:40].hex()


@dataclass(slots=True)
class Promises:
    """The states that jobs may be in; fed with marks in their order."""

    allowed: dict[str, frozenset[State]] = field(default_factory=dict)
    whole: dict[int, list[str]] = field(default_factory=dict)
    """Enqueues that are under way or unknown: all of their jobs are there, or none."""
    backups: dict[str, dict[str, frozenset[State]]] = field(default_factory=dict)
    """Confirmed backups, and what each must hold."""
    restored: dict[str, frozenset[State]] | None = None
    """What the confirmed restored directory must hold."""
    _before: dict[int, dict[str, frozenset[State]]] = field(default_factory=dict)

    def feed(self, mark: dict[str, Any]) -> bool:
        """Takes a mark in; whether it promises more than was promised before."""
        number = mark["id"]
        if mark["phase"] == "begin":
            self._begin(number, mark)
            return False
        if "backup" in mark:
            self.backups[mark["backup"]] = dict(self.allowed)
        elif "restored" in mark:
            self.restored = self.backups[mark["restored"]]
        elif mark["outcome"] == "unknown":
            return False
        else:
            self._end(number, mark["effects"] if mark["outcome"] == "done" else {})
        return True

    def _begin(self, number: int, mark: dict[str, Any]) -> None:
        may: dict[str, State] = {key: State(*state) for key, state in mark["effects"].items()}
        if mark["op"] == "reserve":
            may = {
                key: State("leased")
                for key, states in self.allowed.items()
                if key.startswith(mark["queue"] + "-") and State("ready") in states
            }
        if mark["op"] == "enqueue":
            self.whole[number] = list(may)
        self._before[number] = {key: self.allowed.get(key, NOWHERE) for key in may}
        for key, state in may.items():
            self.allowed[key] = self.allowed.get(key, NOWHERE) | {state}

    def _end(self, number: int, effects: dict[str, list[Any]]) -> None:
        self.allowed.update(self._before.pop(number))
        self.whole.pop(number, None)
        for key, state in effects.items():
            self.allowed[key] = frozenset({State(*state)})


def broken(
    found: Found,
    allowed: dict[str, frozenset[State]],
    whole: Iterable[list[str]] = (),
) -> list[str]:
    """The promises that a store with these jobs breaks; empty if none."""
    wrong = []
    for key, state in found.items():
        states = allowed.get(key)
        if states is None:
            wrong.append(f"from nowhere: {key} is {_told(state)}")
        elif not any(_fits(state, each) for each in states):
            wanted = " or ".join(sorted(map(_told, states)))
            wrong.append(f"undone or never asked: {key} is {_told(state)} and may be {wanted}")
    for key, states in allowed.items():
        if key not in found and State(GONE) not in states:
            wanted = " or ".join(sorted(map(_told, states)))
            wrong.append(f"lost: {key} is not there and must be {wanted}")
    for keys in whole:
        there = sum(key in found for key in keys)
        if there not in (0, len(keys)):
            wrong.append(f"half: {there} of the {len(keys)} jobs of one request are there")
    return wrong


def _fits(state: State, allowed: State) -> bool:
    return (state.name == allowed.name and ANY_ATTEMPT in (allowed.attempt, state.attempt)) or (
        state == allowed
    )


def _told(state: State) -> str:
    return state.name if state.attempt == ANY_ATTEMPT else f"{state.name} (attempt {state.attempt})"
