"""The plainest model of the promises: what was asked and answered at the broker's door, and no more.

It hears every request as it arrives at the broker and every reply as it leaves, and shares no
code with the engine. What was asked and not answered is unknown: neither done nor not done.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.sim.history import History
from tests.sim.known import Job, Lease, Request

CLOCK_SLACK_MS = 10_000
"""How far the broker's wall clock may be set back without being believed (documented)."""

MEMORY_QUEUE = "mem"
"""Its jobs live as long as the broker's process."""

FINAL_OPS = ("ack", "fail", "release")


class Ledger:
    """All jobs, by what they carry and by their ids."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.remembers = False
        """Whether the broker remembers every settled attempt of its life."""
        self.set_back = False
        """Whether the broker's wall clock was set back so far that it was believed."""
        self.steady = True
        """Whether the broker's clocks go alike."""
        self.by_key: dict[bytes, Job] = {}
        self.by_id: dict[bytes, Job] = {}
        self.requests: dict[tuple[bytes, int], Request] = {}
        self.by_name: dict[tuple[str, str], list[Job]] = {}
        """Those that have a unique name, by queue and name."""
        self.high_wall_ms = 0
        self.wall_ms = 0
        self.latest_wall_ms = 0
        self.life = 0
        self.life_began_us = 0
        self.settings: dict[str, dict[str, Any]] = {}
        self._auto_acks: Counter[str] = Counter()
        """How many reserves that end what they take wait for each queue."""

    def blame(self, name: str, what: str) -> None:
        """A promise was broken."""
        self.history.blame(name, what)

    # ---- clocks and lives ----------------------------------------------------------------------

    def see_clock(self, wall_ms: int) -> None:
        """The broker looked at its wall clock; small steps back are held."""
        self.wall_ms = wall_ms
        self.latest_wall_ms = max(self.latest_wall_ms, wall_ms)
        if self.high_wall_ms - wall_ms > CLOCK_SLACK_MS:
            self.set_back = True
            # What was due once is due, whatever the clock is set to afterwards.
            for job in self.by_key.values():
                if self.was_due(job):
                    job.due_wall_ms = job.retry_floor_ms = 0
        if wall_ms >= self.high_wall_ms or self.high_wall_ms - wall_ms > CLOCK_SLACK_MS:
            self.high_wall_ms = wall_ms

    def broker_started(self, life: int, now_us: int, ended_us: int) -> None:
        """All leases that held when the last life ended hold again for their full length."""
        self.life, self.life_began_us = life, now_us
        self._auto_acks.clear()
        for job in self.by_key.values():
            if job.queue == MEMORY_QUEUE and life > 1:
                self._forget(job)
            lease = job.leases[-1] if job.leases else None
            if lease is not None and not lease.done and lease.hold_until_us > ended_us:
                lease.hold_until_us = max(lease.hold_until_us, end_us(now_us, lease.lease_ms))

    def _forget(self, job: Job) -> None:
        """A job of a memory queue went with the process; its request may store it anew."""
        if self.by_id.get(job.id) is job:
            del self.by_id[job.id]
        job.id, job.ended, job.confirmed_us = b"", "", 0
        job.refused = job.joined = job.to_be_cancelled = False
        job.leases.clear()
        job.asked.add("purge")

    # ---- enqueue -----------------------------------------------------------------------------

    def enqueue_arrives(self, now_us: int, args: list[Any], parse: Any) -> Request | None:
        """A request to store jobs is at the broker's door."""
        padded: list[Any] = [*args, None, None, None, None]
        queue, items, producer, sequence, defaults = padded[:5]
        known = self.requests.get((producer, sequence))
        content = (queue, repr(items), repr(defaults))
        if known is not None:
            self.history.reach("repeated enqueues")
            if known.content != content:
                self.blame("idempotent retries", f"sequence {sequence} was used for something else")
            for job in known.jobs:
                job.arrivals += 1
                job.arrived_us = now_us
                # It may have been refused, nobody have heard of it, and there be room now.
                job.refused = False
                if not job.confirmed_us:
                    # The first may not have been stored, and the clock have been set back since.
                    job.due_wall_ms = min(job.due_wall_ms, self._due(job.options))
            return known
        jobs = []
        for item in items:
            body, own = item if isinstance(item, list) else (item, None)
            options = {**(defaults or {}), **(own or {})}
            job = Job(parse(body), queue, body, options, now_us, self.wall_ms)
            job.arrived_us = now_us
            job.due_wall_ms = self._due(options)
            if job.key in self.by_key:
                # The harness sends each once: a client repeats under another sequence.
                self.blame("idempotent retries", f"{job.key!r} was sent under two sequences")
            self.by_key[job.key] = job
            if self._auto_acks[queue]:
                job.asked.add("auto_ack")
            jobs.append(job)
            job.request = (producer, sequence)
            if options.get("unique"):
                self.by_name.setdefault((queue, options["unique"]), []).append(job)
        request = self.requests[producer, sequence] = Request(content, jobs)
        return request

    def _due(self, options: dict[str, Any]) -> int:
        """When a job may come that is stored now."""
        return self.wall_ms + int(options.get("delay_ms") or 0)

    def enqueue_answered(self, now_us: int, request: Request, status: int, body: Any) -> None:
        """The reply to it leaves."""
        if status:
            self.history.reach(f"enqueue refused {body[0]}")
            for job in request.jobs:
                if body[0] != "SEQUENCE_TOO_OLD" and not job.confirmed_us and not job.leases:
                    job.refused = True
            return
        ids, existing = body[0], set(body[1] or ())
        if len(ids) != len(request.jobs):
            self.blame("nothing from nowhere", "more or fewer ids than jobs")
            return
        for index, (job, job_id) in enumerate(zip(request.jobs, ids, strict=True)):
            if index in existing:
                self._joined(job, job_id)
                continue
            if job.joined:
                self.blame("idempotent retries", f"{job.key!r} was held, and is stored now")
            if not job.confirmed_us:
                job.confirmed_us = now_us
                self.history.reach("enqueues confirmed")
            job.refused = False
            self._name(job, job_id)

    def _joined(self, job: Job, job_id: bytes) -> None:
        self.history.reach("unique names held")
        if job.confirmed_us or job.leases:
            self.blame("idempotent retries", f"{job.key!r} was stored, and is called existing now")
        job.joined = True
        if not job.options.get("unique"):
            self.blame("nothing from nowhere", f"{job.key!r} has no unique name and was not stored")

    def _name(self, job: Job, job_id: bytes) -> None:
        if job.id and job.id != job_id:
            self.blame("idempotent retries", f"{job.key!r} is {job.id.hex()} and {job_id.hex()}")
        other = self.by_id.setdefault(job_id, job)
        if other is not job:
            self.blame("nothing from nowhere", f"{job_id.hex()} is {other.key!r} and {job.key!r}")
        job.id = job_id

    def auto_ack_arrives(self, queues: list[str]) -> None:
        """A reserve that ends what it takes: what is there, and as long as it waits what comes."""
        self._auto_acks.update(queues)
        for job in self.by_key.values():
            if job.queue in queues:
                job.asked.add("auto_ack")

    def auto_ack_answered(self, queues: list[str]) -> None:
        """It waits no longer."""
        self._auto_acks.subtract(queues)

    # ---- deliveries ----------------------------------------------------------------------------

    def delivered(
        self, now_us: int, floor_us: int, session: bytes, row: list[Any], parse: Any
    ) -> Job | None:
        """A job leaves the broker."""
        job_id, attempt, queue, lease_ms, _, body, most, used = row[:8]
        job = self.by_key.get(parse(body))
        if job is None or job.body != body:
            self.blame("nothing from nowhere", f"{job_id.hex()} carries what nobody sent")
            return None
        self._name(job, job_id)
        # What is given away has ended when it is decided, and of a memory queue that counts at once,
        # though the reply may wait for a commit.
        self._check_name(job, now_us if lease_ms else floor_us)
        self.history.reach("deliveries")
        self.history.reach("redeliveries", int(attempt > 1))
        self._check_may_come(job, floor_us, queue)
        if attempt <= (job.leases[-1].attempt if job.leases else 0):
            self.blame("attempts counted", f"{job.key!r}: attempt {attempt} after a later one")
        elif job.leases and not self._over(job.leases[-1], now_us):
            self.blame(
                "one holder",
                f"{job.key!r}: attempt {attempt} left while {job.leases[-1]} held it",
            )
        first_seen = not job.leases and attempt > 1
        if not self.was_due(job) and not first_seen:
            early = max(job.due_wall_ms, job.retry_floor_ms) - self.high_wall_ms
            self.blame("never before its time", f"{job.key!r} left {early} ms early")
        job.due_wall_ms = job.retry_floor_ms = 0
        self._check_counted(job, attempt, most, used)
        self._check_expiry(job, attempt, floor_us)
        lease = Lease(
            attempt, session, now_us, floor_us, lease_ms, end_us(floor_us, lease_ms), self.life
        )
        lease.ends_by_us = now_us + lease_ms * 1000
        job.leases.append(lease)
        if lease_ms == 0:
            job.ended = "succeeded"
            job.asked.add("auto_ack")
            lease.done = "ack"
            self.history.reach("auto acks")
        return job

    def _check_name(self, job: Job, until_us: int) -> None:
        """From its confirmation until then it was unfinished: its name kept all others out."""
        name = job.options.get("unique")
        if not name or not job.confirmed_us or "replay" in job.asked:
            return
        for other in self.by_name[job.queue, name]:
            if other.confirmed_us and job.confirmed_us < other.sent_us <= until_us:
                self.blame(
                    "one of a name", f"{other.key!r} was stored while {job.key!r} was {name}"
                )

    def was_due(self, job: Job) -> bool:
        """Whether its time has come by the broker's clock."""
        return self.high_wall_ms >= max(job.due_wall_ms, job.retry_floor_ms)

    def _check_may_come(self, job: Job, floor_us: int, queue: str) -> None:
        if job.queue != queue:
            self.blame("nothing from nowhere", f"{job.key!r} of {job.queue} came from {queue}")
        if job.refused:
            self.blame("nothing from nowhere", f"{job.key!r} was refused and is delivered")
        if job.joined:
            self.blame("nothing from nowhere", f"{job.key!r} was another's and is delivered")
        if job.to_be_cancelled:
            self.blame("no confirmed end undone", f"{job.key!r} was cancelled while it was held")
        if job.ended and not ("replay" in job.asked and job.ended == "dead"):
            self.blame("no confirmed end undone", f"{job.key!r} had {job.ended} and is delivered")

    def _check_expiry(self, job: Job, attempt: int, floor_us: int) -> None:
        lives_ms = job.options.get("expires_in_ms")
        if not lives_ms or attempt > 1 or not self.steady or "replay" in job.asked:
            return
        self.history.reach("expiries compared")
        if floor_us // 1000 >= job.arrived_us // 1000 + lives_ms:
            self.blame("never after its time", f"{job.key!r} had expired, and is delivered")

    def _over(self, lease: Lease, now_us: int) -> bool:
        return bool(lease.asked) or lease.given_back or now_us >= lease.hold_until_us

    def _check_counted(self, job: Job, attempt: int, most: int, used: int) -> None:
        if "replay" in job.asked:
            return
        at_least = sum(lease.done == "fail" for lease in job.leases)
        at_most = attempt - 1 - sum(lease.done == "release" for lease in job.leases)
        if not at_least <= used <= at_most:
            self.blame(
                "attempts counted",
                f"{job.key!r}: {used} used before attempt {attempt}, not {at_least} to {at_most}",
            )
        if used >= most:
            self.blame("attempts counted", f"{job.key!r}: {used} of {most} used, and delivered")
        wanted = job.options.get("max_attempts")
        if wanted and wanted != most:
            self.blame("attempts counted", f"{job.key!r}: at most {wanted}, and told {most}")

    # ---- settling ------------------------------------------------------------------------------

    def lease_of(self, job_id: bytes, attempt: int) -> tuple[Job, Lease] | None:
        """The delivery that a token names."""
        job = self.by_id.get(job_id)
        if job is None:
            return None
        return next(((job, lease) for lease in job.leases if lease.attempt == attempt), None)

    def settle_arrives(self, now_us: int, op: str, items: list[list[Any]]) -> None:
        """A worker names tokens."""
        for entry in items:
            found = self.lease_of(entry[0], entry[1])
            if found is None:
                continue
            lease = found[1]
            if op in FINAL_OPS:
                lease.asked_wall_ms = lease.asked_wall_ms or self.wall_ms
                lease.asked.append(op)
            elif len(entry) > 2 and entry[2] < lease.lease_ms:
                # It may be shorter from here on, whether or not somebody hears of it.
                lease.lease_ms = entry[2]
                lease.hold_until_us = min(lease.hold_until_us, end_us(now_us, entry[2]))

    def settled(
        self, now_us: int, arrived_us: int, op: str, entry: list[Any], outcome: Any
    ) -> None:
        """The outcome of one item leaves."""
        found = self.lease_of(entry[0], entry[1])
        if found is None:
            if op in FINAL_OPS and (outcome == 0 or outcome[0] == 0):
                self.blame("one holder", f"a token that was never given out: {entry[0].hex()}")
            return
        job, lease = found
        if outcome != 0 and outcome[0] == 1:
            self.history.reach(f"{op} refused {outcome[1]}")
            if outcome[1] == "STORE_FULL":
                self.blame("a full store", f"{job.key!r}: {op} was refused")
            if outcome[1] == "LEASE_LOST":
                self._check_lost(job, lease, arrived_us, op)
            return
        info = {} if outcome == 0 else outcome[1]
        if job.leases[-1] is not lease and not info.get("repeated"):
            self.blame("one holder", f"{job.key!r}: {op} of a stale attempt {lease.attempt}")
        self.history.reach(f"{op} repeated" if info.get("repeated") else f"{op} done")
        if op == "extend":
            if len(entry) > 2:
                lease.lease_ms = entry[2]
            lease.hold_until_us = max(lease.hold_until_us, end_us(arrived_us, lease.lease_ms))
            lease.ends_by_us = now_us + lease.lease_ms * 1000
        elif op in FINAL_OPS and (not info.get("repeated") or set(lease.asked) == {op}):
            self._end_lease(now_us, job, lease, op, entry, info)

    def _check_lost(self, job: Job, lease: Lease, arrived_us: int, op: str) -> None:
        """A lease that surely holds must not be called lost."""
        alone = lease.asked == ([op] if op in FINAL_OPS else [])
        if job.leases[-1] is lease and lease.done == op and lease.life == self.life:
            self.history.reach(f"{op} refused after it was done")
            if self.remembers:
                self.blame("idempotent retries", f"{job.key!r}: {op} was done, and is refused now")
        holds = job.leases[-1] is lease and alone and not lease.given_back and not job.ended
        if holds and arrived_us < lease.hold_until_us:
            left_ms = (lease.hold_until_us - arrived_us) // 1000
            self.blame("one holder", f"{job.key!r}: {op} refused {left_ms} ms before its end")

    def _end_lease(
        self, now_us: int, job: Job, lease: Lease, op: str, entry: list[Any], info: dict[str, Any]
    ) -> None:
        lease.done = op
        if op == "ack":
            job.ended = "succeeded"
        elif op == "release":
            delay_ms = (entry[2] if len(entry) > 2 else 0) or 0
            if delay_ms and not job.options.get("expires_in_ms"):
                job.retry_floor_ms = self._floor(lease.asked_wall_ms + delay_ms)
        elif info.get("state") in ("dead", "cancelled"):
            job.ended = info["state"]
            self.history.reach(f"died of {info.get('reason')}")
            if info.get("reason") == "attempts":
                most = job.options.get("max_attempts") or self.settings[job.queue]["max_attempts"]
                if lease.attempt < most and "replay" not in job.asked:
                    self.blame("attempts counted", f"{job.key!r} died after {lease.attempt}")
        elif "state" in info:
            job.retry_floor_ms = self._floor(info["ready_at_ms"])
            lease.crashed = entry[2].get("kind") == "crashed"
            self._check_poison(job)

    def _floor(self, ready_at_ms: int) -> int:
        """When it may come; 0 if it may have been due before the clock was set back."""
        # The reply may leave after the clock was set back, and the job have been taken before.
        return 0 if self.set_back and ready_at_ms <= self.latest_wall_ms else ready_at_ms

    def _check_poison(self, job: Job) -> None:
        most = self.settings[job.queue]["poison_after"]
        crashes = sum(lease.crashed for lease in job.leases)
        if most and crashes >= most and "replay" not in job.asked:
            self.blame("attempts counted", f"{job.key!r} lives on after {crashes} crashes")


def end_us(began_us: int, lease_ms: int) -> int:
    """When a lease may end, to the microsecond."""
    return began_us + lease_ms * 1000
