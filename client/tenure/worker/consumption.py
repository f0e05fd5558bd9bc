"""When a worker asks for jobs: a state machine without input, output or clock.

    connecting ──► syncing ──► consuming ◄──► quiet ──► stopped
        ▲             │            │
        └─────────────┴── lost ────┘

- A new connection is first told which leases are known here (`keep`), so that deliveries
  that were lost on the way are free at once; nothing is reserved before that is answered.
- Each pool has one reserve outstanding, for as many jobs as it has free slots.
- A quiet worker reserves nothing. A reserve that was outstanding then stays until it is
  answered; what it brings is given back.
- A refusal is followed by a pause, and a longer one each time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

PAUSE_MS_MIN = 100
PAUSE_MS_MAX = 5_000
DRAINING_PAUSE_MS = 1_000
NEVER_MS = 2**62

State = Literal["connecting", "syncing", "consuming", "quiet", "stopped"]


@dataclass(frozen=True, slots=True)
class Keep:
    """Tell the broker which leases are known."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """Ask for up to `max_jobs` jobs for a pool."""

    pool: str
    max_jobs: int


@dataclass(slots=True)
class Line:
    """What is known of one pool."""

    free: int = 0
    asked: int = 0
    asked_at_ms: int = 0
    not_before_ms: int = 0
    pause_ms: int = 0
    drained: bool = False
    outdated: bool = False
    """Something ended here since the outstanding reserve was asked: emptiness it tells is old."""
    trouble: str | None = None


class Consumption:
    """Decides; the shell does what `take` says and tells what came of it.

    With `burst`, a pool whose queues were found empty asks again only after something has
    ended here that may have enqueued more.
    """

    def __init__(self, pools: Iterable[str], *, burst: bool = False) -> None:
        self.lines = {name: Line() for name in pools}
        self.burst = burst
        self.quiet = False
        self.stopped = False
        self._sync: Literal["needed", "asked", "done"] = "needed"
        self._sync_not_before_ms = 0
        self._sync_pause_ms = 0
        self._connected = False

    @property
    def state(self) -> State:
        """Where it stands."""
        if self.stopped:
            return "stopped"
        if not self._connected:
            return "connecting"
        if self._sync != "done":
            return "syncing"
        return "quiet" if self.quiet else "consuming"

    @property
    def satisfied(self) -> bool:
        """Whether it consumes in truth: each pool has a reserve outstanding or no free slot."""
        return self.state == "consuming" and all(
            line.asked or not line.free for line in self.lines.values()
        )

    @property
    def exhausted(self) -> bool:
        """With `burst`: whether all queues were found empty since something last ended here."""
        return all(line.drained and not line.asked for line in self.lines.values())

    @property
    def trouble(self) -> str | None:
        """Why the broker refuses jobs, if it does."""
        return next((line.trouble for line in self.lines.values() if line.trouble), None)

    @property
    def alarm_ms(self) -> int:
        """When `take` may have something to do that it has not now."""
        if self.stopped:
            return NEVER_MS
        if self._sync == "needed":
            return self._sync_not_before_ms
        if self._sync == "asked" or self.quiet:
            return NEVER_MS
        pauses = [
            line.not_before_ms
            for line in self.lines.values()
            if line.free and not line.asked and not self._sated(line)
        ]
        return min(pauses, default=NEVER_MS)

    def take(self, now_ms: int) -> list[Keep | Reserve]:
        """What to send now. Each is told once; its answer has to be told back."""
        if self.stopped:
            return []
        if self._sync != "done":
            if self._sync == "asked" or now_ms < self._sync_not_before_ms:
                return []
            self._sync = "asked"
            return [Keep()]
        wanted: list[Keep | Reserve] = []
        for name, line in self.lines.items():
            if self._asks(line, now_ms):
                line.asked, line.asked_at_ms, line.outdated = line.free, now_ms, False
                wanted.append(Reserve(name, line.free))
        return wanted

    def wants(self, now_ms: int) -> bool:
        """Whether `take` would reserve now."""
        if self.stopped or self._sync != "done":
            return False
        return any(self._asks(line, now_ms) for line in self.lines.values())

    def _asks(self, line: Line, now_ms: int) -> bool:
        due = line.free and not line.asked and now_ms >= line.not_before_ms
        return bool(due) and not self.quiet and not self._sated(line)

    def _sated(self, line: Line) -> bool:
        return self.burst and line.drained

    # -- the connection -----------------------------------------------------------------

    def connected(self) -> None:
        """A connection is open."""
        self._connected = True

    def lost(self, now_ms: int) -> None:
        """The connection is gone: all that was outstanding with it. Say `keep` on the next."""
        self._connected = False
        self._need_sync(now_ms)

    def _need_sync(self, now_ms: int) -> None:
        self._sync = "needed"
        self._sync_not_before_ms = now_ms + self._sync_pause_ms
        for line in self.lines.values():
            line.asked = 0

    def kept(self) -> None:
        """The broker knows our leases: it may deliver again."""
        self._connected = True
        self._sync = "done"
        self._sync_pause_ms = 0
        for line in self.lines.values():
            line.not_before_ms = line.pause_ms = 0

    def keep_failed(self, now_ms: int) -> None:
        """`keep` was not answered, or refused."""
        if self._sync != "asked":
            return  # the connection is lost already
        self._sync_pause_ms = _longer(self._sync_pause_ms)
        self._need_sync(now_ms)

    # -- reserves -----------------------------------------------------------------------

    def set_free(self, pool: str, free: int) -> None:
        """So many slots are free now."""
        self.lines[pool].free = free

    def ended_something(self) -> None:
        """A job ended here; it may have enqueued others."""
        for line in self.lines.values():
            line.drained, line.outdated = False, True

    def answered(self, pool: str, jobs: int, now_ms: int) -> bool:
        """A reserve brought so many jobs. Returns whether they are to run, else give them back."""
        line = self.lines[pool]
        line.trouble = None
        if jobs:
            line.pause_ms = 0
        elif not self.burst and now_ms - line.asked_at_ms < PAUSE_MS_MIN:
            # Nothing, and sooner than it was to wait: a broker that is about to stop.
            self._pause(line, now_ms)
        line.asked = 0
        line.drained = not jobs and not line.outdated
        return not (self.quiet or self.stopped)

    def refused(self, pool: str, why: str, now_ms: int, *, draining: bool = False) -> None:
        """The broker refused a reserve: ask again after a pause."""
        line = self.lines[pool]
        line.asked = 0
        line.trouble = why
        if draining:
            line.not_before_ms = now_ms + DRAINING_PAUSE_MS
        else:
            self._pause(line, now_ms)

    def broken(self, pool: str, now_ms: int) -> bool:
        """A reserve got no answer: whether jobs were sent is unknown, so say `keep` first.

        Returns whether that is news: then other reserves are to be given up, too.
        """
        asked = bool(self.lines[pool].asked)
        if asked:
            self._need_sync(now_ms)
        return asked

    def _pause(self, line: Line, now_ms: int) -> None:
        line.pause_ms = _longer(line.pause_ms)
        line.not_before_ms = now_ms + line.pause_ms


def _longer(pause_ms: int) -> int:
    return min(PAUSE_MS_MAX, max(PAUSE_MS_MIN, 2 * pause_ms))
