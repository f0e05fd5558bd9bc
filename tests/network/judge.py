"""Decides from a record whether a client and its broker kept their promises in bad weather.

What a queue promises is decided by the checker of the acceptance tests, which knows neither
client nor broker. Here is what only the network brings to light: calls that end too late or
with an error that says something untrue, jobs that come before their time, jobs that one
enqueue made twice, and things that are left behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from tests.acceptance.checker import check
from tests.network.record import Line

LATE_S = 15.0
"""How much longer than its timeout a call may take on a busy machine."""

EARLY_S = 0.005
"""How far two clocks of this machine may be apart."""

_ALWAYS = {"", "RequestTimeout", "TimeoutError"}
_MAY_RAISE: dict[str, set[str]] = {
    "enqueue": {"QueueFull"},
    "enqueue_many": {"QueueFull", "PartlyEnqueued"},
    "reserve": {"OutcomeUnknown"},  # with auto_ack
    "create_queue": {"OutcomeUnknown", "QueueExists"},  # a paused one is another
    "pause_queue": {"OutcomeUnknown", "QueueNotFound"},
    "resume_queue": {"OutcomeUnknown", "QueueNotFound"},
    "queue": {"QueueNotFound"},
}
_WITHOUT_RECONNECT = {"ConnectionLost", "CannotConnect"}


@dataclass
class Report:
    """What was counted, and the promises that were broken."""

    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    latest_s: float = 0.0
    """The longest that a call went on after its timeout."""

    def blame(self, promise: str, what: str) -> None:
        """A broken promise."""
        self.violations.append(f"{promise}: {what}")

    def add(self, other: Report) -> None:
        """Count another report in."""
        self.counts.update(other.counts)
        self.violations += other.violations
        self.latest_s = max(self.latest_s, other.latest_s)


def judge(lines: Iterable[Line], enqueued: int) -> Report:
    """The verdict on a record whose queue was drained; `enqueued`: the broker's own count."""
    report, all_lines = Report(), list(lines)
    verdict = check(_where_order_is_promised(all_lines))
    report.counts.update(verdict.counts)
    report.violations += verdict.violations
    _check_calls(all_lines, report)
    _check_times(all_lines, report)
    _check_count(all_lines, enqueued, report)
    return report


def judge_ends(lines: Iterable[Line]) -> Report:
    """The verdict on clients whose bytes were changed on their way.

    Frames carry no checksum, so what arrives may be anything. What is left to promise: each
    call ends in time, by a result or by an error of the client's own.
    """
    report = Report()
    for line in lines:
        if line["event"] == "crashed":
            report.blame("typed errors", f"{line['who']} met {line['error']}")
        if line["event"] == "call":
            report.counts["calls beside changed bytes"] += 1
            report.counts["calls that failed"] += bool(line["error"])
            _check_deadline(line, report)
    return report


def _check_deadline(line: Line, report: Report) -> None:
    late_s = line["took"] - line["limit"]
    report.latest_s = max(report.latest_s, late_s)
    if late_s > LATE_S:
        report.blame("deadlines", f"{line['method']} ended {late_s:.1f} s after its timeout")


def _where_order_is_promised(lines: list[Line]) -> list[Line]:
    """The lines, with other names for jobs whose enqueue was never answered.

    Such a request may still be on its way when the next one is confirmed.
    """
    unknown: set[str] = set()
    for line in lines:
        if line["event"] == "enqueue":
            unknown.update(line["jobs"])
        elif line["event"] in ("enqueued", "enqueue refused"):
            unknown.difference_update(line["jobs"])
    alone = {key: f"{key}?-0" for key in unknown}

    def renamed(line: Line) -> Line:
        if line["event"] == "enqueue":
            return {**line, "jobs": {alone.get(k, k): v for k, v in line["jobs"].items()}}
        if line["event"] == "got":
            jobs = [{**job, "key": alone.get(job["key"], job["key"])} for job in line["jobs"]]
            return {**line, "jobs": jobs}
        return line

    return [renamed(line) for line in lines]


def _check_calls(lines: list[Line], report: Report) -> None:
    """Every call ends in time, and says what is true."""
    for line in lines:
        if line["event"] == "crashed":
            report.blame("typed errors", f"{line['who']} met {line['error']}")
        if line["event"] in ("enqueue unknown", "reserve failed", "settle unknown"):
            report.counts["unknown outcomes"] += 1
        if line["event"] == "settled" and line.get("repeated"):
            report.counts["repeats answered"] += 1
        if line["event"] != "call":
            continue
        report.counts["calls"] += 1
        _check_deadline(line, report)
        allowed = _ALWAYS | _MAY_RAISE.get(line["method"], set())
        if not line["strict"]:
            allowed = allowed | _WITHOUT_RECONNECT
        if line["error"] not in allowed:
            report.blame("true errors", f"{line['method']} raised {line['error']}")


def _check_times(lines: list[Line], report: Report) -> None:
    """Nothing comes before its time: delayed jobs, and those that failed."""
    due: dict[str, float] = {}
    meant: dict[tuple[str, int], float] = {}
    failed: dict[tuple[str, int], float] = {}
    deliveries: dict[str, list[tuple[int, float]]] = {}
    taken: set[str] = set()
    for line in lines:
        match line["event"]:
            case "delayed":
                due.update(line["due"])
            case "settle" if line["how"] == "fail":
                meant[line["id"], line["attempt"]] = line["t"] + line["retry_s"]
            case "settled" if line["how"] == "fail":
                # Only now: the lease may have run out before, and the job come again for that.
                token = line["id"], line["attempt"]
                failed[token] = meant[token]
            case "got":
                for job in line["jobs"]:
                    deliveries.setdefault(job["id"], []).append((job["attempt"], line["t"]))
                    early_s = due.get(job["key"], 0.0) - line["t"]
                    if early_s > EARLY_S:
                        report.blame("never early", f"{job['key']} came {early_s:.3f} s early")
            case "taken":
                if line["id"] in taken:
                    report.blame("at most once", f"{line['id']} was taken twice by auto_ack")
                taken.add(line["id"])
    report.counts["delayed"] += len(due)
    for job_id, of_job in deliveries.items():
        for (attempt, _), (later, at) in pairwise(sorted(of_job)):
            early_s = failed.get((job_id, attempt), 0.0) - at
            if early_s > EARLY_S and later == attempt + 1:
                report.blame("never early", f"{job_id} was retried {early_s:.3f} s early")


def _check_count(lines: list[Line], enqueued: int, report: Report) -> None:
    """The broker took as many jobs as came out: no enqueue made two of one, or none."""
    ids = {job["id"] for line in lines if line["event"] == "got" for job in line["jobs"]}
    if len(ids) != enqueued:
        report.blame("counts", f"{enqueued} jobs were stored, {len(ids)} came out")
