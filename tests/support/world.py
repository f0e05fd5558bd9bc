"""A world for the engine: its store, its clocks and its commits, all driven by hand.

    world = World()
    [job_id] = world.enqueue("mail")          # executed, committed, confirmed
    [job] = world.reserve("mail")
    world.ack(job)

Every call goes through the engine's one door (`Engine.execute`) with arguments that
travelled through msgpack, and commits at once. Tests about what a commit makes true use
`send`, `seal`, `land` (the store has it, the engine was not told), `announce` and `crash`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tenure_protocol.errors import BrokerError, JobNotFound, error_from_wire
from tenure_protocol.wire import pack, unpack
from tenure_server.engine import Engine, EngineLimits, Event, Now, Reply, Sealed, Session
from tenure_storage.memory_store import MemoryStore
from tests.support.counting_store import CountingStore
from tests.support.wire_jobs import Job, Leased, Token, body, unwrapped

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
YEAR_MS = 365 * DAY_MS

WALL_MS = 1_750_000_000_000
MONO_MS = 5_000_000
TURNS_MAX = 5_000


class World:
    """One engine, its stores and its clocks. `batches` counts commits, `events` what was logged."""

    def __init__(
        self,
        *,
        seed: int = 0,
        store: CountingStore | None = None,
        wall_ms: int = WALL_MS,
        mono_ms: int = MONO_MS,
        clock_cut_ms: int = 0,
        **limits: Any,
    ) -> None:
        self.random = random.Random(seed)
        self.store = store or CountingStore()
        self.wall_ms, self.mono_ms = wall_ms, mono_ms
        self.clock_cut_ms = clock_cut_ms
        self.limits = EngineLimits(**limits)
        self.events: list[Event] = []
        self.batches = 0
        self.session_ids: dict[str, bytes] = {}
        self._request_id = 0
        self._start()

    def _start(self) -> None:
        self.flying: list[tuple[Sealed, bool]] = []
        self.replies: dict[int, Reply] = {}
        self.asked: dict[int, str] = {}
        self.sessions: dict[str, Session] = {}
        self.volatile = MemoryStore()
        self.engine = Engine(
            self.store,
            limits=self.limits,
            now=self.now,
            random=self.random.random,
            new_id=self.random.randbytes,
            volatile=self.volatile,
            clock_cut_ms=self.clock_cut_ms,
        )
        self._take_events()

    # ---- time ----------------------------------------------------------------------------

    @property
    def now(self) -> Now:
        """Both clocks."""
        return Now(self.wall_ms, self.mono_ms)

    def pass_time(self, ms: int) -> None:
        """Lets time pass on both clocks; what it brings is done and committed."""
        self.wall_ms += ms
        self.mono_ms += ms
        self.turn()

    def live(self, ms: int) -> None:
        """Lets time pass as a server lives it: stopping at every alarm on the way."""
        end_ms = self.mono_ms + ms
        while (alarm := self.engine.alarm_mono_ms(self.now)) is not None and alarm <= end_ms:
            self.pass_time(max(alarm - self.mono_ms, 0))
        self.pass_time(end_ms - self.mono_ms)

    # ---- sessions ------------------------------------------------------------------------

    def session(self, name: str) -> Session:
        """The session of that client name; opened when first asked for."""
        if name not in self.sessions:
            self.open(name)
        return self.sessions[name]

    def open(self, name: str, *, resume: bool = False) -> Session:
        """Connects `name`, with its last session id if `resume`."""
        session_id = self.session_ids[name] if resume else None
        session = self.engine.open_session(session_id, name, f"{name}.example:5000", self.now)
        self.sessions[name] = session
        self.session_ids[name] = session.id
        return session

    def disconnect(self, name: str) -> None:
        """The connection of `name` is gone without a word."""
        self.engine.close_session(self.sessions.pop(name), self.now)
        self.turn()

    # ---- the commit pipeline, by hand ------------------------------------------------------

    def send(self, op: str, args: object, *, who: str = "worker") -> int:
        """Executes a request, commits nothing. Returns its request id."""
        self._request_id += 1
        request_id = self._request_id
        self.asked[request_id] = op
        wire_args: Any = unpack(pack(args))
        self.engine.execute(self.session(who), request_id, op, wire_args, self.now)
        self._take(self.engine.take_instant())
        return request_id

    def tick_if_due(self) -> bool:
        """Ticks if the engine's alarm says so, as the server does."""
        alarm = self.engine.alarm_mono_ms(self.now)
        due = alarm is not None and alarm <= self.mono_ms
        if due:
            self.engine.tick(self.now)
            self._take(self.engine.take_instant())
        return due

    def seal(self) -> Sealed | None:
        """Closes the open batch, if it has writes."""
        sealed = self.engine.seal(self.now)
        if sealed is not None:
            self.flying.append((sealed, False))
            self.batches += 1
        self._take(self.engine.take_instant())
        return sealed

    def land(self) -> bool:
        """The oldest batch on its way is in the store; the engine has not heard of it."""
        for index, (sealed, landed) in enumerate(self.flying):
            if not landed:
                self.store.commit(sealed.batch)
                self.flying[index] = (sealed, True)
                return True
        return False

    def announce(self) -> bool:
        """Tells the engine of the oldest batch, if it landed, and takes its replies."""
        if not self.flying or not self.flying[0][1]:
            return False
        self.flying.pop(0)
        self._take(self.engine.announce(self.now))
        self._take(self.engine.take_instant())
        return True

    def turn(self) -> None:
        """Turns of the loop until nothing is left to do now: tick, seal, land, announce."""
        for _ in range(TURNS_MAX):
            moved = self.tick_if_due()
            moved = self.seal() is not None or moved
            while self.land() or self.announce():
                moved = True
            self._take_events()
            if not moved:
                return
        raise AssertionError(f"the engine found no rest in {TURNS_MAX} turns")

    def crash(self) -> None:
        """Everything that has not landed is gone; a new engine starts from the store."""
        self._take_events()
        self._start()

    # ---- replies -------------------------------------------------------------------------

    def _take(self, replies: Iterable[Reply]) -> None:
        for reply in replies:
            assert reply.request_id in self.asked, f"a reply to nobody: {reply}"
            assert reply.request_id not in self.replies, f"a second reply: {reply}"
            self.replies[reply.request_id] = reply

    def _take_events(self) -> None:
        self.events.extend(self.engine.take_events())

    def event_names(self) -> list[str]:
        """The names of all events so far, oldest first."""
        self._take_events()
        return [event.name for event in self.events]

    def answered(self, request_id: int) -> bool:
        """Whether the request has its reply."""
        return request_id in self.replies

    def result(self, request_id: int) -> Any:
        """The result of an answered request, through msgpack. Raises the error it was given."""
        assert request_id in self.replies, f"no reply to {self.asked[request_id]}"
        reply = self.replies[request_id]
        value: Any = unpack(pack(reply.body))
        if reply.status == 0:
            return value
        raise error_from_wire(value)

    def refusal(self, op: str, args: object, *, who: str = "worker") -> BrokerError | None:
        """The error a request is answered with, or None if it was carried out."""
        try:
            self.call(op, args, who=who)
        except BrokerError as error:
            return error
        return None

    def call(self, op: str, args: object, *, who: str = "worker") -> Any:
        """Executes, commits, returns the result. Raises the error it was given."""
        request_id = self.send(op, args, who=who)
        self.turn()
        return self.result(request_id)

    # ---- operations ------------------------------------------------------------------------

    def enqueue_args(
        self,
        queue: str,
        jobs: int | Sequence[Job],
        *,
        producer: bytes | None = None,
        sequence: int | None = None,
        **options: object,
    ) -> list[object]:
        """The arguments of an enqueue of `jobs` (how many, or payloads)."""
        items = [f"job {i}".encode() for i in range(jobs)] if isinstance(jobs, int) else jobs
        wire = [body(job) if isinstance(job, bytes) else [body(job[0]), job[1]] for job in items]
        return [queue, wire, producer, sequence, options or None]

    def enqueue(
        self,
        queue: str = "q",
        jobs: int | Sequence[Job] = 1,
        *,
        who: str = "producer",
        **options: Any,
    ) -> list[bytes]:
        """Enqueues, commits; the ids."""
        ids, _existing = self.call("enqueue", self.enqueue_args(queue, jobs, **options), who=who)
        return list(ids)

    def send_enqueue(
        self,
        queue: str = "q",
        jobs: int | Sequence[Job] = 1,
        *,
        who: str = "producer",
        **options: Any,
    ) -> int:
        """Enqueues, commits nothing; the request id."""
        return self.send("enqueue", self.enqueue_args(queue, jobs, **options), who=who)

    def send_reserve(
        self,
        queues: str | Sequence[object] = "q",
        count: int = 1,
        *,
        wait_ms: int = 0,
        lease_ms: int | None = None,
        auto_ack: bool | None = None,
        who: str = "worker",
    ) -> int:
        """Asks for jobs, commits nothing; the request id."""
        names = [queues] if isinstance(queues, str) else list(queues)
        return self.send("reserve", [names, count, wait_ms, lease_ms, auto_ack], who=who)

    def reserve(
        self, queues: str | Sequence[object] = "q", count: int = 1, **options: Any
    ) -> list[Leased]:
        """Jobs that are ready now; their leases are committed."""
        request_id = self.send_reserve(queues, count, **options)
        self.turn()
        return self.jobs_of(request_id)

    def jobs_of(self, request_id: int) -> list[Leased]:
        """The jobs that an answered reserve received."""
        return [Leased(*row[:8]) for row in self.result(request_id)]

    def reserve_one(self, queue: str = "q", **options: Any) -> Leased:
        """The one job that is ready first."""
        [job] = self.reserve(queue, 1, **options)
        return job

    def _one(self, op: str, item: list[object], who: str) -> dict[str, Any]:
        [outcome] = self.call(op, [[item]], who=who)
        return unwrapped(outcome)

    def ack(
        self, job: Token, result: bytes | None = None, *, who: str = "worker"
    ) -> dict[str, Any]:
        """Acks one job. Raises its refusal."""
        return self._one("ack", [job[0], job[1], *([] if result is None else [result])], who)

    def fail(self, job: Token, *, who: str = "worker", **error: object) -> dict[str, Any]:
        """Fails one job. Raises its refusal."""
        details = {"error_type": "Boom", "message": "it broke", "traceback": "line 1\n", **error}
        return self._one("fail", [job[0], job[1], details], who)

    def release(
        self, job: Token, delay_ms: int | None = None, *, who: str = "worker"
    ) -> dict[str, Any]:
        """Gives one job back. Raises its refusal."""
        return self._one(
            "release", [job[0], job[1], *([] if delay_ms is None else [delay_ms])], who
        )

    def extend(
        self, job: Token, lease_ms: int | None = None, *, who: str = "worker"
    ) -> dict[str, Any]:
        """Extends one lease. Raises its refusal."""
        return self._one("extend", [job[0], job[1], *([] if lease_ms is None else [lease_ms])], who)

    def cancel(self, job_id: bytes) -> dict[str, Any]:
        """Cancels one job. Raises its refusal."""
        [outcome] = self.call("cancel", [[job_id]])
        return unwrapped(outcome)

    def get(self, job_id: bytes) -> dict[str, Any]:
        """What is known of a job. Raises JobNotFound."""
        info: dict[str, Any] = self.call("get", [job_id])
        return info

    def state(self, job_id: bytes) -> str:
        """The state of a job, or "gone"."""
        try:
            return str(self.get(job_id)["state"])
        except JobNotFound:
            return "gone"

    def create(self, queue: str = "q", **settings: object) -> dict[str, Any]:
        """Creates a queue; its info."""
        info: dict[str, Any] = self.call("queue.create", {"queue": queue, "settings": settings})
        return info

    def queue(self, queue: str = "q") -> dict[str, Any]:
        """A queue's info."""
        info: dict[str, Any] = self.call("queue.get", {"queue": queue})
        return info

    def counts(self, queue: str = "q") -> dict[str, int]:
        """A queue's jobs by state, states without any left out."""
        return {state: n for state, n in self.queue(queue)["counts"].items() if n}

    def pages(
        self, op: str, args: Mapping[str, object], *, limit: int = 1000, key: str = "jobs"
    ) -> list[Any]:
        """All items of a listing, page by page."""
        items: list[Any] = []
        cursor: object = None
        for _ in range(100_000):
            page = self.call(op, {**args, "limit": limit, "cursor": cursor})
            assert len(page[key]) <= limit
            items += page[key]
            cursor = page["cursor"]
            if cursor is None:
                return items
        raise AssertionError(f"{op} has no last page")

    def peek(self, queue: str, state: str, *, limit: int = 1000) -> list[dict[str, Any]]:
        """All jobs of a queue in a state, in the order they are listed."""
        return self.pages("peek", {"queue": queue, "state": state}, limit=limit)

    def dead(self, queue: str = "q", **filters: object) -> list[dict[str, Any]]:
        """A queue's dead letters."""
        return self.pages("dlq.list", {"queue": queue, **filters})
