"""A broker with a fault, to see that the soak finds it: `planted.py FAULT PYTHON -m tenure_server ...`.

leak     the broker keeps what every request brought
lose     now and then a job is confirmed and not stored
early    delayed jobs come after half of their time
undo     now and then an ack is confirmed, and the job comes again
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from typing import Any

from tenure_server.engine.core import Core
from tenure_server.engine.engine import OPERATIONS, Operation
from tenure_server.engine.types import Session
from tenure_server.main import main as serve
from tenure_storage.store import JOBS

EVERY = 50
LEAK_BYTES = 4_096


def leak(enqueue: Operation) -> Operation:
    """Keeps 4 KiB for every request."""
    kept: list[bytes] = []

    def faulty(core: Core, session: Session, request_id: int, args: object) -> object:
        kept.append(os.urandom(LEAK_BYTES))
        return enqueue(core, session, request_id, args)

    return faulty


def lose(enqueue: Operation) -> Operation:
    """Takes a job that is to be confirmed out of its batch again."""
    numbers = itertools.count(1)

    def faulty(core: Core, session: Session, request_id: int, args: object) -> object:
        before = set(core.disk.open.tables[JOBS])
        result = enqueue(core, session, request_id, args)
        new = [key for key in core.disk.open.tables[JOBS] if key not in before]
        if new and next(numbers) % EVERY == 0:
            core.disk.open.tables[JOBS][new[0]] = None
        return result

    return faulty


def early(enqueue: Operation) -> Operation:
    """Halves every delay."""

    def faulty(core: Core, session: Session, request_id: int, args: Any) -> object:
        for job in args[1]:
            if isinstance(job, list) and job[1] and job[1].get("delay_ms"):
                job[1]["delay_ms"] //= 2
        return enqueue(core, session, request_id, args)

    return faulty


def undo(ack: Operation) -> Operation:
    """Releases a job instead."""
    numbers = itertools.count(1)
    release = OPERATIONS["release"]

    def faulty(core: Core, session: Session, request_id: int, args: Any) -> object:
        if next(numbers) % EVERY:
            return ack(core, session, request_id, args)
        return release(core, session, request_id, [[item[:2] for item in args[0]]])

    return faulty


FAULTS: dict[str, tuple[str, Callable[[Operation], Operation]]] = {
    "leak": ("enqueue", leak),
    "lose": ("enqueue", lose),
    "early": ("enqueue", early),
    "undo": ("ack", undo),
}
"""Name -> the operation it spoils, and how."""


def main() -> None:
    """Plants the fault, and serves."""
    fault, *_python_and_module = sys.argv[1:5]
    operation, spoil = FAULTS[fault]
    OPERATIONS[operation] = spoil(OPERATIONS[operation])
    sys.argv = ["tenure_server", *sys.argv[5:]]
    sys.exit(serve())


if __name__ == "__main__":
    main()
