"""Decides from journals alone whether the broker kept its promises. It knows no broker code.

An outcome that nobody knows (the connection broke, the process was killed) is neither a
success nor a failure: what was confirmed must hold, what was refused must not have been,
what is unknown may be either. Unknown is also a refused end if the broker was killed after
it was sent: the client repeats it, and the first one may have counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

Line = dict[str, Any]
Token = tuple[str, int]

ENDS = ("ack", "fail", "bury", "release")
FINAL = ("ack", "bury")


@dataclass(slots=True)
class Delivery:
    """A job in a worker's hands."""

    key: str
    id: str
    attempt: int
    hash: str
    who: str
    asked: float
    got: float
    lease_s: float


@dataclass(slots=True)
class Settlement:
    """What a worker meant to do with a lease, and what came of it."""

    how: str
    meant: float
    outcome: str = "unknown"
    known: float = 0.0


@dataclass(slots=True)
class Verdict:
    """What was found. `violations` must be empty."""

    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def blame(self, promise: str, what: str) -> None:
        """Notes a broken promise."""
        self.violations.append(f"{promise}: {what}")


@dataclass(slots=True)
class Story:
    """The journals, put in order."""

    sent: dict[str, str] = field(default_factory=dict)
    confirmed: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    deliveries: list[Delivery] = field(default_factory=list)
    settlements: dict[Token, list[Settlement]] = field(default_factory=lambda: defaultdict(list))
    dead: set[str] = field(default_factory=set)
    kills: list[float] = field(default_factory=list)
    drained: bool = False

    def may_have_counted(self, end: Settlement) -> bool:
        """Whether a settlement may have been carried out."""
        killed = any(end.meant <= at <= end.known for at in self.kills)
        return end.outcome != "refused" or killed


def told(lines: Iterable[Line]) -> Story:
    """The story of the journals."""
    story = Story()
    asked: dict[str, float] = {}
    for line in lines:
        event, who, at = line["event"], line["who"], line["t"]
        if event == "enqueue":
            story.sent.update(line["jobs"])
        elif event == "enqueued":
            story.confirmed.update(line["jobs"])
        elif event == "enqueue refused":
            story.refused.update(line["jobs"])
        elif event == "reserve":
            asked[who] = at
        elif event == "got":
            for job in line["jobs"]:
                story.deliveries.append(
                    Delivery(**job, who=who, asked=asked[who], got=at, lease_s=line["lease_s"])
                )
        elif event == "settle":
            token = (line["id"], line["attempt"])
            story.settlements[token].append(Settlement(line["how"], at))
        elif event in ("settled", "settle refused"):
            last = story.settlements[line["id"], line["attempt"]][-1]
            last.outcome, last.known = "done" if event == "settled" else "refused", at
        elif event == "broker killed":
            story.kills.append(at)
        elif event == "drained":
            story.dead.update(line["dead"])
            story.drained = True
    return story


def check(lines: Iterable[Line]) -> Verdict:
    """Whether every promise was kept."""
    story, verdict = told(lines), Verdict()
    verdict.counts.update(
        sent=len(story.sent),
        confirmed=len(story.confirmed),
        refused=len(story.refused),
        deliveries=len(story.deliveries),
        redeliveries=sum(delivery.attempt > 1 for delivery in story.deliveries),
        dead=len(story.dead),
        kills=len(story.kills),
    )
    if not story.drained:
        verdict.blame("drain", "the queue was never seen empty")
    of_id: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in story.deliveries:
        of_id[delivery.id].append(delivery)
    _check_existence(story, of_id, verdict)
    for job_id, deliveries in of_id.items():
        deliveries.sort(key=lambda delivery: delivery.attempt)
        _check_leases(story, job_id, deliveries, verdict)
        _check_ends(story, job_id, deliveries, verdict)
    _check_order(story, verdict)
    return verdict


def _check_existence(story: Story, of_id: dict[str, list[Delivery]], verdict: Verdict) -> None:
    """Nothing lost, nothing from nowhere, nothing doubled."""
    delivered: dict[str, set[str]] = defaultdict(set)
    for delivery in story.deliveries:
        delivered[delivery.key].add(delivery.id)
        if delivery.key not in story.sent:
            verdict.blame("nothing from nowhere", f"{delivery.key} was never sent")
        elif story.sent[delivery.key] != delivery.hash:
            verdict.blame("nothing from nowhere", f"{delivery.key} was changed on its way")
        elif delivery.key in story.refused:
            verdict.blame("nothing from nowhere", f"{delivery.key} was refused and delivered")
    for key, ids in delivered.items():
        if len(ids) > 1:
            verdict.blame("no doubles", f"{key} was stored as {sorted(ids)}")
        elif key in story.confirmed and ids != {story.confirmed[key]}:
            verdict.blame("no doubles", f"{key} was confirmed under another id")
    for key, job_id in story.confirmed.items():
        if job_id not in of_id:
            verdict.blame("nothing lost", f"{key} ({job_id}) was confirmed and never delivered")
    verdict.counts["recovered"] = len(delivered.keys() - story.confirmed.keys())


def _check_leases(story: Story, job_id: str, deliveries: list[Delivery], verdict: Verdict) -> None:
    """One worker at a time: each attempt once, the next only when this one's lease was over."""
    for earlier, later in pairwise(deliveries):
        if earlier.attempt == later.attempt:
            verdict.blame("exclusive", f"{job_id} attempt {later.attempt} was given out twice")
            continue
        settlements = story.settlements.get((job_id, earlier.attempt), [])
        if any(end.how in ENDS and end.meant <= later.got for end in settlements):
            continue
        begun = max([earlier.asked, *(e.meant for e in settlements if e.outcome == "done")])
        if later.got < begun + earlier.lease_s:
            held = later.got - begun
            verdict.blame(
                "exclusive",
                f"{job_id} attempt {later.attempt} came {held:.3f} s after attempt"
                f" {earlier.attempt}, whose lease was {earlier.lease_s} s",
            )


def _check_ends(story: Story, job_id: str, deliveries: list[Delivery], verdict: Verdict) -> None:
    """A confirmed end is the end; and every job has one."""
    may_have_ended = False
    for delivery in deliveries:
        for end in story.settlements.get((job_id, delivery.attempt), []):
            if end.how in FINAL and story.may_have_counted(end):
                may_have_ended = True
            if end.outcome != "done":
                continue
            verdict.counts[end.how] += 1
            if end.how not in FINAL:
                continue
            for other in deliveries:
                if other.attempt > delivery.attempt or other.asked > end.known:
                    verdict.blame(
                        "no confirmed ack comes back",
                        f"{job_id} attempt {other.attempt} came after attempt"
                        f" {delivery.attempt} was confirmed as {end.how}",
                    )
            if end.how == "bury" and job_id not in story.dead:
                verdict.blame("nothing dropped", f"{job_id} died and is no dead letter")
            if end.how == "ack" and job_id in story.dead:
                verdict.blame("nothing dropped", f"{job_id} was acked and is a dead letter")
    if story.drained and not may_have_ended:
        verdict.blame("nothing lost", f"{job_id} is gone and nobody ended it")


def _check_order(story: Story, verdict: Verdict) -> None:
    """First deliveries of one producer to one worker come in the order they were sent."""
    last: dict[tuple[str, str], int] = {}
    for delivery in story.deliveries:
        if delivery.attempt != 1:
            continue
        producer, _, number = delivery.key.rpartition("-")
        before = last.get((delivery.who, producer), 0)
        if int(number) < before:
            verdict.blame("order", f"{delivery.key} came to {delivery.who} after number {before}")
        last[delivery.who, producer] = max(before, int(number))
        verdict.counts["in order"] += 1
