"""The checker's memory: every job that may still be there, and what was promised about it.

It is told line by line what producers, workers and keepers meant and what came of it, and forgets a
job a minute after its end was confirmed: what it holds grows with the backlog, not with the run. A
job that comes after it was forgotten is a job from nowhere, so nothing is lost by forgetting.

An outcome that nobody knows (the connection broke, the process was killed) is neither a success nor
a failure: what was confirmed must hold, what was refused must not have been, the rest may be either.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from tests.soak.trail import Line

REMEMBER_ENDED_S = 60.0
VIOLATIONS_KEPT = 100
DELIVERIES_KEPT = 4


@dataclass(slots=True)
class Delivery:
    """A job in somebody's hands."""

    attempt: int
    who: str
    asked: float
    lease_s: float
    given_up: float | None = None
    """When its holder first meant to end or give back the lease."""


@dataclass(slots=True)
class Job:
    """What is known of one job. Times are those of the trails, but for `not_before_ms`."""

    key: str
    hash: str
    queue: str
    sent: float
    attempts_max: int
    not_before_ms: float
    expires_ms: float | None
    unique: str | None
    delayed: bool
    id: str | None = None
    confirmed: bool = False
    unanswered: bool = True
    """Whether its enqueue may still be on its way."""
    attempts: int = 0
    deliveries: deque[Delivery] = field(default_factory=lambda: deque(maxlen=DELIVERIES_KEPT))
    fails: int = 0
    """Confirmed failures since it was enqueued or replayed."""
    replayed: float = 0.0
    checkpoints: set[str] = field(default_factory=set)
    """What the next attempt may find; empty for nothing promised."""
    over: float | None = None
    over_attempt: int = 0
    how: str = ""
    may_be_over: str = ""
    """Why it may have ended without our knowing it; empty if it cannot have."""
    buried: bool = False


@dataclass(slots=True)
class Ledger:
    """What was told, in order. `violations` must stay empty."""

    jobs: dict[str, Job] = field(default_factory=dict)
    by_id: dict[str, Job] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    breaks: deque[float] = field(default_factory=lambda: deque(maxlen=1_000))
    """When the broker was ended: what was refused around then may have been done before."""
    holding: dict[str, int] = field(default_factory=dict)
    """Who holds still, and which hold that is."""
    enqueue_ms: list[float] = field(default_factory=list)
    start_ms: list[float] = field(default_factory=list)
    _uniques: dict[tuple[str, str], str] = field(default_factory=dict)
    _ended: deque[tuple[float, str]] = field(default_factory=deque)

    def blame(self, promise: str, what: str) -> None:
        """Notes a broken promise; beyond the first hundred they are counted only."""
        self.counts["violations"] += 1
        if len(self.violations) < VIOLATIONS_KEPT:
            self.violations.append(f"{promise}: {what}")

    def tell(self, line: Line) -> None:
        """One line of a trail."""
        _TOLD[line["e"]](self, line)
        self.counts["lines"] += 1

    def forget(self, now: float) -> None:
        """Drops what ended long ago."""
        while self._ended and self._ended[0][0] < now - REMEMBER_ENDED_S:
            _, key = self._ended.popleft()
            job = self.jobs.get(key)
            if job is not None and job.over is not None:
                self.drop(job)

    def drop(self, job: Job) -> None:
        """Knows nothing of a job any more."""
        self.jobs.pop(job.key, None)
        if job.id is not None:
            self.by_id.pop(job.id, None)
        if job.unique is not None and self._uniques.get((job.queue, job.unique)) == job.key:
            del self._uniques[job.queue, job.unique]

    def end(self, job: Job, at: float, how: str, attempt: int = 0) -> None:
        """The end of a job is certain, since `at`."""
        if job.over is None:
            job.over, job.how, job.over_attempt = at, how, attempt
            self._ended.append((at, job.key))
            self.counts[how] += 1
            for other in job.deliveries:
                self._check_after_end(job, other)

    def open_jobs(self) -> list[Job]:
        """The jobs whose end is not certain."""
        return [job for job in self.jobs.values() if job.over is None]

    # ---- producers -----------------------------------------------------------------------

    def _send(self, line: Line) -> None:
        for item in line["jobs"]:
            self.jobs[item["k"]] = Job(
                key=item["k"],
                hash=item["h"],
                queue=item["q"],
                sent=line["t"],
                attempts_max=item.get("m", 0),
                not_before_ms=item.get("nb", 0.0),
                expires_ms=item.get("x"),
                unique=item.get("u"),
                delayed="nb" in item,
            )
        self.counts["sent"] += len(line["jobs"])

    def _sent(self, line: Line) -> None:
        self.enqueue_ms.append(line["ms"])
        for key, (job_id, existing) in line["ids"].items():
            job = self.jobs.get(key)
            if job is None:
                continue
            if existing:
                self._check_existing(job, job_id, line["t"])
                self.drop(job)
                self.counts["held by unique name"] += 1
                continue
            self.counts["confirmed"] += 1
            job.confirmed, job.unanswered = True, False
            self._learn_id(job, job_id)
            self._hold_unique(job)

    def _learn_id(self, job: Job, job_id: str) -> None:
        if job.id is None:
            other = self.by_id.get(job_id)
            if other is not None:
                self.blame("no doubles", f"{job.key} and {other.key} have one id, {job_id}")
            job.id = job_id
            self.by_id[job_id] = job
        elif job.id != job_id:
            self.blame("no doubles", f"{job.key} was stored as {job.id} and as {job_id}")

    def _hold_unique(self, job: Job) -> None:
        if job.unique is None:
            return
        name = (job.queue, job.unique)
        holder = self.jobs.get(self._uniques.get(name, ""))
        if holder is not None and holder.over is None and not holder.may_be_over:
            alive = not holder.buried and not holder.deliveries and holder.expires_ms is None
            if alive:
                what = f"{job.key} was stored beside {holder.key}, both called {job.unique}"
                self.blame("one unfinished job per unique name", what)
        self._uniques[name] = job.key

    def _check_existing(self, job: Job, job_id: str, at: float) -> None:
        holder = self.by_id.get(job_id)
        if holder is None:
            return  # Enqueued by a request whose outcome is unknown, or forgotten meanwhile.
        if holder.unique != job.unique or holder.queue != job.queue:
            self.blame("one unfinished job per unique name", f"{job.key} got the id of another job")
        elif holder.over is not None and holder.over < job.sent:
            what = f"{job.key} was not stored for {holder.key}, which had ended as {holder.how}"
            self.blame("one unfinished job per unique name", what)

    def _refused(self, line: Line) -> None:
        for key in line["keys"]:
            job = self.jobs.get(key)
            if job is None:
                continue
            if self._unbroken(job.sent, line["t"]) and job.deliveries:
                self.blame("nothing from nowhere", f"{key} was refused and delivered")
            if self._unbroken(job.sent, line["t"]):
                self.drop(job)
            job.unanswered = False
        self.counts["refused"] += len(line["keys"])

    def _unbroken(self, begin: float, end: float) -> bool:
        return not any(begin <= at <= end for at in self.breaks)

    # ---- deliveries ----------------------------------------------------------------------

    def _got(self, line: Line) -> None:
        for item in line["jobs"]:
            job = self.jobs.get(item["k"])
            self.counts["deliveries"] += 1
            if job is None:
                what = f"{item['k']} ({item['id']}) was never sent, or ended long ago"
                self.blame("nothing from nowhere", f"{what}; {line['who']} got it")
                continue
            self._learn_id(job, item["id"])
            self._check_delivery(job, item, line)
            held = Delivery(item["n"], line["who"], line["asked"], line["lease"])
            self._check_leases(job, held, line["t"])
            if not job.deliveries and not job.delayed:
                self.start_ms.append(1e3 * (line["t"] - job.sent))
            job.deliveries.append(held)
            job.attempts = max(job.attempts, held.attempt)
            self._check_after_end(job, held)

    def _check_delivery(self, job: Job, item: Line, line: Line) -> None:
        if item["h"] != job.hash:
            self.blame("nothing from nowhere", f"{job.key} was changed on its way")
        if line["w"] < job.not_before_ms:
            early = job.not_before_ms - line["w"]
            self.blame("never before its time", f"{job.key} came {early:.0f} ms too early")
        if any(item["n"] == earlier.attempt for earlier in job.deliveries):
            self.blame("exclusive", f"{job.key} attempt {item['n']} was given out twice")
        if item["n"] > job.attempts:
            if not job.fails <= item["used"] < item["n"]:
                what = f"{job.key} attempt {item['n']} says {item['used']} were used up"
                self.blame("attempts counted right", f"{what}; {job.fails} failures were confirmed")
            if 0 < job.attempts_max <= job.fails:
                what = f"{job.key} came again after {job.fails} failures of {job.attempts_max}"
                self.blame("attempts counted right", what)
            if job.checkpoints and item.get("cp", "") not in job.checkpoints:
                self.blame(
                    "checkpoints hold", f"{job.key} attempt {item['n']} came without its own"
                )
            if "cp" in item:
                job.checkpoints = {item["cp"]} if item["cp"] else set()

    def _check_leases(self, job: Job, held: Delivery, got: float) -> None:
        for earlier in job.deliveries:
            if earlier.attempt >= held.attempt or earlier.given_up is not None:
                continue
            if got < earlier.asked + earlier.lease_s:
                what = f"{job.key} attempt {held.attempt} came {got - earlier.asked:.3f} s after"
                more = f"attempt {earlier.attempt} of {earlier.who}, leased for {earlier.lease_s} s"
                self.blame("exclusive", f"{what} {more}")

    def _check_after_end(self, job: Job, held: Delivery) -> None:
        if job.over is None or job.over_attempt == held.attempt:
            return
        if held.asked > job.over or 0 < job.over_attempt < held.attempt:
            what = f"{job.key} attempt {held.attempt} came after it was confirmed as {job.how}"
            self.blame("no confirmed end undone", what)

    # ---- what becomes of them --------------------------------------------------------------

    def _settle(self, line: Line) -> None:
        job = self.by_id.get(line["id"])
        if job is None:
            return
        how = line["how"]
        if how in ("note", "extend"):
            if "cp" in line:
                job.checkpoints = (job.checkpoints or {""}) | {line["cp"]}
            return
        for held in job.deliveries:
            if held.attempt == line["n"] and held.given_up is None:
                held.given_up = line["t"]
        if how == "ack" and not job.may_be_over:
            job.may_be_over = "acked"
        # Until it is refused, the pause that was asked for may count; never a longer one.
        job.not_before_ms = 0.0

    def _settled(self, line: Line) -> None:
        job = self.by_id.get(line["id"])
        if job is None:
            return
        how = line["how"]
        self.counts[f"{how} done"] += 1
        if how == "ack":
            self.end(job, line["t"], "succeeded", line["n"])
        elif how == "note" and "cp" in line and job.attempts == line["n"]:
            job.checkpoints = {line["cp"]}
        elif how == "fail" and line["since"] > job.replayed:
            job.fails += 1
            if line.get("state") == "cancelled":
                self.end(job, line["t"], "cancelled", line["n"])
            job.buried = line.get("state") == "dead"
        if "again" in line and job.attempts == line["n"]:
            job.not_before_ms = line["again"]

    def _settle_refused(self, line: Line) -> None:
        job = self.by_id.get(line["id"])
        self.counts["settles refused"] += 1
        if job is not None and line["how"] == "ack" and self._unbroken(line["since"], line["t"]):
            job.may_be_over = "" if job.may_be_over == "acked" else job.may_be_over

    def _ended_line(self, line: Line) -> None:
        job = self.by_id.get(line["id"])
        if job is not None:
            self.end(job, line["t"], line["how"])

    def _meant(self, line: Line) -> None:
        """Somebody means to end a job from outside: it may be gone from now on."""
        job = self.by_id.get(line["id"])
        if job is not None:
            job.may_be_over = line["how"]

    def _replay(self, line: Line) -> None:
        job = self.by_id.get(line["id"])
        if job is not None:
            job.fails, job.buried, job.expires_ms, job.not_before_ms = 0, False, None, 0.0
            job.replayed = line["t"]
            self.counts["replays"] += 1

    def _unknown(self, line: Line) -> None:
        for key in line["keys"]:
            if key in self.jobs:
                self.jobs[key].unanswered = False

    def _killed(self, line: Line) -> None:
        """A worker or producer ended. Its leases hold until they run out; what it sent is sent."""
        self.counts[f"{line['whom']} {line['how']}"] += 1
        for job in self.jobs.values():
            if job.unanswered and job.key.startswith(f"{line['name']}-"):
                job.unanswered = False

    def _holding(self, line: Line) -> None:
        self.holding[line["who"]] = line["number"]

    def _broken(self, line: Line) -> None:
        self.counts[f"broker {line['how']}"] += 1
        self.breaks.append(line["t"])

    def _fault(self, line: Line) -> None:
        self.blame(line["promise"], line["what"])

    def _odd(self, line: Line) -> None:
        """Something that is a fault unless a broken connection repeated a request meanwhile."""
        if self._unbroken(line["since"], line["t"]):
            self.blame(line["promise"], line["what"])

    def _did(self, line: Line) -> None:
        self.counts[line["what"]] += line.get("times", 1)


_TOLD = {
    "send": Ledger._send,
    "sent": Ledger._sent,
    "refused": Ledger._refused,
    "got": Ledger._got,
    "settle": Ledger._settle,
    "settled": Ledger._settled,
    "settle refused": Ledger._settle_refused,
    "ended": Ledger._ended_line,
    "meant": Ledger._meant,
    "replay": Ledger._replay,
    "unknown": Ledger._unknown,
    "killed": Ledger._killed,
    "holding": Ledger._holding,
    "broken": Ledger._broken,
    "fault": Ledger._fault,
    "odd": Ledger._odd,
    "did": Ledger._did,
}
