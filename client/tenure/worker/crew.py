"""The children of one role in a pool: as many as are needed, replaced without a gap.

A host takes any number of jobs at a time; a single one at a time (and a few ahead, if the
worker was asked to prefetch and its jobs are short); an isolated one takes one and ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tenure.settings import mono_ms
from tenure.worker.children import Child
from tenure.worker.held import Held
from tenure.worker.pipe import HOST, ISOLATED, SINGLE, Role

RESTART_PAUSE_MS_MIN = 100
RESTART_PAUSE_MS_MAX = 15_000
_STEADY_MS = 10_000
"""A child that lived so long starts again at once when it dies."""

QUICK_MS = 5
"""Jobs that take no longer count as short: a few may be sent ahead of their turn."""


class Crew:
    """Children that take the same kind of jobs, and the jobs that wait for one of them.

    - `floor`: how many children are there even if there is nothing to do.
    - `most`: how many there may be.
    - `ahead`: how many jobs a single may have besides the one that it runs.
    - `slots`: how many jobs a host may run at a time.
    """

    def __init__(
        self,
        role: Role,
        *,
        floor: int,
        most: int,
        ahead: int,
        slots: int = 1,
        start: Callable[[Role], Child],
        begun: Callable[[list[Held]], None],
    ) -> None:
        self.role: Role = role
        self.waiting: deque[Held] = deque()
        self.ready: list[Child] = []
        self.starting: dict[Child, Child | None] = {}
        self.leaving: set[Child] = set()
        self.closed = False
        self._floor = floor
        self._most = most
        self._ahead = ahead
        self._slots = slots
        self._start = start
        self._begun = begun
        self._spare = 0
        self._pause_ms = 0
        self._not_before_ms = 0
        self._waits_for_change = False

    @property
    def children(self) -> list[Child]:
        """All of them."""
        return [*self.ready, *self.starting, *self.leaving]

    @property
    def idle(self) -> bool:
        """Whether no job is here."""
        return not self.waiting and not any(child.jobs for child in self.children)

    @property
    def crowded(self) -> bool:
        """Whether as many jobs wait as can run at a time."""
        return len(self.waiting) >= self._most

    # -- jobs ---------------------------------------------------------------------------

    def put(self, jobs: list[Held]) -> None:
        """Give jobs to children, or let them wait for one."""
        host = self.ready[0] if self.role == HOST and self.ready else None
        if host is not None and host.fit and not self.waiting and len(jobs) <= self._room():
            self._give(host, jobs)
            return
        self.waiting.extend(jobs)
        self.deal()

    def put_first(self, jobs: list[Held]) -> None:
        """The same for jobs whose child died before their turn: they go first."""
        self.waiting.extendleft(reversed(jobs))
        self.deal()

    def deal(self) -> None:
        """Give waiting jobs to children that have room."""
        fit = [child for child in self.ready if child.fit] if self.waiting else []
        if fit:
            if self.role == HOST:
                room = min(self._room(), len(self.waiting))
                if room > 0:
                    self._give(fit[0], [self.waiting.popleft() for _ in range(room)])
            else:
                self._deal_singly(fit)
        if self.waiting:
            self.fill(mono_ms())

    def _room(self) -> int:
        """How many more jobs a host may run: those that are stuck and settled have no slot."""
        room = self._slots
        for child in (*self.ready, *self.leaving):
            room -= len(child.jobs)
            if child.stuck:
                room += len(child.stuck & child.jobs.keys())
        return room

    def _deal_singly(self, fit: list[Child]) -> None:
        for child in fit:
            if not child.jobs and self.waiting:
                self._give(child, [self.waiting.popleft()])
        if self._ahead and self.waiting:
            for child in fit:
                room = 1 + self._ahead - len(child.jobs) if child.quick else 0
                jobs = [self.waiting.popleft() for _ in range(min(room, len(self.waiting)))]
                if jobs:
                    self._give(child, jobs)

    def _give(self, child: Child, jobs: list[Held]) -> None:
        if self.role == HOST:
            child.run(jobs)
            self._begun(jobs)
            return
        first = not child.jobs
        child.run(jobs)
        if first:
            child.turn_ms = mono_ms()
            self._begun(jobs[:1])
        if self.role == ISOLATED:
            self.ready.remove(child)
            self.leaving.add(child)

    def took_turn(self, child: Child) -> None:
        """A single has ended a job: the next one that it has begins."""
        now_ms = mono_ms()
        child.quick = now_ms - child.turn_ms <= QUICK_MS
        child.turn_ms = now_ms
        following = next(iter(child.jobs.values()), None)
        if following is not None:
            self._begun([following])

    # -- children -----------------------------------------------------------------------

    def fill(self, now_ms: int) -> None:
        """Start as many children as are missing, unless they died too soon just now."""
        if self.closed or self._waits_for_change or now_ms < self._not_before_ms:
            return
        starting = sum(1 for successor_of in self.starting.values() if successor_of is None)
        for _ in range(self._wanted() - len(self.ready) - starting):
            if self._launch(None, now_ms) is None:
                return

    def _launch(self, successor_of: Child | None, now_ms: int) -> Child | None:
        try:
            child = self._start(self.role)
        except OSError:  # no memory, processes or files are left; it was logged
            self._pause(now_ms)
            return None
        self.starting[child] = successor_of
        return child

    def _pause(self, now_ms: int) -> None:
        self._pause_ms = min(RESTART_PAUSE_MS_MAX, max(RESTART_PAUSE_MS_MIN, 2 * self._pause_ms))
        self._not_before_ms = now_ms + self._pause_ms

    def _wanted(self) -> int:
        if self.role == ISOLATED:
            if self.waiting:
                self._spare = 1
            room = self._most - sum(1 for child in self.leaving if child.jobs)
            return min(room, len(self.waiting) + self._spare)
        if self.role == SINGLE:
            busy = sum(1 for child in self.ready if child.jobs)
            return min(self._most, max(self._floor, len(self.ready), busy + len(self.waiting)))
        return self._floor

    @property
    def alarm_ms(self) -> int | None:
        """When `fill` may start what it could not start before; None when nothing is missing."""
        if self.closed or self._waits_for_change:
            return None
        if not self.waiting and len(self.ready) >= self._floor + self._spare:
            return None  # the common case, looked at in every turn
        missing = self._wanted() > len(self.ready) + len(self.starting)
        return self._not_before_ms if missing else None

    def wait_for_change(self) -> None:
        """What there is cannot be started: start nothing before `change`."""
        self._waits_for_change = True

    def change(self) -> None:
        """The app's files are others now: try again, without a pause."""
        self._waits_for_change = False
        self._pause_ms = self._not_before_ms = 0

    def came(self, child: Child) -> Child | None:
        """A child is ready. Returns the one whose place it takes, if it takes one."""
        successor_of = self.starting.pop(child, None)
        child.state = "ready"
        self.ready.append(child)
        if successor_of is not None and successor_of in self.ready:
            self.retire(successor_of)
        return successor_of

    def retire(self, child: Child) -> None:
        """No more jobs for it: it finishes what it has and ends."""
        self.ready.remove(child)
        self.leaving.add(child)
        child.leave()

    def replace(self, child: Child) -> bool:
        """Start another; when it is ready, `child` retires. False: that is under way already."""
        if self.closed or child not in self.ready or child.successor is not None:
            return False
        now_ms = mono_ms()
        if now_ms < self._not_before_ms:
            return False
        child.successor = self._launch(child, now_ms)
        return child.successor is not None

    def give_up_starting(self) -> None:
        """Those that are starting are to take nobody's place: others will."""
        for child, old in self.starting.items():
            if old is not None:
                old.successor = None
                self.starting[child] = None

    @property
    def replacing(self) -> bool:
        """Whether a successor is being started."""
        return any(old is not None for old in self.starting.values())

    def gone(self, child: Child, now_ms: int) -> None:
        """A child is dead. Another is started if it is missing, at once if it had lived long."""
        died_early = child in self.starting or child.broken
        old = self.starting.pop(child, None)
        if old is not None:
            old.successor = None
        if child.successor in self.starting:
            self.starting[child.successor] = None
        if child in self.ready:
            self.ready.remove(child)
            idle = not child.served and not child.jobs
            died_early = idle and now_ms - child.started_ms < _STEADY_MS
        self.leaving.discard(child)
        if not died_early:
            self._pause_ms = 0
        elif child.doomed is None:
            self._pause(now_ms)
        self.fill(now_ms)

    def close(self) -> None:
        """Start nothing more; every child finishes what it has and ends."""
        self.closed = True
        for child in list(self.ready):
            self.retire(child)
        for child in self.starting:
            child.kill("the worker stops")
