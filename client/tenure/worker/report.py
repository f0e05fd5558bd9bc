"""How the worker is: for the broker's list, for health checks, for the health file."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from tenure.settings import mono_ms, wall_ms
from tenure.worker.health import HealthFile, HealthServer
from tenure.worker.recycle import rss_of
from tenure.worker.registry import BEAT_MS, FRESH_MS

if TYPE_CHECKING:
    from tenure.worker.supervisor import Worker

_JOBS_TOLD_MAX = 500
"""So many jobs are listed: the whole has to stay below the broker's limit."""

_CHILDREN_TOLD_MAX = 100


class Reporter:
    """Reads the worker's state; changes nothing of it."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        options = worker.options
        self._file = None if options.health_file is None else HealthFile(options.health_file)
        self._server = HealthServer(self.ready)
        self._writing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen, and write the file now and then."""
        options = self._worker.options
        if options.health is not None:
            host, port = await self._server.start(*options.health)
            self._worker.log.info("health checks", url=f"http://{host}:{port}/readyz")
        if self._file is not None:
            self._writing = asyncio.create_task(self._write())

    async def stop(self) -> None:
        """Listen no more, take the file away."""
        await self._server.stop()
        if self._writing is not None:
            self._writing.cancel()
        if self._file is not None:
            self._file.remove()

    async def _write(self) -> None:
        assert self._file is not None
        trouble: str | None = None
        while True:
            error = self._file.write(*self.ready())
            told, trouble = trouble, None if error is None else str(error)
            if trouble is not None and trouble != told:
                self._worker.log.warning("the health file cannot be written", error=trouble)
            elif trouble is None and told is not None:
                self._worker.log.info("the health file can be written again")
            await asyncio.sleep(BEAT_MS / 1000 if self.ready()[0] else 1)

    def answered_ms(self) -> int:
        """When the broker last answered anything; 0: it never has."""
        worker = self._worker
        return max(worker.feed.answered_ms, worker.registry.answered_ms, worker.renewal.answered_ms)

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether jobs are being taken, in truth, and why not."""
        worker = self._worker
        consumption = worker.consumption
        state = "stopping" if worker.stop.asked else consumption.state
        answered_ms = self.answered_ms()
        heard_ms = mono_ms() - answered_ms if answered_ms else None
        children = worker.staff.ready
        fresh = heard_ms is not None and heard_ms <= FRESH_MS
        ready = consumption.satisfied and children and fresh
        told: dict[str, Any] = {"state": state, "children_ready": children}
        told["busy"], told["slots"] = self._busy()
        told["broker_heard_ms_ago"] = heard_ms
        if not ready:
            told["trouble"] = consumption.trouble or worker.feed.trouble
        return ready and not worker.stop.asked, told

    def _busy(self) -> tuple[int, int]:
        pools = self._worker.staff.pools.values()
        return sum(pool.slots.held for pool in pools), sum(pool.slots.size for pool in pools)

    def who(self) -> dict[str, Any]:
        """What does not change, with what does."""
        from tenure.worker.supervisor import describe

        worker = self._worker
        told = describe(worker.options, dict(worker.feed.queues))
        return {**told, "started_at_ms": worker.started_at_ms, **self.how()}

    def how(self) -> dict[str, Any]:
        """What changes."""
        worker = self._worker
        ready, told = self.ready()
        now_ms, now_wall_ms = mono_ms(), wall_ms()
        children: list[dict[str, Any]] = [
            {
                "pid": child.pid,
                "role": child.role,
                "state": child.state,
                "pool": pool.name,
                "jobs": len(child.jobs),
                "served": child.served,
                "rss_bytes": rss_of(child.pid),
                "age_ms": now_ms - child.started_ms,
            }
            for pool in worker.staff.pools.values()
            for child in pool.children
        ]
        jobs = [
            [
                held.id,
                held.attempt,
                held.task[:128],
                held.queue,
                now_wall_ms - (now_ms - held.started_ms) if held.started_ms else now_wall_ms,
                held.pool.name,
            ]
            for held in list(worker.jobs.held.values())[:_JOBS_TOLD_MAX]
        ]
        return {
            "state": told["state"],
            "busy": told["busy"],
            "slots": told["slots"],
            "rss_bytes": rss_of(os.getpid()) + sum(child["rss_bytes"] for child in children),
            "ready": ready,
            "jobs": jobs if len(str(jobs)) < 40_000 else jobs[:50],
            "done": worker.jobs.done,
            "failed": worker.jobs.failed,
            "children": children[:_CHILDREN_TOLD_MAX],
        }
