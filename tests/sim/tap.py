"""Listens at the broker's door: frames that arrive, frames that leave, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tenure_protocol.frames import FrameDecoder
from tenure_protocol.wire import unpack
from tests.sim.broker import Lives
from tests.sim.known import Job, Request
from tests.sim.ledger import FINAL_OPS, MEMORY_QUEUE, Ledger
from tests.sim.net import End

LATE_US = 50_000
LATE_STEPS = 15
"""Later than this, and so many steps of the network and the disk, is too late where nothing
delays the system."""

MAY_WAIT = ("reserve", "wait")
"""Operations whose replies may come much later."""


@dataclass(slots=True)
class Asked:
    """A request that arrived and is not answered."""

    op: str
    args: Any
    at_us: int
    enqueue: Request | None = None
    full_since_us: int = 0
    """Since when the store had been full, or 0."""


class Line:
    """One connection, heard from the broker's side."""

    def __init__(self) -> None:
        self.coming, self.going = FrameDecoder(1 << 26), FrameDecoder(1 << 26)
        self.session = b""
        self.asked: dict[int, Asked] = {}


class Tap:
    """Tells the ledger what passes the door."""

    def __init__(self, lives: Lives, ledger: Ledger) -> None:
        self._lives = lives
        self._ledger = ledger
        self._history = lives.history
        self._lines: dict[End, Line] = {}
        self._sealed_us = [0, 0]
        plan = lives.plan
        step_us = plan.latency_us + plan.sync_us + plan.commit_us
        strict = plan.calm and plan.leases_max > 100
        self.strict_us = LATE_US + LATE_STEPS * step_us if strict else 0
        self._full_since_us = 0
        self.crash_after: str | None = None
        """A reply to this operation is the last thing that the broker says."""
        self.crash_within: str | None = None
        """The broker ends before the record is written with which this operation would count."""
        net = lives.net
        net.on_arrived, net.on_left = self.arrived, self.left

    def sealed(self) -> None:
        """The broker submitted a batch."""
        self._sealed_us = [self._sealed_us[1], self._lives.loop.now_us]
        self._look_at_room()

    def _look_at_room(self) -> None:
        hub, now_us = self._lives.hub, self._lives.loop.now_us
        full = hub is not None and hub.capacity.level == "full"
        self._full_since_us = (self._full_since_us or now_us) if full else 0

    # ---- bytes -------------------------------------------------------------------------------

    def arrived(self, end: End, data: bytes) -> None:
        """Bytes reach the broker."""
        line = self._lines.setdefault(end, Line())
        self._look_at_room()
        # The ledger sees the clock that the broker will see now, and not the one before a jump.
        self._lives.clock()
        for body in line.coming.feed(data):
            request_id, op, args = unpack(body)[:3]
            self._history.note(end.label, "->", op, request_id, _brief(op, args))
            self._history.reach(f"op {op}")
            line.asked[request_id] = self._asked(line, op, args)

    def left(self, end: End, data: bytes) -> None:
        """Bytes leave the broker."""
        lives = self._lives
        latched = lives.latched_life == lives.number
        line = self._lines.setdefault(end, Line())
        self._look_at_room()
        for body in line.going.feed(data):
            request_id, status, content = unpack(body)[:3]
            if latched and request_id:
                # What it says of no request, to a peer that forgot its hello, is not about jobs.
                self._ledger.blame("fail-stop", "the broker answers after its disk failed")
            asked = line.asked.pop(request_id, None)
            if asked is None:
                self._history.note(end.label, "<-", request_id, status, content)
                continue
            shown = _brief_reply(asked.op, content) if status == 0 else content[0]
            self._history.note(end.label, "<-", asked.op, request_id, status, shown)
            self._answered(line, asked, status, content)
            if self.crash_after == asked.op and status == 0:
                self.crash_after = None
                self._history.reach(f"crash after {asked.op} was confirmed")
                lives.loop.call_soon(lambda: lives.crash(power=True, why="just confirmed"))

    # ---- requests ------------------------------------------------------------------------------

    def _asked(self, line: Line, op: str, args: Any) -> Asked:
        ledger, now_us = self._ledger, self._lives.loop.now_us
        asked = Asked(op, args, now_us, full_since_us=self._full_since_us)
        if self.crash_within == op:
            self.crash_within = None
            self._history.reach(f"crash within {op}")
            self._lives.disk.armed, self._lives.disk.armed_skips = "journal.before_write", 0
        if op == "hello":
            return asked
        if op == "enqueue":
            asked.enqueue = ledger.enqueue_arrives(now_us, args, key_of)
        elif op in FINAL_OPS or op == "extend":
            ledger.settle_arrives(now_us, op, args[0])
        elif op in ("keep", "goodbye"):
            kept = {(entry[0], entry[1]) for entry in (args[0] if args else None) or ()}
            self._given_back(line.session, kept)
        elif op == "cancel":
            for job_id in args[0]:
                self._mark(ledger.by_id.get(job_id), "cancel")
        elif op in ("queue.purge", "dlq.replay", "dlq.purge"):
            self._asked_for_many(op, args)
        elif op == "reserve" and len(args) > 4 and args[4]:
            ledger.auto_ack_arrives(_queues(args))
        return asked

    def _mark(self, job: Job | None, what: str) -> None:
        if job is not None:
            job.asked.add(what)

    def _given_back(self, session: bytes, kept: set[tuple[bytes, int]]) -> None:
        for job in self._ledger.by_id.values():
            if job.leases and job.leases[-1].session == session:
                lease = job.leases[-1]
                if (job.id, lease.attempt) not in kept:
                    lease.given_back = True

    def _asked_for_many(self, op: str, args: dict[str, Any]) -> None:
        what = {"queue.purge": "purge", "dlq.replay": "replay", "dlq.purge": "purge_dead"}[op]
        ids = args.get("ids")
        if ids is not None and not set(ids) <= self._ledger.by_id.keys():
            # Of a job whose confirmation and deliveries all got lost the id is not known.
            ids = [*ids, b""]
        for job in self._ledger.by_key.values():
            if job.queue == args["queue"] and (ids is None or job.id in ids):
                job.asked.add(what)
                if what == "replay" and (ids is not None or self._ledger.was_due(job)):
                    job.retry_floor_ms = job.due_wall_ms = 0

    # ---- replies -------------------------------------------------------------------------------

    def _answered(self, line: Line, asked: Asked, status: int, content: Any) -> None:
        ledger, now_us, op = self._ledger, self._lives.loop.now_us, asked.op
        if self.strict_us and op not in MAY_WAIT and now_us - asked.at_us > self.strict_us:
            late_s = (now_us - asked.at_us) / 1e6
            ledger.blame("in time", f"{op} was answered after {late_s:.3f} s")
        if op == "hello":
            if status == 0:
                line.session = content["session"]
                self._history.reach("sessions resumed", int(content["resumed"]))
        elif op == "enqueue" and asked.enqueue is not None:
            self._check_room(asked, asked.enqueue, status)
            ledger.enqueue_answered(now_us, asked.enqueue, status, content)
        elif status:
            self._history.reach(f"refused {content[0]}")
            if content[0] in ("STORE_FULL", "QUEUE_FULL"):
                ledger.blame("a full store", f"{op} was refused as {content[0]}")
        elif op == "reserve":
            if len(asked.args) > 4 and asked.args[4]:
                ledger.auto_ack_answered(_queues(asked.args))
            self._delivered(line, asked, content)
        elif op in FINAL_OPS or op == "extend":
            for entry, outcome in zip(asked.args[0], content, strict=True):
                ledger.settled(now_us, asked.at_us, op, entry, outcome)
        elif op == "cancel":
            for job_id, outcome in zip(asked.args[0], content, strict=True):
                job = ledger.by_id.get(job_id)
                if job is not None and outcome[0] == 0 and outcome[1]["state"] == "cancelled":
                    job.ended = "cancelled"
                    self._history.reach("cancelled while waiting")
                elif outcome[0] == 0:
                    self._history.reach("cancel asked of a leased job")
                    if job is not None:
                        job.to_be_cancelled = True

    def _check_room(self, asked: Asked, request: Request, status: int) -> None:
        """All the time from its arrival to its reply there was no room for it."""
        since_us, job = asked.full_since_us, request.jobs[0]
        if not since_us or since_us != self._full_since_us or job.queue == MEMORY_QUEUE:
            return
        self._history.reach("enqueues while the store was full")
        if status == 0 and job.arrivals == 1:
            self._ledger.blame("a full store", f"{job.key!r} was taken")

    def _delivered(self, line: Line, asked: Asked, rows: list[list[Any]]) -> None:
        ledger, now_us = self._ledger, self._lives.loop.now_us
        if len(rows) > (asked.args[1] or 1):
            ledger.blame("memory bounds", f"{len(rows)} jobs for a reserve of {asked.args[1]}")
        # No lease is older than the request for it, or than the batch before its own.
        floor_us = max(self._sealed_us[0], ledger.life_began_us, asked.at_us)
        for at, row in enumerate(rows):
            job = ledger.delivered(now_us, floor_us, line.session, row, key_of)
            if job is not None:
                job.leases[-1].row = at
            if job is not None and len(job.leases) == 1:
                self._check_late(job, asked, now_us)
            elif job is not None:
                self._check_late_again(job, asked, now_us)
        if not rows:
            self._history.reach("empty reserves")
            self._check_missed(asked, now_us)

    def _ready_us(self, job: Job) -> int:
        # Asked only where the clocks go alike. What the broker's clock showed last may be old.
        return max(job.confirmed_us, job.sent_us + (job.options.get("delay_ms") or 0) * 1000)

    def _check_late(self, job: Job, asked: Asked, now_us: int) -> None:
        if not self.strict_us or not job.confirmed_us or "pausing" in self._lives.plan.features:
            return
        self._history.reach("lateness looked at")
        late_us = now_us - max(self._ready_us(job), asked.at_us)
        if late_us > self.strict_us:
            self._ledger.blame("in time", f"{job.key!r} left {late_us / 1e6:.3f} s late")

    def _check_late_again(self, job: Job, asked: Asked, now_us: int) -> None:
        """The one before went silent: its lease ended at its time, and not when somebody looked."""
        before, after = job.leases[-2:]
        quiet = not before.asked and not before.given_back and after.attempt == before.attempt + 1
        if not self.strict_us or not quiet or job.asked or "pausing" in self._lives.plan.features:
            return
        self._history.reach("lateness of lost leases looked at")
        late_us = now_us - max(before.ends_by_us, asked.at_us)
        if late_us > self.strict_us:
            self._ledger.blame("in time", f"{job.key!r} came again {late_us / 1e6:.3f} s late")

    def _check_missed(self, asked: Asked, now_us: int) -> None:
        if not self.strict_us or "pausing" in self._lives.plan.features:
            return
        queues = _queues(asked.args)
        for job in self._ledger.by_id.values():
            if job.queue in queues and not job.leases and not job.ended and not job.asked:
                expires = job.options.get("expires_in_ms") or job.options.get("unique")
                ready_us = max(self._ready_us(job), asked.at_us)
                if not expires and job.confirmed_us and now_us - ready_us > self.strict_us:
                    self._ledger.blame("in time", f"{job.key!r} was due, and the reserve got none")


def _queues(args: Any) -> list[str]:
    """Those that a reserve names, with or without weights."""
    return [each[0] if isinstance(each, list) else each for each in args[0]]


def key_of(body: bytes) -> bytes:
    """What names a job: the part of its payload before the first bar."""
    payload: bytes = unpack(body)[1]
    return payload.partition(b"|")[0]


def _brief(op: str, args: Any) -> object:
    if op == "enqueue":
        bodies = [item[0] if isinstance(item, list) else item for item in args[1]]
        options = [item[1] if isinstance(item, list) else None for item in args[1]]
        return [args[0], [key_of(body).decode() for body in bodies], args[3], options, args[4:]]
    return args


def _brief_reply(op: str, content: Any) -> object:
    if op == "reserve":
        return [[key_of(row[5]).decode(), row[1], row[3], row[7]] for row in content]
    if op == "hello":
        return [content["resumed"], content["session"].hex()]
    if op in ("get", "wait"):
        return [content["state"], content["attempt"]]
    if op in ("peek", "dlq.list"):
        return [(key_of(job["body"]).decode(), job["state"]) for job in content["jobs"]]
    return content
