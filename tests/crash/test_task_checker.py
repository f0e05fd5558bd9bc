"""The checker of killed workers finds what is planted, and nothing in a clean tale."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crash.task_checker import Line, check_tasks


def line(t: float, event: str, **fields: Any) -> Line:
    return {"t": t, "event": event, **fields}


def ran(
    t: float, key: str, job: str, attempt: int, worker: str = "w1", pid: int = 1, *, done: bool = True
) -> list[Line]:  # fmt: skip
    told = {"id": job, "attempt": attempt, "key": key, "worker": worker, "pid": pid}
    return [line(t, "begun", **told), *([line(t + 0.1, "done", **told)] if done else [])]


def final(job: str, attempt: int, *lost: tuple[int, str], state: str = "succeeded", outcome: str = "lost",
          **counts: int) -> list[Line]:  # fmt: skip
    history = [{"attempt": n, "worker": worker, "outcome": outcome} for n, worker in lost]
    history.append({"attempt": attempt, "worker": "w?", "outcome": state})
    counted = {"failures": 0, "timeouts": 0, "lost": len(lost), "released": 0, **counts}
    return [line(90.0, "final", id=job, state=state, attempt=attempt, history=history, **counted)]


def tale(*parts: list[Line]) -> list[Line]:
    begin = [
        line(0.0, "enqueue", jobs={"p-1": "", "p-2": "", "p-3": ""}),
        line(0.1, "enqueued", jobs={"p-1": "A", "p-2": "B"}),
        line(0.2, "enqueue", jobs={"p-4": ""}),
        line(0.3, "enqueue refused", jobs=["p-4"]),
    ]
    lines = begin + [entry for part in parts for entry in part]
    return sorted(lines, key=lambda entry: entry["t"])


KILLED = [line(5.0, "worker killed", worker="w1")]
CHILD_KILLED = [line(5.0, "child killed", worker="w1")]
STOPPED = [line(5.0, "worker stopped", worker="w1"), line(9.0, "worker goes on", worker="w1")]
CLEAN_A = [*ran(1.0, "p-1", "A", 1), *final("A", 1)]
CLEAN_B = [*ran(2.0, "p-2", "B", 1), *final("B", 1)]
HALF_B = ran(4.9, "p-2", "B", 1, done=False)
AGAIN_B = ran(8.0, "p-2", "B", 2, "w2")


@pytest.mark.parametrize(
    "lines",
    [
        tale(CLEAN_A, CLEAN_B),
        # What nobody knows may have been taken.
        tale(CLEAN_A, CLEAN_B, ran(3.0, "p-3", "C", 1), final("C", 1)),
        # Its worker was killed; with the job done, or before it began.
        tale(CLEAN_A, HALF_B, KILLED, AGAIN_B, final("B", 2, (1, "w1"))),
        tale(CLEAN_A, ran(4.0, "p-2", "B", 1), KILLED, AGAIN_B, final("B", 2, (1, "w1"))),
        tale(CLEAN_A, KILLED, AGAIN_B, final("B", 2, (1, "w1"))),
        # A child died: alone again under the same attempt, or guilty and tried again.
        tale(CLEAN_A, HALF_B, CHILD_KILLED, ran(6.0, "p-2", "B", 1, pid=2), final("B", 1)),
        tale(CLEAN_A, HALF_B, CHILD_KILLED, AGAIN_B, final("B", 2, (1, "w1"), outcome="crashed")),
        # A worker that stood still does what it had, and begins what it had not read.
        tale(CLEAN_A, HALF_B, STOPPED, AGAIN_B, final("B", 2, (1, "w1"))),
        tale(CLEAN_A, ran(9.1, "p-2", "B", 1), STOPPED, AGAIN_B, final("B", 2, (1, "w1"))),
        # Deliveries that a killed broker had begun use a number, and nothing else.
        tale(CLEAN_A, ran(4.0, "p-2", "B", 3), final("B", 3)),
    ],
)
def test_a_clean_tale_has_no_violation(lines: list[Line]) -> None:
    assert check_tasks(lines).violations == []


@pytest.mark.parametrize(
    ("lines", "promise"),
    [
        (tale(CLEAN_A), "nothing lost"),
        (tale(CLEAN_A, ran(2.0, "p-2", "B", 1), final("B", 1, state="dead")), "nothing lost"),
        (tale(CLEAN_A, ran(2.0, "p-2", "B", 1), final("B", 1, state="ready")), "nothing lost"),
        (tale(CLEAN_A, final("B", 1)), "nothing from nowhere"),
        (tale(CLEAN_A, HALF_B, final("B", 1)), "nothing from nowhere"),
        (tale(CLEAN_A, CLEAN_B, ran(3.0, "p-9", "C", 1), final("C", 1)), "nothing from nowhere"),
        (tale(CLEAN_A, CLEAN_B, ran(3.0, "p-4", "C", 1), final("C", 1)), "nothing from nowhere"),
        (tale(CLEAN_A, CLEAN_B, ran(3.0, "p-1", "C", 1), final("C", 1)), "no doubles"),
        # Nobody was killed.
        (tale(CLEAN_A, CLEAN_B, AGAIN_B, final("B", 2)), "only where allowed"),
        # Somebody was, but not the one that had it, or only later.
        (tale(CLEAN_A, ran(2.0, "p-2", "B", 1, "w3"), KILLED, AGAIN_B, final("B", 2)), "only where allowed"),
        (tale(CLEAN_A, HALF_B, KILLED, ran(4.95, "p-2", "B", 2, "w2"), final("B", 2, (1, "w1"))),
         "only where allowed"),
        # The same attempt in two workers, or twice in a process.
        (tale(CLEAN_A, HALF_B, CHILD_KILLED, ran(6.0, "p-2", "B", 1, "w2"), final("B", 1)), "exclusive"),
        (tale(CLEAN_A, HALF_B, ran(6.0, "p-2", "B", 1, pid=2), final("B", 1)), "only where allowed"),
        # It ran after it had succeeded.
        (tale(CLEAN_A, ran(4.0, "p-2", "B", 1), KILLED, AGAIN_B, final("B", 1)),
         "no confirmed ack comes back"),
        # An attempt was used up by nobody's death.
        (tale(CLEAN_A, AGAIN_B, final("B", 2, (1, "w1"))), "honest attempts"),
        (tale(CLEAN_A, KILLED, AGAIN_B, final("B", 2, (1, "w1"), outcome="crashed")), "honest attempts"),
        (tale(CLEAN_A, ran(2.0, "p-2", "B", 1), final("B", 1, failures=1)), "honest attempts"),
        (tale(CLEAN_A, KILLED, AGAIN_B, final("B", 2, (1, "w1"), lost=3)), "honest attempts"),
    ],
)  # fmt: skip
def test_a_planted_violation_is_found(lines: list[Line], promise: str) -> None:
    assert promise in [violation.split(":")[0] for violation in check_tasks(lines).violations]


def test_what_was_killed_and_done_is_counted() -> None:
    counts = check_tasks(
        tale(CLEAN_A, ran(4.0, "p-2", "B", 1), KILLED, AGAIN_B, final("B", 2, (1, "w1")))
    ).counts
    assert (counts["confirmed"], counts["done"], counts["deliveries"]) == (2, 2, 3)
    assert (counts["redeliveries"], counts["twice"], counts["attempts lost"]) == (1, 1, 1)
    assert counts["worker killed"] == 1
