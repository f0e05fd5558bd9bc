"""Who is guilty when a child dies, and what is told of it. Decisions only.

A child that ran one job died of that job. A child that ran jobs one after another died of
the first one that has no result. One that ran several at a time died of any of them: each
runs again alone, and the one that kills its process again is the guilty one.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from tenure.core.failure import clean_text
from tenure.worker.pipe import HOST, Role
from tenure_protocol.limits import TRACEBACK_CHARS_MAX

J = TypeVar("J")

ERROR_TYPE = "WorkerCrashed"
"""The error type of a job whose process died."""


class Verdict(NamedTuple, Generic[J]):
    """What becomes of the jobs of a dead child.

    `guilty` fails as crashed, `suspects` run again alone, `unstarted` go to another child.
    """

    guilty: J | None
    suspects: Sequence[J]
    unstarted: Sequence[J]


def verdict(role: Role, jobs: Sequence[J]) -> Verdict[J]:
    """Judge the jobs that a child had when it died, in the order in which it got them."""
    if not jobs:
        return Verdict(None, (), ())
    if role == HOST and len(jobs) > 1:
        return Verdict(None, jobs, ())
    return Verdict(jobs[0], (), jobs[1:])


def how_it_ended(returncode: int) -> str:
    """An exit status for people: "killed by signal 9 (SIGKILL)", "exit status 3"."""
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        return f"killed by signal {-returncode}"
    return f"killed by signal {-returncode} ({name})"


def crash_map(returncode: int, last_lines: str) -> dict[str, Any]:
    """The map of the fail item for a job whose process ended with `returncode`."""
    return {
        "error_type": ERROR_TYPE,
        "message": how_it_ended(returncode),
        "traceback": clean_text(last_lines[-TRACEBACK_CHARS_MAX:]),
        "kind": "crashed",
    }
