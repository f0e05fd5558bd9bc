"""What the engine remembers, and the few things every operation needs of it.

Nothing here reads a clock, a socket or a random source: they come in as arguments. All
state that must survive is in the two spaces; what is kept beside them can be rebuilt.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from tenure_protocol.errors import BrokerError, QueueNotFound
from tenure_protocol.names import check_queue_name
from tenure_server.engine.queues import VOLATILE_LINES, Queue, Settings
from tenure_server.engine.space import Space
from tenure_server.engine.types import EngineLimits, Event, Now, Reply, Session
from tenure_storage.keys import SEQ_MAX, line_of
from tenure_storage.store import JOBS, StoreReader

if TYPE_CHECKING:
    from tenure_server.engine.chores import Chore
    from tenure_server.engine.waiting import JobWait, Reserve

CLOCK_SLACK_MS = 10_000
"""A wall clock that steps back by less is held; a larger step is believed, and logged."""

SETTLED_KEPT = 32_768
"""How many settled attempts one generation remembers, for requests that are repeated."""

EVENTS_MAX = 1_000
"""The most events kept until the shell takes them."""

DRAINING_TOLD = (
    "the broker takes no new work: it is stopping (connect again in a moment), or was told to drain"
    " (until tenure drain --off)"
)


class Core:
    """The engine's state. `now` is the time of the command at work, with a steady wall clock."""

    def __init__(
        self,
        store: StoreReader,
        volatile: StoreReader,
        limits: EngineLimits,
        defaults: Settings,
        random: Callable[[], float],
        new_id: Callable[[int], bytes],
        clock_cut_ms: int,
    ) -> None:
        self.set_limits(limits, defaults)
        self.random = random
        self.new_id = new_id
        self.disk = Space(store, False, 1, clock_cut_ms)
        self.memory = Space(volatile, True, 1, clock_cut_ms)
        self.now = Now(0, 0)
        self.clock_high_ms = 0
        self.seq = 0
        self.seq_wrapped = False
        self.queues: dict[str, Queue] = {}
        self.by_number: dict[int, Queue] = {}
        self.by_line: dict[int, Queue] = {}
        self.retired: dict[int, Queue | None] = {}
        self.chores: dict[int, Chore] = {}
        self.finished_chores: dict[int, Chore] = {}
        self.reserves: dict[str, OrderedDict[Reserve, None]] = {}
        """Who waits for jobs, by queue, oldest first; the oldest is taken off in O(1)."""
        self.job_waits: dict[bytes, list[JobWait]] = {}
        self.wait_ends: list[tuple[int, int, Reserve | JobWait]] = []
        self.wait_number = 0
        self.waiting = 0
        self.waiting_names = 0
        """How many queues the reserves that wait name, all together."""
        self.due_at: list[tuple[int, str]] = []
        self.hot: dict[str, None] = {}
        self.crowded_out: dict[str, None] = {}
        """Queues that were not given out for `leases_max`, and are looked at when a lease ends."""
        self.stirred = True
        """Whether anything happened since the engine last served those who wait."""
        self.sessions: dict[Session, None] = {}
        self.pending: list[Reply] = []
        self.instant_replies: list[Reply] = []
        self.bulk_bytes = 0
        """About how much the replies of this turn hold that may be long."""
        self.instant = False
        """Set by an operation whose reply waits for no commit."""
        self.events: list[Event] = []
        self.settled: dict[bytes, int] = {}
        self.settled_before: dict[bytes, int] = {}
        self.producers: OrderedDict[bytes, int] = OrderedDict()
        """The highest sequence of the producers seen last, the latest at the end."""
        self.producer_sweep_ms = 0
        self.changed_tallies: dict[int, Queue] = {}
        self.store_full = False
        self.draining = False
        self.next_queue_number = 1
        self.line_hints = [1, VOLATILE_LINES]
        """No line below these is free, for disk and for memory queues."""
        self.next_forget_ms = 0
        """No queue has anything to forget before this moment."""
        self.has_producers = True
        self.damaged = 0

    def set_limits(self, limits: EngineLimits, defaults: Settings) -> None:
        """Takes limits, and the settings of queues that nobody configures."""
        self.limits = limits
        self.defaults = defaults
        self.refill_bytes = max(1, limits.window_bytes_max // 4)

    # ---- time --------------------------------------------------------------------------

    def set_now(self, now: Now) -> None:
        """Takes the time of the next command. Small steps back of the wall clock are held."""
        wall = now.wall_ms
        if wall == self.clock_high_ms:
            self.now = now
            return
        if wall < self.clock_high_ms:
            if self.clock_high_ms - wall <= CLOCK_SLACK_MS:
                wall = self.clock_high_ms
            else:
                self.event(
                    "warning", "clock_stepped_back", by_ms=self.clock_high_ms - wall, now_ms=wall
                )
                self.clock_high_ms = wall
        else:
            self.clock_high_ms = wall
        self.now = Now(wall, now.mono_ms)

    # ---- numbers -----------------------------------------------------------------------

    def next_seqs(self, count: int) -> int:
        """The first of `count` sequence numbers in a row."""
        first = self.seq + 1
        if first + count > SEQ_MAX:
            first, self.seq_wrapped = 1, True
        self.seq = first + count - 1
        return first

    @property
    def lease_room(self) -> int:
        """How many jobs more may be leased."""
        return self.limits.leases_max - len(self.disk.leases) - len(self.memory.leases)

    # ---- looking up --------------------------------------------------------------------

    def space_of(self, key: bytes) -> Space:
        """The space a job belongs to, by its id or place."""
        return self.memory if key[0] & 0x80 else self.disk

    def queue_named(self, name: str) -> Queue:
        """The queue of that name. Raises `QueueNotFound`, or `BadRequest` for no name at all."""
        queue = self.queues.get(name)
        if queue is None:
            checked = check_queue_name(name)
            raise QueueNotFound(f"there is no queue {checked!r}", details={"queue": checked})
        return queue

    def queue_of_place(self, place: bytes) -> Queue | None:
        """The queue whose line, present or past, a place is in."""
        line = line_of(place)
        queue = self.by_line.get(line)
        return queue if queue is not None else self.retired.get(line)

    # ---- replies and events ------------------------------------------------------------

    def reply(self, session: Session, request_id: int, body: object, instant: bool) -> None:
        """A result for a session; `instant` if it waits for no commit."""
        (self.instant_replies if instant else self.pending).append(
            Reply(session, request_id, 0, body)
        )

    def refuse(
        self, session: Session, request_id: int, error: BrokerError, instant: bool = True
    ) -> None:
        """A refusal. It changed nothing, so it waits for nothing, but for what it tells of."""
        (self.instant_replies if instant else self.pending).append(
            Reply(session, request_id, 1, error.to_wire())
        )

    def event(self, level: str, name: str, **fields: object) -> None:
        """Something an operator should know."""
        if len(self.events) < EVENTS_MAX:
            self.events.append(Event(level, name, fields))

    # ---- repeated requests -------------------------------------------------------------

    def remember_settled(self, job_id: bytes, attempt: int) -> None:
        """Remembers that this attempt was settled, for a client that asks again."""
        self.settled[job_id] = attempt
        self.age_settled()

    def age_settled(self) -> None:
        """Forgets the older generation of settled attempts when the younger is full."""
        if len(self.settled) >= SETTLED_KEPT:
            # Two generations: forgetting one by one from the front of a dict is quadratic.
            self.settled_before, self.settled = self.settled, {}

    def was_settled(self, job_id: bytes, attempt: int) -> bool:
        """Whether this very attempt was settled not long ago."""
        return self.settled.get(job_id) == attempt or self.settled_before.get(job_id) == attempt

    def wake_waits(self, job_id: bytes, info: Callable[[], dict[str, object]]) -> None:
        """Answers whoever waits for this job to end."""
        waits = self.job_waits.pop(job_id, None)
        if waits is None:
            return
        body = info()
        for wait in waits:
            if wait.open:
                wait.open = False
                self.waiting -= 1
                wait.session.waits.pop(wait.request_id, None)
                self.reply(wait.session, wait.request_id, body, self.space_of(job_id).volatile)

    def tally(self, queue: Queue, which: int, by: int) -> None:
        """One dead or finished job more or less is kept."""
        queue.tally[which] += by
        if not queue.space.volatile:
            self.changed_tallies[queue.number] = queue

    def new_line(self, volatile: bool) -> int:
        """A line that no queue and no unfinished sweep uses."""
        line = self.line_hints[volatile]
        while line in self.by_line or line in self.retired or self._has_jobs(line):
            line += 1
        self.line_hints[volatile] = line
        return line

    def _has_jobs(self, line: int) -> bool:
        """Whether a line that nobody uses holds jobs all the same: its chore's row was damaged."""
        first = line.to_bytes(4, "big")
        space = self.space_of(first)
        return bool(space.store.scan(JOBS, first, first + b"\xff" * 12, 1))

    def free_line(self, line: int) -> None:
        """A line has no job left and may be used again."""
        self.retired.pop(line, None)
        volatile = line >= VOLATILE_LINES
        self.line_hints[volatile] = min(self.line_hints[volatile], line)
