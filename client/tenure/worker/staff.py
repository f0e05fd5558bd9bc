"""All child processes of the worker: started, heard, replaced, and their manifest."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any, Protocol

from tenure.settings import mono_ms
from tenure.worker import pipe
from tenure.worker.children import Child
from tenure.worker.crashes import how_it_ended
from tenure.worker.crew import Crew
from tenure.worker.held import Held
from tenure.worker.log import Log, Output
from tenure.worker.options import WorkerOptions
from tenure.worker.pipe import HOST, Role
from tenure.worker.pool import Pool
from tenure.worker.recycle import rss_of, why_recycle
from tenure.worker.reload import LOOK_S, Watch
from tenure.worker.stacks import Stacks

FILES_CHANGED = "its files have changed"
"""Why a child is ended whose app is no longer what it was."""

BROKEN_EXIT_S = 2.0
"""How long a child whose app cannot be imported may take to end by itself."""


END_S = 10.0
"""How long a child that has no more jobs may take to close its resources and end."""

AGAIN_S = 1.0
"""When it is tried again to replace a child that is stuck."""


class Work(Protocol):
    """What children say of their jobs goes there."""

    def begun(self, jobs: list[Held]) -> None:
        """Jobs begin to run."""
        ...

    def ended(self, child: Child, key: int, code: int, data: Any) -> None:
        """What became of a job."""
        ...

    def said(self, held: Held, message: list[Any]) -> None:
        """Progress, log lines or a checkpoint of a job."""
        ...

    def lost_child(self, child: Child) -> None:
        """A child is dead."""
        ...


class Staff:
    """The pools and their children.

    - `changed` is called after anything that may make a slot free or a child ready.
    - `first` is set once with the first manifest, or with what kept the app from starting.
    """

    def __init__(
        self,
        options: WorkerOptions,
        work: Work,
        output: Output,
        log: Log,
        *,
        changed: Callable[[], None],
    ) -> None:
        self.manifest: dict[str, Any] | None = None
        """What the youngest child that is ready told of the app."""
        self.first: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.on_manifest: Callable[[dict[str, Any]], None] | None = None
        self.stacks = Stacks()
        self.reloading = False
        self._options = options
        self._work = work
        self._output = output
        self._log = log
        self._changed = changed
        self._watch = Watch()
        self._closing = False
        self._by_child: dict[Child, Pool] = {}
        self.pools = {spec.name: Pool(spec, self._start, work.begun) for spec in options.pools}

    @property
    def children(self) -> list[Child]:
        """All of them."""
        return list(self._by_child)

    @property
    def ready(self) -> bool:
        """Whether every pool can run jobs."""
        return all(pool.ready for pool in self.pools.values())

    def fill(self, now_ms: int) -> None:
        """Start the children that are missing."""
        for pool in self.pools.values():
            pool.fill(now_ms)

    @property
    def alarm_ms(self) -> int:
        """When `fill` may start what it could not start before."""
        alarms = [crew.alarm_ms for pool in self.pools.values() for crew in pool.crews]
        return min((alarm for alarm in alarms if alarm is not None), default=2**62)

    def _start(self, pool: Pool, role: Role) -> Child:
        options = self._options
        child = Child(role, self, self._output.write)
        arguments = ["--app", options.app]
        arguments += ["--slots", str(pool.spec.size if role == HOST else 1)]
        if options.reload:
            arguments.append("--watch")
        if options.url is not None:
            arguments += ["--url", options.url]
        if options.app_dir is not None:
            arguments += ["--app-dir", options.app_dir]
        try:
            child.start(arguments)
        except OSError as error:
            self._log.error("a child cannot be started", error=str(error))
            raise
        self._by_child[child] = pool
        return child

    # -- what children say ----------------------------------------------------------------

    def said(self, child: Child, messages: list[list[Any]]) -> None:
        """Messages of a child, oldest first."""
        work = self._work
        ended = 0
        for message in messages:
            kind = message[0]
            if kind == pipe.DONE:
                ended += 1
                work.ended(child, message[1], message[2], message[3])
                if child.role != HOST:
                    self._by_child[child].crew_of(child).took_turn(child)
            elif kind in (pipe.PROGRESS, pipe.LOG, pipe.CHECKPOINT):
                held = child.jobs.get(message[1])
                if held is not None and not held.over:
                    work.said(held, message)
            else:
                self._heard(child, kind, message)
        if ended:
            self._after_jobs(child)
        self._changed()

    def _heard(self, child: Child, kind: str, message: list[Any]) -> None:
        if kind == pipe.HELLO:
            self._hello(child, message[1])
        elif kind == pipe.BROKEN:
            self._broken(child, message)
        elif kind == pipe.STACKS:
            self.stacks.told(message[1], message[2])
        elif kind == pipe.FILES:
            self._watch.add(message[1])

    def _after_jobs(self, child: Child) -> None:
        crew = self._by_child[child].crew_of(child)
        if child.state == "leaving" and child.stuck and child.stuck.issuperset(child.jobs):
            child.kill("its stuck job does not end")
            return
        limits = self._options.limits
        if limits.jobs_max is not None and child.served >= limits.jobs_max:
            self._recycle(child)
        if crew.waiting:
            crew.deal()
        self._see_out(crew, child)

    def _see_out(self, crew: Crew, child: Child) -> None:
        """A child that is to end has no more jobs: its end must not take for ever."""
        if child in crew.leaving and not child.jobs:
            asyncio.get_running_loop().call_later(END_S, self._not_ended, child)

    def _not_ended(self, child: Child) -> None:
        if child in self._by_child:
            self._log.warning("a child that does not end is killed", pid=child.pid)
            child.kill("it does not end")

    def _hello(self, child: Child, manifest: dict[str, Any]) -> None:
        pool = self._by_child[child]
        child.manifest = manifest
        self.manifest = manifest
        if self.on_manifest is not None:
            self.on_manifest(manifest)
        crew = pool.crew_of(child)
        if self._closing or child not in crew.starting or child.doomed is not None:
            child.leave()
            return
        old = crew.came(child)
        if old is not None:
            if old.stuck and old.stuck.issuperset(old.jobs):
                old.kill("its stuck job does not end")
            self._see_out(crew, old)
        pool.count()
        crew.deal()
        if not self.first.done():
            self.first.set_result(None)

    def _broken(self, child: Child, message: list[Any]) -> None:
        child.broken = True
        _, error_type, text, traceback = message
        self._log.error("the app does not start", error=f"{error_type}: {text}")
        if traceback:
            self._log.text(traceback if traceback.endswith("\n") else f"{traceback}\n")
        loop = asyncio.get_running_loop()
        loop.call_later(BROKEN_EXIT_S, lambda: child.kill("its app does not start"))
        if not self.first.done() and not self._options.reload:
            self.first.set_result(f"{error_type}: {text}")

    def ended(self, child: Child) -> None:
        """A process is gone, and everything that it said was told."""
        pool = self._by_child.pop(child)
        crew = pool.crew_of(child)
        if child in crew.starting and not child.broken and child.doomed is None:
            how = how_it_ended(child.returncode or 0)
            self._log.error("a child died while it started", pid=child.pid, how=how)
            # SIGKILL comes from outside, mostly when memory runs out: the app may be all right.
            killed = child.returncode == -signal.SIGKILL
            if not self.first.done() and not self._options.reload and not killed:
                self.first.set_result(f"its process died while it started: {how}")
        if child.broken and self._options.reload and child.doomed != FILES_CHANGED:
            # The next change of a file starts another; until then there is nothing to try.
            crew.wait_for_change()
        old = crew.starting.get(child)
        crew.gone(child, mono_ms())
        self._work.lost_child(child)
        pool.count()
        crew.deal()
        if old is not None and old.stuck:
            self.replace_stuck(old)
        self._changed()

    def hung_up(self, child: Child) -> None:
        """The pipe of a child is closed: it is dying, and gets no more jobs."""
        self._by_child[child].count()
        self._changed()

    # -- replacing ------------------------------------------------------------------------

    def _recycle(self, child: Child) -> None:
        crew = self._by_child[child].crew_of(child)
        if self._closing or crew.replacing or child not in crew.ready:
            return
        limits = self._options.limits
        age_ms = mono_ms() - child.started_ms
        rss = rss_of(child.pid) if limits.rss_bytes_max is not None else 0
        why = why_recycle(limits, jobs=child.served, rss_bytes=rss, age_ms=age_ms)
        if why is not None and crew.replace(child):
            self._log.info("a child is replaced", pid=child.pid, because=why)

    def recycle_by_time(self) -> None:
        """Look at memory and age of all children."""
        for child in self.children:
            self._recycle(child)

    def replace_stuck(self, child: Child) -> None:
        """Another host takes over; what runs in this one finishes, and then it is killed."""
        pool = self._by_child.get(child)
        if pool is None or self._closing:
            return
        crew = pool.crew_of(child)
        if child in crew.ready:
            if not crew.replace(child) and child.successor is None:
                asyncio.get_running_loop().call_later(AGAIN_S, self.replace_stuck, child)
        elif child.stuck.issuperset(child.jobs):
            child.kill("its stuck job does not end")

    async def watch_files(self) -> None:
        """With --reload: replace all children whenever a file changed. Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            changed = self._watch.changed()
            if changed:
                self._log.info("files changed: reloading", file=changed[0], files=len(changed))
                self.replace_all()

    def replace_all(self) -> None:
        """Start another for each child; each retires once the other is ready."""
        for pool in self.pools.values():
            for crew in pool.crews:
                crew.change()
                crew.give_up_starting()
                for child in list(crew.starting):
                    # It may have died of what there was before: that says nothing of now.
                    child.doomed = FILES_CHANGED
                    child.kill(FILES_CHANGED)
                for child in list(crew.ready):
                    if child.role == pipe.ISOLATED:
                        crew.retire(child)
                        self._see_out(crew, child)
                    else:
                        crew.replace(child)
            pool.fill(mono_ms())

    # -- the end --------------------------------------------------------------------------

    def close(self) -> None:
        """Every child finishes what it has and ends; none is started."""
        self._closing = True
        for pool in self.pools.values():
            pool.close()
            pool.count()

    def kill_all(self, why: str) -> None:
        """End every child at once."""
        self._closing = True
        for pool in self.pools.values():
            for crew in pool.crews:
                crew.closed = True
        for child in self.children:
            child.kill(why)

    async def wait(self, timeout_s: float | None) -> bool:
        """Wait until all children are gone. Returns whether they are."""
        waits = [asyncio.ensure_future(child.wait()) for child in self.children]
        if waits:
            await asyncio.wait(waits, timeout=timeout_s)
        return not self._by_child

    def event(self, pool: Pool, kind: str, told: dict[str, Any]) -> None:
        """Have the hooks of a kind run, if the app has any."""
        for child in (*pool.main.ready, *pool.main.leaving):
            if kind in child.manifest.get("hooks", ()):
                child.send([pipe.EVENT, kind, told])
                return
