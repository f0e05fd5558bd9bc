"""Decides from journals alone whether workers and broker kept their promises. It knows no code of either.

Written down are: what was enqueued and confirmed; every run of a task, before and after, with
job, attempt, worker and process; who was killed or stopped when; and what the broker said of
every job in the end.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.acceptance.checker import Verdict

Line = dict[str, Any]
HISTORY_MAX = 20
"""The broker keeps so many attempts of a job's history; of a longer one only its end is known."""
LATE_S = 4.0
"""So long after it was stopped a worker may begin jobs that it lost meanwhile: a lease."""


@dataclass(slots=True)
class Run:
    """A task that ran, or began to."""

    id: str
    attempt: int
    key: str
    worker: str
    pid: int
    begun: float
    done: float | None = None


@dataclass(slots=True)
class Tale:
    """The journals, put in order."""

    sent: set[str] = field(default_factory=set)
    confirmed: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    hurt: dict[str, list[list[float]]] = field(default_factory=lambda: defaultdict(list))
    """From when until when a worker was stopped, or for ever because it was killed."""
    crashes: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """When a child of a worker was killed."""
    kills: Counter[str] = field(default_factory=Counter)
    final: dict[str, Line] = field(default_factory=dict)

    def hurt_during(self, run: Run) -> float | None:
        """When its worker was killed or stopped while it had the job, if it was."""
        # What it had not read when it was stopped it begins afterwards, and learns then.
        return next(
            (since for since, until in self.hurt[run.worker] if run.begun <= until + LATE_S), None
        )

    def crashed_since(self, run: Run) -> float | None:
        """When a child of its worker was killed after the run began, if one was."""
        return next((at for at in self.crashes[run.worker] if at >= run.begun), None)


def told(lines: Iterable[Line]) -> Tale:
    """The tale of the journals."""
    tale = Tale()
    open_runs: dict[tuple[str, int, int], Run] = {}
    for line in lines:
        event, at = line["event"], line["t"]
        if event == "enqueue":
            tale.sent.update(line["jobs"])
        elif event == "enqueued":
            tale.confirmed.update(line["jobs"])
        elif event == "enqueue refused":
            tale.refused.update(line["jobs"])
        elif event == "begun":
            run = Run(
                line["id"], line["attempt"], line["key"], line["worker"], line["pid"], begun=at
            )
            tale.runs[run.id].append(run)
            open_runs[run.id, run.attempt, run.pid] = run
        elif event == "done":
            open_runs[line["id"], line["attempt"], line["pid"]].done = at
        elif event in ("worker killed", "worker stopped"):
            tale.hurt[line["worker"]].append([at, math.inf])
            tale.kills[event] += 1
        elif event == "worker goes on":
            tale.hurt[line["worker"]][-1][1] = at
        elif event == "child killed":
            tale.crashes[line["worker"]].append(at)
            tale.kills[event] += 1
        elif event == "broker killed":
            tale.kills[event] += 1
        elif event == "final":
            tale.final[line["id"]] = line
    return tale


def check_tasks(lines: Iterable[Line]) -> Verdict:
    """Whether every promise was kept."""
    tale, verdict = told(lines), Verdict()
    runs = [run for some in tale.runs.values() for run in some]
    verdict.counts.update(
        sent=len(tale.sent),
        confirmed=len(tale.confirmed),
        deliveries=len(runs),
        redeliveries=sum(len(some) - 1 for some in tale.runs.values()),
        twice=sum(sum(run.done is not None for run in some) > 1 for some in tale.runs.values()),
        **tale.kills,
    )
    _check_existence(tale, verdict)
    for job_id, some in tale.runs.items():
        _check_again(tale, job_id, some, verdict)
    for job_id, final in tale.final.items():
        _check_end(tale, job_id, final, verdict)
        _check_attempts(tale, job_id, final, verdict)
    return verdict


def _check_existence(tale: Tale, verdict: Verdict) -> None:
    ids_of: dict[str, set[str]] = defaultdict(set)
    for job_id, some in tale.runs.items():
        if job_id not in tale.final:
            verdict.blame("nothing from nowhere", f"{job_id} ran, and the broker never had it")
        for run in some:
            ids_of[run.key].add(job_id)
            if run.key not in tale.sent or run.key in tale.refused:
                verdict.blame("nothing from nowhere", f"{run.key} ran and was never taken")
    for key, ids in ids_of.items():
        if len(ids) > 1:
            verdict.blame("no doubles", f"{key} was stored as {sorted(ids)}")
    for key, job_id in tale.confirmed.items():
        if job_id not in tale.final:
            verdict.blame("nothing lost", f"{key} ({job_id}) was confirmed and is nowhere")
        elif ids_of[key] - {job_id}:
            verdict.blame("no doubles", f"{key} was confirmed under another id")


def _check_again(tale: Tale, job_id: str, runs: list[Run], verdict: Verdict) -> None:
    """A job runs again only after its worker, or its process, was killed while it had it."""
    runs.sort(key=lambda run: (run.attempt, run.begun))
    for earlier, later in pairwise(runs):
        hurt_at = tale.hurt_during(earlier)
        ends = [at for at in (hurt_at, tale.crashed_since(earlier)) if at is not None]
        if later.attempt == earlier.attempt:
            # Alone, in another process of the same worker, for one of its processes died.
            if later.worker != earlier.worker or later.pid == earlier.pid:
                verdict.blame("exclusive", f"{job_id} attempt {later.attempt} ran in two places")
            ends = [at for at in (tale.crashed_since(earlier),) if at is not None]
        if not ends or later.begun < min(ends):
            verdict.blame(
                "only where allowed",
                f"{job_id} attempt {earlier.attempt} began in {earlier.worker}, which lived, and"
                f" {later.begun - earlier.begun:.3f} s later attempt {later.attempt} began in"
                f" {later.worker}",
            )


def _check_end(tale: Tale, job_id: str, final: Line, verdict: Verdict) -> None:
    """Every job succeeded, by a run that was seen to its end, and none began after that."""
    if final["state"] != "succeeded":
        verdict.blame("nothing lost", f"{job_id} is {final['state']} in the end")
        return
    verdict.counts["done"] += 1
    runs = tale.runs.get(job_id, [])
    last = final["attempt"]
    if not any(run.attempt == last and run.done is not None for run in runs):
        verdict.blame("nothing from nowhere", f"{job_id} attempt {last} succeeded, and never ran")
    if any(run.attempt > last for run in runs):
        verdict.blame("no confirmed ack comes back", f"{job_id} ran after attempt {last}")


def _check_attempts(tale: Tale, job_id: str, final: Line, verdict: Verdict) -> None:
    """Only what was killed uses up an attempt, and whoever is said to have lost it was hurt."""
    lost = [entry for entry in final["history"] if entry["outcome"] == "lost"]
    crashed = [entry for entry in final["history"] if entry["outcome"] == "crashed"]
    verdict.counts["attempts lost"] += len(lost)
    verdict.counts["attempts crashed"] += len(crashed)
    for entry in lost:
        if not tale.hurt[entry["worker"]]:
            verdict.blame("honest attempts", f"{job_id} was lost by {entry['worker']}, which lived")
        elif not any(run.attempt == entry["attempt"] for run in tale.runs.get(job_id, [])):
            verdict.counts["lost before they began"] += 1
    for entry in crashed:
        if not tale.crashes[entry["worker"]]:
            verdict.blame(
                "honest attempts", f"{job_id} crashed in {entry['worker']}, which did not"
            )
    used = {name: final[name] for name in ("failures", "timeouts") if final[name]}
    if used:
        verdict.blame("honest attempts", f"{job_id} counts {used}, and no task ever failed")
    if final["lost"] != len(lost) + len(crashed) and len(final["history"]) < HISTORY_MAX:
        verdict.blame(
            "honest attempts",
            f"{job_id} counts {final['lost']} lost; its history has {len(lost)} + {len(crashed)}",
        )
