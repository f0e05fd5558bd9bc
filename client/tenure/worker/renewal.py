"""Extends the leases of everything that is here, and hears what the broker says to that."""

from __future__ import annotations

import asyncio
from typing import Any

from tenure.core import work
from tenure.core.call import Call
from tenure.core.command import Command
from tenure.errors import ClientClosed, TenureError
from tenure.settings import mono_ms
from tenure.worker import pipe
from tenure.worker.heartbeat import Heartbeat
from tenure.worker.held import Held
from tenure.worker.jobs import Jobs
from tenure.worker.log import Log
from tenure.worker.settle import Link

ITEMS_MAX = 5_000


class Renewal:
    """The heartbeat's shell. It runs in the worker's own process, which runs no user code."""

    def __init__(self, link: Link, heartbeat: Heartbeat, jobs: Jobs, log: Log) -> None:
        self.answered_ms = 0
        """When the broker last answered."""
        self._link = link
        self._heartbeat = heartbeat
        self._jobs = jobs
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()

    def tick(self, now_ms: int) -> None:
        """Extend what is due."""
        if now_ms < self._heartbeat.alarm_ms:
            return
        due = self._heartbeat.due(self._jobs.held.values(), now_ms)
        for start in range(0, len(due), ITEMS_MAX):
            self._extend(due[start : start + ITEMS_MAX])

    def _extend(self, jobs: list[Held]) -> None:
        command = work.settle_raw("extend", [[held.id, held.attempt] for held in jobs])
        # Stale by then: the next one is due after that time.
        command.timeout_ms = max(1_000, 2 * self._heartbeat.pause_ms(jobs[0].lease_ms))
        try:
            call = self._link.submit(command)
        except ClientClosed:
            return
        task = asyncio.create_task(self._read(jobs, command, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, jobs: list[Held], command: Command[list[Any]], call: Call) -> None:
        try:
            outcomes = await self._link.wait(call, command)
        except (TenureError, OSError):
            return  # the next heartbeat tries again
        self.answered_ms = mono_ms()
        for held, outcome in zip(jobs, outcomes, strict=True):
            if outcome == 0 or held.over:
                continue
            if outcome[0] == 0:
                if outcome[1].get("cancel"):
                    self._jobs.stop(held, pipe.CANCELLED)
            elif outcome[1] == "LEASE_LOST":
                self.lost(held)

    def lost(self, held: Held) -> None:
        """The broker says that somebody else may have this job by now."""
        self._log.warning("a lease is lost", task=held.task, job=held.name, attempt=held.attempt)
        self._jobs.lease_lost(held)
