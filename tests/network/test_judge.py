"""The checks fire: on records in which a promise is broken, and on clients that break one."""

from __future__ import annotations

from typing import Any

import pytest

from tenure.core import session as core
from tenure.core.call import Call, frame_of
from tenure_protocol.wire import unpack
from tests.network.client_rounds import Round, run_round
from tests.network.judge import LATE_S, Report, judge, judge_ends
from tests.network.record import Line
from tests.network.worker_rounds import Sent, check_runs


def line(t: float, event: str, who: str = "produce0", **fields: Any) -> Line:
    return {"t": t, "who": who, "event": event, **fields}


def got(t: float, key: str, job: str = "A", attempt: int = 1) -> list[Line]:
    row = {"key": key, "id": job, "attempt": attempt, "hash": "h"}
    taken = line(t, "got", "consume0", jobs=[row], lease_s=1.0)
    return [line(t - 0.01, "reserve", "consume0"), taken]


def settled(t: float, job: str = "A", attempt: int = 1, how: str = "ack") -> list[Line]:
    token = {"id": job, "attempt": attempt, "how": how}
    return [
        line(t, "settle", "consume0", **token, retry_s=0.5),
        line(t + 0.01, "settled", "consume0", **token),
    ]


def call(method: str = "enqueue", error: str = "", took: float = 0.1, strict: bool = True) -> Line:
    return line(5.0, "call", method=method, took=took, limit=1.0, error=error, strict=strict)


CLEAN: list[Line] = [
    line(0.0, "enqueue", jobs={"produce0-1": "h"}),
    line(0.1, "enqueued", jobs={"produce0-1": "A"}),
    *got(1.0, "produce0-1"),
    *settled(1.1),
]


def verdict(*more: Line, base: list[Line] = CLEAN, enqueued: int = 1) -> Report:
    lines = sorted([*base, *more], key=lambda each: each["t"])
    return judge([*lines, line(99.0, "drained", "drain", dead=[])], enqueued)


def test_a_clean_record_breaks_no_promise() -> None:
    assert verdict(call(), call(error="RequestTimeout", took=1.2)).violations == []


@pytest.mark.parametrize(
    ("report", "promise"),
    [
        (verdict(call(took=1.1 + LATE_S)), "deadlines"),
        (verdict(call(error="ConnectionLost")), "true errors"),
        (verdict(call(error="OutcomeUnknown")), "true errors"),
        (verdict(call("ack", error="KeyError")), "true errors"),
        (verdict(line(3.0, "crashed", error="KeyError('x')")), "typed errors"),
        (verdict(line(0.0, "delayed", due={"produce0-1": 1.2})), "never early"),
        (
            verdict(
                *settled(1.1, how="fail"), *got(1.3, "produce0-1", attempt=2),
                *settled(1.4, attempt=2), base=CLEAN[:4],
            ),
            "never early",
        ),
        (verdict(line(2.0, "taken", id="S"), line(2.1, "taken", id="S")), "at most once"),
        (verdict(enqueued=2), "counts"),
        (verdict(*got(9.0, "produce0-1", "B"), *settled(9.1, "B"), enqueued=2), "no doubles"),
        (verdict(*got(9.0, "produce0-1", attempt=2)), "no confirmed ack comes back"),
        (judge_ends([call(took=1.1 + LATE_S)]), "deadlines"),
        (judge_ends([line(3.0, "crashed", error="TypeError()")]), "typed errors"),
    ],
)  # fmt: skip
def test_a_broken_promise_is_found(report: Report, promise: str) -> None:
    assert promise in {violation.split(":")[0] for violation in report.violations}


@pytest.mark.parametrize(
    ("notes", "promise"),
    [
        ([("begun", "A", 1)], "every job is run"),
        ([("begun", "A", 1), ("begun", "A", 2), ("ended", "A", 2)], "exactly once"),
        ([("begun", "A", 1), ("begun", "A", 1), ("ended", "A", 1)], "exclusive"),
        ([("begun", "B", 1), ("ended", "B", 1)], "nothing from nowhere"),
    ],
)
def test_a_broken_promise_of_the_worker_is_found(
    notes: list[tuple[str, str, int]], promise: str
) -> None:
    report = Report()
    lines = [
        {"event": event, "id": job, "attempt": attempt, "key": "job-0", "hash": "h"}
        for event, job, attempt in notes
    ]
    check_runs(lines, {"A": Sent("job-0", "h")}, True, report)
    assert promise in {violation.split(":")[0] for violation in report.violations}


# -- clients from which a protection was taken ------------------------------------------------


def promises_broken(profile: str, url: str) -> set[str]:
    report = run_round(Round("sync", profile, 3, 0.5, url))
    return {violation.split(":")[0] for violation in report.violations}


@pytest.mark.slow
def test_a_client_that_repeats_an_enqueue_under_another_number_is_found(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: set[Call] = set()

    def renumbered(call: Call, producer: bytes, now_ms: int) -> bytes:
        if call.command.op == "enqueue" and call in left:
            call.sequence += 100_000
        left.add(call)
        return frame_of(call, producer, now_ms)

    monkeypatch.setattr(core, "frame_of", renumbered)
    assert {"no doubles", "counts"} & promises_broken("lost-replies", url)


@pytest.mark.slow
def test_a_client_that_takes_an_unanswered_ack_for_done_is_found(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = core.Session.lost

    def believes(self: core.Session, error: Exception, now_ms: int) -> None:
        for call in list(self._pending.values()):
            if call.command.op == "ack" and call.sent_ms >= 0 and not call.abandoned:
                self._drop(call)
                assert isinstance(call.command.args, bytes)
                call.result = [0 for _ in unpack(call.command.args)[0]]
                self._finish(call)
        lost(self, error, now_ms)

    monkeypatch.setattr(core.Session, "lost", believes)
    assert "no confirmed ack comes back" in promises_broken("lost-requests", url)
