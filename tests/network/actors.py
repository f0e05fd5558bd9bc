"""What clients do while the weather is bad: each actor is one thread, and writes all of it down."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tenure import LeasedJob, NewJob
from tenure.errors import BrokerError, PartlyEnqueued, TenureError
from tests.network.callers import Caller
from tests.network.record import Record

LEASE_S = 1.5
"""How long the leases of the load last: what a lost reply took along comes back after it."""

WAIT_S = 0.2
RETRY_S = 0.1
CUT_SHORT_S = 0.15
_PAUSE_S = 0.004


@dataclass
class Actor:
    """Who acts, with which client, on which queues, and how."""

    who: str
    caller: Caller
    record: Record
    seed: int
    queue: str
    timeout_s: float
    small: bool = False
    strict: bool = True
    tolerant: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.random = random.Random(f"{self.seed} {self.who}")
        self.number = 0

    def call(self, method: str, *args: Any, wait_s: float = 0.0, **options: Any) -> Any:
        """A call of the client, timed; sometimes its caller loses patience."""
        limit_s = self.timeout_s * (2 if method == "enqueue_many" else 1) + wait_s
        if self.random.random() < 0.03:

            def do() -> Any:
                return self.caller.cut_short(CUT_SHORT_S, method, *args, **options)
        else:

            def do() -> Any:
                return self.caller.call(method, *args, **options)

        return self.record.timed(self.who, method, limit_s, do, strict=self.strict)

    def payload(self, key: str) -> bytes:
        """Bytes that nobody else sends."""
        most = 120 if self.small or self.random.random() < 0.95 else 20_000
        return f"{key}|".encode() + self.random.randbytes(self.random.randrange(most))


Act = Callable[[Actor], None]


def perform(actor: Actor, act: Act) -> None:
    """Act until it is told to stop. What a client must not raise is written down, and ends it."""
    try:
        while not actor.stop.is_set():
            act(actor)
            actor.stop.wait(actor.random.random() * _PAUSE_S)
    except BaseException as error:
        actor.record.write(actor.who, "crashed", error=repr(error))
        if not isinstance(error, Exception):
            raise


# -- producing ----------------------------------------------------------------------------


def produce(actor: Actor) -> None:
    """Enqueue one job, some, or one for later."""
    [how] = actor.random.choices(["one", "many", "later"], [6, 2, 1])
    count = 1 if how != "many" else actor.random.choice([2, 10, 5 if actor.small else 60])
    jobs: dict[str, bytes] = {}
    for _ in range(count):
        actor.number += 1
        later = how == "later"
        key = f"{actor.who}.d{actor.number}-0" if later else f"{actor.who}-{actor.number}"
        jobs[key] = actor.payload(key)
    delay_s = actor.random.uniform(0.05, 0.4)
    if how == "later":
        due = {key: time.monotonic() + delay_s for key in jobs}
        actor.record.write(actor.who, "delayed", due=due)
    _enqueue(actor, jobs, how, delay_s)


def _enqueue(actor: Actor, jobs: dict[str, bytes], how: str, delay_s: float) -> None:
    hashes = {key: hashlib.sha256(data).hexdigest() for key, data in jobs.items()}
    actor.record.write(actor.who, "enqueue", jobs=hashes)
    try:
        if how == "many":
            chunk = actor.random.choice([10, 1_000])
            many = [NewJob("work", data) for data in jobs.values()]
            ids = actor.call("enqueue_many", actor.queue, many, chunk_jobs=chunk)
        else:
            [data] = jobs.values()
            options = {"delay": delay_s} if how == "later" else {}
            ids = [actor.call("enqueue", actor.queue, "work", data, **options)]
    except BrokerError as error:
        actor.record.write(actor.who, "enqueue refused", jobs=list(jobs), code=error.code)
    except PartlyEnqueued as error:
        told = {key: job for key, job in zip(jobs, error.ids, strict=False) if job is not None}
        actor.record.write(actor.who, "enqueued", jobs=told)
    except (TenureError, TimeoutError) as error:
        actor.record.write(actor.who, "enqueue unknown", jobs=list(jobs), error=repr(error))
    else:
        actor.record.write(actor.who, "enqueued", jobs=dict(zip(jobs, map(str, ids), strict=True)))


# -- consuming ----------------------------------------------------------------------------


def consume(actor: Actor) -> None:
    """Take some jobs and do something with each."""
    jobs = take(actor)
    if len(jobs) > 1 and actor.random.random() < 0.3:
        settle(actor, jobs, "ack")
        return
    ways = ["ack", "fail", "bury", "release", "extend", "forget"]
    for job in jobs:
        [how] = actor.random.choices(ways, [84, 4, 1, 4, 4, 2])
        if how == "extend":
            settle(actor, [job], how)
            how = "ack"
        if how != "forget":
            settle(actor, [job], how)


def take(actor: Actor) -> list[LeasedJob]:
    """Some jobs, written down."""
    actor.record.write(actor.who, "reserve")
    most = actor.random.randint(1, 10)
    try:
        jobs: list[LeasedJob] = actor.call(
            "reserve", actor.queue, max_jobs=most, wait=WAIT_S, lease=LEASE_S, wait_s=WAIT_S
        )
    except (TenureError, TimeoutError) as error:
        actor.record.write(actor.who, "reserve failed", error=repr(error))
        return []
    got, kept = [], []
    for job in jobs:
        try:
            got.append(_seen(job))
        except (TenureError, TypeError, ValueError) as error:
            if not actor.tolerant:
                raise
            actor.record.write(actor.who, "unreadable", error=repr(error))
        else:
            kept.append(job)
    actor.record.write(actor.who, "got", jobs=got, lease_s=LEASE_S)
    return kept


def _seen(job: LeasedJob) -> dict[str, Any]:
    payload: bytes = job.payload
    key = payload.split(b"|", 1)[0].decode(errors="replace")
    digest = hashlib.sha256(payload).hexdigest()
    return {"key": key, "id": job.id, "attempt": job.attempt, "hash": digest}


def settle(actor: Actor, jobs: list[LeasedJob], how: str) -> None:
    """End or extend leases in one request, written down before and after."""
    tokens = [{"id": job.id, "attempt": job.attempt, "how": how} for job in jobs]
    for token in tokens:
        actor.record.write(actor.who, "settle", **token, retry_s=RETRY_S)
    method, options = _method(how)
    arguments = ("on purpose",) if method == "fail" else ()
    try:
        outcomes = actor.call(method, jobs, *arguments, **options)
    except BrokerError as error:
        for token in tokens:
            actor.record.write(actor.who, "settle refused", **token, code=error.code)
        return
    except (TenureError, TimeoutError) as error:
        for token in tokens:
            actor.record.write(actor.who, "settle unknown", **token, error=repr(error))
        return
    for token, outcome in zip(tokens, outcomes, strict=True):
        if outcome.ok:
            repeated = bool(outcome.info.get("repeated"))
            actor.record.write(actor.who, "settled", **token, repeated=repeated)
        else:
            actor.record.write(actor.who, "settle refused", **token, code=outcome.error.code)


def _method(how: str) -> tuple[str, dict[str, Any]]:
    match how:
        case "fail":
            return "fail", {"retry_in": RETRY_S}
        case "bury":
            return "fail", {"dead": True}
        case _:
            return how, {}


# -- what is not repeated, and what only looks ----------------------------------------------


def watch(actor: Actor) -> None:
    """At-most-once reserves of a queue of its own, changes of queues, and looking around."""
    side = f"{actor.queue}.{actor.who}"
    what = actor.random.choice(["send", "send", "take", "take", "create", "pause", "look", "ping"])
    try:
        match what:
            case "send":
                actor.call("enqueue", side, "side", b"side")
            case "take":
                jobs = actor.call("reserve", side, max_jobs=5, auto_ack=True)
                for job in jobs:
                    actor.record.write(actor.who, "taken", id=job.id)
            case "create":
                actor.call("create_queue", f"{side}.made")
            case "pause":
                actor.call(actor.random.choice(["pause_queue", "resume_queue"]), f"{side}.made")
            case "look":
                actor.call("queue", actor.queue)
            case _:
                actor.call("ping")
    except (TenureError, TimeoutError):
        pass  # what it was is in the line of the call
