"""The single enqueues of one turn of the event loop, sent as one request per queue.

    enqueue, enqueue, enqueue ──► end of the turn ──► one request ──► one reply ──► three ids

A hundred tasks that enqueue at once cost the client and the broker hardly more than one (29,000
a second each on its own, 100,000 joined, measured). The broker stores such a request whole or
not at all; so when it is refused for what one of the jobs is, each is sent again by itself, and
only the one to blame fails. Refusals that concern them all, or leave open what happened, are
everybody's: a second try would be useless there, or store a job twice.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import NamedTuple

from tenure.core.bodies import enqueue_items
from tenure.core.call import Call
from tenure.core.carriers import LoopLink
from tenure.core.command import Command, read_result
from tenure.errors import BadRequest, FrameTooLarge, PayloadTooLarge, QueueFull
from tenure.jobs import Enqueued

JOINED_MAX = 256
"""So many jobs are sent without waiting for the end of the turn, so that the broker can begin."""

JOINED_BYTES_MAX = 256 * 1024
"""The same for their bytes."""


_OF_ONE_JOB = (BadRequest, PayloadTooLarge, QueueFull)
"""Refusals that may spare the others; nothing was stored."""


class _Job(NamedTuple):
    """A packed job, and who waits for its id."""

    item: bytes
    waiter: asyncio.Future[Enqueued]


class Joiner:
    """Gathers single enqueues. For the tasks of one event loop."""

    __slots__ = ("_link", "_loop", "_queues", "_scheduled", "_sizes")

    def __init__(self, link: LoopLink) -> None:
        self._link = link
        self._queues: dict[str, list[_Job]] = {}
        self._sizes: dict[str, int] = {}
        self._scheduled = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def enqueue(self, queue: str, item: bytes) -> Enqueued:
        """The id of a packed job, once the broker has stored it. Raises why it did not."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # The first loop, or that of a fork: what the parent gathered is the parent's.
            self._loop, self._scheduled = loop, False
            self._queues.clear()
            self._sizes.clear()
        waiter: asyncio.Future[Enqueued] = loop.create_future()
        jobs = self._queues.setdefault(queue, [])
        jobs.append(_Job(item, waiter))
        size = self._sizes[queue] = self._sizes.get(queue, 0) + len(item)
        if len(jobs) >= JOINED_MAX or size >= JOINED_BYTES_MAX:
            self._send(queue)
        elif not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._send_all)
        return await waiter

    def _send_all(self) -> None:
        self._scheduled = False
        for queue in list(self._queues):
            self._send(queue)

    def _send(self, queue: str) -> None:
        self._sizes.pop(queue, None)
        self._submit(queue, self._queues.pop(queue))

    def _submit(self, queue: str, jobs: list[_Job]) -> None:
        # Whoever was cancelled before anything left wants nothing stored.
        jobs = [job for job in jobs if not job.waiter.done()]
        if not jobs:
            return
        command = enqueue_items(queue, [job.item for job in jobs])
        try:
            call = self._link.submit(command)
        except Exception as error:
            _fail(jobs, error)
            return
        call.waiter.add_done_callback(partial(self._answered, queue, jobs, call, command))

    def _answered(
        self,
        queue: str,
        jobs: list[_Job],
        call: Call,
        command: Command[list[Enqueued]],
        _: asyncio.Future[None],
    ) -> None:
        error = call.error
        if error is None:
            try:
                ids = read_result(command, call.result)
            except Exception as unreadable:
                error = unreadable
            else:
                for job, job_id in zip(jobs, ids, strict=True):
                    if not job.waiter.done():
                        job.waiter.set_result(job_id)
                return
        too_long_together = isinstance(error, FrameTooLarge) and call.sent_ms < 0
        if len(jobs) > 1 and (too_long_together or isinstance(error, _OF_ONE_JOB)):
            for job in jobs:
                self._submit(queue, [job])
        else:
            _fail(jobs, error)


def _fail(jobs: list[_Job], error: Exception) -> None:
    for job in jobs:
        if not job.waiter.done():
            job.waiter.set_exception(error)
