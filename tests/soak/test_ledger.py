"""The checker finds what it is there to find: each promise broken once, in lines of a trail."""

from __future__ import annotations

from typing import Any

import pytest

from tests.soak.ledger import REMEMBER_ENDED_S, Ledger
from tests.soak.trail import Line

LEASE_S = 3.0


def line(event: str, at: float, who: str = "w1", **fields: Any) -> Line:
    return {"e": event, "t": at, "who": who, **fields}


def send(at: float, key: str = "p1-1", **more: Any) -> Line:
    return line("send", at, "p1", jobs=[{"k": key, "h": "hash", "q": "mixed", **more}])


def sent(at: float, key: str = "p1-1", job_id: str = "id1", *, existing: bool = False) -> Line:
    return line("sent", at, "p1", ids={key: [job_id, existing]}, ms=1.0)


def got(at: float, attempt: int = 1, who: str = "w1", **more: Any) -> Line:
    asked, wall_ms = more.pop("asked", at - 0.01), more.pop("w", 1e12)
    job = {"k": "p1-1", "id": "id1", "n": attempt, "h": "hash", "used": 0, **more}
    return line("got", at, who, jobs=[job], asked=asked, lease=LEASE_S, w=wall_ms)


def settle(at: float, how: str, attempt: int = 1, **more: Any) -> Line:
    return line("settle", at, id="id1", n=attempt, how=how, **more)


def settled(at: float, how: str, attempt: int = 1, **more: Any) -> Line:
    return line("settled", at, id="id1", n=attempt, how=how, since=at - 0.01, **more)


def told(*lines: Line) -> Ledger:
    ledger = Ledger()
    for one in lines:
        ledger.tell(one)
    return ledger


LIFE = [send(1), sent(1.1), got(2), settle(2.1, "ack"), settled(2.2, "ack")]


def test_a_job_that_comes_and_goes_breaks_no_promise() -> None:
    ledger = told(*LIFE)

    assert ledger.violations == []
    assert ledger.counts["succeeded"] == 1


@pytest.mark.parametrize(
    ("promise", "lines"),
    [
        ("nothing from nowhere", [got(2)]),
        ("nothing from nowhere", [send(1), sent(1.1), got(2, h="other")]),
        (
            "nothing from nowhere",
            [send(1), got(1.5), line("refused", 2, keys=["p1-1"], code="QUEUE_FULL")],
        ),
        ("no doubles", [send(1), sent(1.1), got(2, id="id2")]),
        ("no doubles", [send(1), sent(1.1), send(1.2, "p1-2"), sent(1.3, "p1-2", "id1")]),
        ("never before its time", [send(1, nb=5_000.0), sent(1.1), got(2, w=4_999.0)]),
        (
            "never before its time",
            [
                send(1),
                sent(1.1),
                got(2, w=2_000.0),
                settle(2.1, "fail"),
                settled(2.2, "fail", again=4_000.0),
                got(3, 2, w=3_999.0, used=1),
            ],
        ),
        ("exclusive", [send(1), sent(1.1), got(2), got(2.5, 2, "w2")]),
        ("exclusive", [send(1), sent(1.1), got(2), got(9, 1, "w2")]),
        ("no confirmed end undone", [*LIFE, got(3, 2)]),
        ("no confirmed end undone", [send(1), sent(1.1), got(2), got(9, 2), *LIFE[3:]]),
        (
            "no confirmed end undone",
            [send(1), sent(1.1), line("ended", 1.5, id="id1", how="cancelled"), got(2)],
        ),
        (
            "attempts counted right",
            [send(1), sent(1.1), got(2), settle(2.1, "fail"), settled(2.2, "fail"), got(3, 2)],
        ),
        (
            "attempts counted right",
            [
                send(1, m=1),
                sent(1.1),
                got(2),
                settle(2.1, "fail"),
                settled(2.2, "fail"),
                got(3, 2, used=1),
            ],
        ),
        (
            "checkpoints hold",
            [
                send(1),
                sent(1.1),
                got(2),
                settle(2.1, "note", cp="a"),
                settled(2.2, "note", cp="a"),
                settle(2.3, "release"),
                got(3, 2, cp=""),
            ],
        ),
        (
            "one unfinished job per unique name",
            [send(1, u="name"), sent(1.1), send(2, "p1-2", u="name"), sent(2.1, "p1-2", "id2")],
        ),
        (
            "one unfinished job per unique name",
            [
                send(1, u="name"),
                sent(1.1),
                *LIFE[2:],
                send(3, "p1-2", u="name"),
                sent(3.1, "p1-2", "id1", existing=True),
            ],
        ),
    ],
)
def test_a_broken_promise_is_found(promise: str, lines: list[Line]) -> None:
    found = told(*lines).violations

    assert [violation.split(":")[0] for violation in found] == [promise]


def test_a_job_that_comes_after_it_was_forgotten_comes_from_nowhere() -> None:
    ledger = told(*LIFE)
    ledger.forget(2.2 + REMEMBER_ENDED_S + 1)
    assert ledger.jobs == {}
    assert ledger.by_id == {}

    ledger.tell(got(100, 2))

    assert len(ledger.violations) == 1
    assert ledger.violations[0].startswith("nothing from nowhere")


@pytest.mark.parametrize(
    "lines",
    [
        # A lease that ran out, and the late ack of it that was refused.
        [
            send(1),
            sent(1.1),
            got(2),
            got(6, 2, "w2", used=1),
            settle(6.1, "ack"),
            line("settle refused", 6.2, id="id1", n=1, how="ack", since=6.1),
        ],
        # Nobody knows whether the enqueue was done; then it comes.
        [send(1), got(2)],
        # A settle whose reply was lost with the broker.
        [send(1), sent(1.1), got(2), settle(2.1, "ack"), got(9, 2, used=1)],
        # Refused around a kill: the first sending of it may have been done.
        [
            send(1),
            sent(1.1),
            got(2),
            settle(2.1, "ack"),
            line("broken", 2.2, "run", how="kill"),
            line("settle refused", 3, id="id1", n=1, how="ack", since=2.1),
        ],
        # A failure that is tried again after its pause, with the checkpoint it saved.
        [
            send(1),
            sent(1.1),
            got(2, w=2_000.0),
            settle(2.05, "note", cp="a"),
            settled(2.06, "note", cp="a"),
            settle(2.1, "fail"),
            settled(2.2, "fail", again=2_500.0),
            got(3, 2, used=1, w=2_501.0, cp="a"),
        ],
    ],
)
def test_what_may_happen_is_no_violation(lines: list[Line]) -> None:
    assert told(*lines).violations == []


def test_what_it_holds_does_not_grow_with_the_run() -> None:
    ledger = Ledger()
    for number in range(2_000):
        at = float(number)
        key, job_id = f"p1-{number}", f"id{number}"
        ledger.tell(send(at, key, u=f"name-{number}"))
        ledger.tell(sent(at, key, job_id))
        ledger.tell(line("ended", at, id=job_id, how="purged"))
        ledger.forget(at)

    assert len(ledger.jobs) <= REMEMBER_ENDED_S + 2
    assert len(ledger.by_id) == len(ledger.jobs)
