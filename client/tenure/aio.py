"""The asyncio client."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

from tenure.aio_link import AsyncLink
from tenure.codecs import CodecName
from tenure.core import admin, bodies, fleet, work
from tenure.core.call import PING, Call
from tenure.core.carriers import LoopLink
from tenure.core.command import Command
from tenure.core.failure import FailOptions, FailureKind
from tenure.core.fleet import Order
from tenure.core.reconnect import Reconnect
from tenure.core.work import Progress, Queues
from tenure.fleet import WorkerInfo
from tenure.info import Backup, Chore, DeadGroups, JobInfo, JobPage, QueueInfo, ServerInfo
from tenure.jobs import Enqueued, Lease, LeasedJob, NewJob, Outcome
from tenure.joiner import Joiner
from tenure.options import DeadFilter, Headers, JobDefaults, Moment, Priority, QueueSettings
from tenure.retry import Retry
from tenure.settings import Settings, settings_of, wall_ms
from tenure_protocol.durations import Duration
from tenure_protocol.names import check_queue_name

R = TypeVar("R")
Info = Mapping[str, Any]


class AsyncClient:
    """A connection to the broker for asyncio; any number of tasks of one event loop may share one.

    It connects at its first call, and again by itself after a break. What is safe to repeat
    (enqueue, reserve, ack, fail, release, extend, cancel and everything that only reads) is
    repeated within `timeout`; the rest raises `OutcomeUnknown` when the break leaves it open
    whether it was done. Jobs leased to a reply that was lost come back when that lease ends.

    - `url`: `tenure://host:port`, several hosts with commas; else TENURE_URL, else this machine.
    - `name`: what the broker shows for this client; by default user@host/pid.
    - `codec`: how payloads and results are encoded: "msgpack", "json" or "raw" (bytes).
    - `timeout`: how long a call may take, besides the time it asks the broker to wait.
    - `connect_timeout`: for one try to connect, and for all tries before the first success.
    - `reconnect`: False to fail at every break instead, or a `Reconnect` with its own pauses.
    - `compress_over`: compress payloads of more bytes with zstd; True: over 64 KiB. Whoever reads
      them needs `tenure[zstd]`, too.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        name: str | None = None,
        codec: CodecName = "msgpack",
        timeout: Duration = "30s",
        connect_timeout: Duration = "5s",
        reconnect: bool | Reconnect = True,
        compress_over: int | bool = False,
    ) -> None:
        self._settings = settings_of(
            url,
            name=name,
            codec=codec,
            timeout=timeout,
            connect_timeout=connect_timeout,
            reconnect=reconnect,
            compress_over=compress_over,
        )
        self._encoding = self._settings.encoding
        self._link: LoopLink = AsyncLink(self._settings)
        self._joiner = Joiner(self._link)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def server(self) -> ServerInfo | None:
        """The broker of the last connection, with its limits; None before the first."""
        return self._link.server

    @property
    def draining(self) -> bool:
        """Whether the broker said that it is stopping: finish what is held, take nothing new."""
        return self._link.draining

    async def close(self) -> None:
        """Close the connection. Calls in flight raise `ClientClosed`; leases stay until they end."""
        await self._link.close()

    async def _call(self, command: Command[R]) -> R:
        return await self._link.call(command)

    async def _run(self, steps: Generator[Command[Any], Any, R]) -> R:
        try:
            command = next(steps)
            while True:
                command = steps.send(await self._call(command))
        except StopIteration as end:
            result: R = end.value
            return result

    # -- enqueue ------------------------------------------------------------------------

    async def enqueue(
        self,
        queue: str,
        task: str,
        payload: Any = None,
        *,
        priority: Priority | None = None,
        delay: Duration | None = None,
        run_at: Moment | None = None,
        max_attempts: int | None = None,
        retry: Retry | None = None,
        lease: Duration | None = None,
        expires: Duration | datetime | None = None,
        unique: str | None = None,
        headers: Headers | None = None,
        retention: Duration | None = None,
        codec: CodecName | None = None,
    ) -> Enqueued:
        """Store a job durably and return its id. What is left out is the queue's setting.

        - `priority`: 0 to 255, 0 first; or "critical", "high", "normal", "low".
        - `delay` or `run_at`: not before then (a `datetime` needs a time zone).
        - `max_attempts`, `retry`, `lease`: how often, at what pauses, for how long at a time.
        - `expires`: ends unstarted jobs after this time, or at this moment.
        - `unique`: while an unfinished job of the queue has this name, none is added: the
          result is that job's id and its `existing` is True.
        - `retention`: how long the ended job and its result can still be read.

        Raises `QueueFull`, `StoreFull`, `PayloadTooLarge`, `Draining`: nothing was stored.
        """
        options: JobDefaults = {
            "priority": priority,
            "delay": delay,
            "run_at": run_at,
            "max_attempts": max_attempts,
            "retry": retry,
            "lease": lease,
            "expires": expires,
            "headers": headers,
            "retention": retention,
            "codec": codec,
        }
        check_queue_name(queue)
        item = bodies.enqueue_item(task, payload, {**options, "unique": unique}, self._encoding)
        return await self._joiner.enqueue(queue, item)

    async def enqueue_many(
        self,
        queue: str,
        jobs: Iterable[NewJob] | AsyncIterable[NewJob],
        *,
        chunk_jobs: int = 1000,
        **defaults: Unpack[JobDefaults],
    ) -> list[str]:
        """Store jobs, as many as there are, and return their ids in order.

        They leave in chunks of up to `chunk_jobs` jobs or about a megabyte, several in flight.
        Each chunk is stored whole or not at all. `defaults` are the options of jobs that do
        not say otherwise. The id of a job whose unique name was held is an `Enqueued` with
        `existing` True; the others are plain texts.

        Raises the first error if nothing was stored, else `PartlyEnqueued` with the ids so far.
        """
        server = self._link.server
        if server is None:
            await self.ping()
            server = self._link.server
            assert server is not None
        chunker = bodies.chunker_for(queue, defaults, self._encoding, chunk_jobs, server)
        gathered = bodies.Gathered()
        flight: deque[tuple[Call, Command[list[str]], int]] = deque()
        try:
            async for command, count in _chunks(chunker, jobs):
                if len(flight) >= bodies.CHUNKS_IN_FLIGHT_MAX:
                    await self._collect(flight, gathered)
                if gathered.error is not None:
                    break
                start = gathered.reserve(count)
                flight.append((self._link.submit(command), command, start))
        except Exception as error:
            gathered.fail(error)
        try:
            while flight:
                await self._collect(flight, gathered)
        finally:
            for call, _, _ in flight:
                self._link.abandon(call)
        return gathered.result()

    async def _collect(
        self, flight: deque[tuple[Call, Command[list[str]], int]], gathered: bodies.Gathered
    ) -> None:
        call, command, start = flight[0]
        try:
            gathered.fill(start, await self._link.wait(call, command))
        except Exception as error:
            gathered.fail(error, start)
        flight.popleft()

    # -- reserve and settle -----------------------------------------------------------------

    async def reserve(
        self,
        queues: Queues,
        *,
        max_jobs: int = 1,
        wait: Duration = 0,
        lease: Duration | None = None,
        auto_ack: bool = False,
    ) -> list[LeasedJob]:
        """Lease up to `max_jobs` jobs; wait up to `wait` for the first. Empty if none came.

        `queues` is a name, several names (the first one first), or names with weights.
        `lease` overrides the jobs' own. With `auto_ack` the jobs count as done when they leave
        the broker: at most once, none is due back, and a reply that gets lost is lost.
        """
        return await self._call(
            work.reserve(queues, max_jobs, wait, lease, auto_ack=auto_ack, wall_ms=wall_ms)
        )

    @overload
    async def ack(self, jobs: Lease, result: Any = None) -> Info: ...
    @overload
    async def ack(
        self, jobs: Iterable[Lease], result: Any = None, *, results: Iterable[Any] | None = None
    ) -> list[Outcome]: ...
    async def ack(
        self,
        jobs: Lease | Iterable[Lease],
        result: Any = None,
        *,
        results: Iterable[Any] | None = None,
    ) -> Info | list[Outcome]:
        """The work is done. `result` is kept for the job's retention; `results` has one each.

        For one job raises `LeaseLost` when another attempt may have it; for many returns an
        `Outcome` each.
        """
        outcomes = await self._call(work.ack(jobs, result, results, self._encoding))
        return work.only(outcomes) if work.is_one(jobs) else outcomes

    async def ack_and_reserve(
        self,
        jobs: Lease | Iterable[Lease],
        queues: Queues,
        *,
        result: Any = None,
        results: Iterable[Any] | None = None,
        max_jobs: int = 1,
        wait: Duration = 0,
        lease: Duration | None = None,
    ) -> tuple[list[Outcome], list[LeasedJob]]:
        """Ack `jobs`, one or many, and lease the next ones: one trip, and one sync for both.

        The arguments are those of `ack` and `reserve`; without `jobs` it only reserves. Returns an
        `Outcome` for each of `jobs`, a `LeaseLost` among them, and the leased jobs, when both are
        answered: the ack counts from its own answer on, however long the reserve waits.

        Raises what went wrong with the ack, else with the reserve. Jobs that were leased are then
        given back; acks that were done stand, so ack again: it is answered as the first time.
        """
        held = work.leases_of(jobs)
        acking = work.ack(held, result, results, self._encoding)
        reserving = work.reserve(queues, max_jobs, wait, lease, auto_ack=False, wall_ms=wall_ms)
        if not held:
            return [], await self._call(reserving)
        link = self._link
        # What is submitted in one turn of the loop leaves in one write.
        acked, reserved = link.submit(acking), link.submit(reserving)
        try:
            return await link.wait(acked, acking), await link.wait(reserved, reserving)
        except BaseException:
            # Jobs that nobody will see are given back.
            link.abandon(acked)
            link.abandon(reserved)
            raise

    @overload
    async def fail(
        self, jobs: Lease, error: BaseException | str, **options: Unpack[FailOptions]
    ) -> Info: ...
    @overload
    async def fail(
        self, jobs: Iterable[Lease], error: BaseException | str, **options: Unpack[FailOptions]
    ) -> list[Outcome]: ...
    async def fail(
        self,
        jobs: Lease | Iterable[Lease],
        error: BaseException | str,
        *,
        retry_in: Duration | None = None,
        dead: bool = False,
        kind: FailureKind = "failed",
        traceback: str | None = None,
    ) -> Info | list[Outcome]:
        """The work failed: try again by the retry policy, after `retry_in`, or (`dead`) never.

        The info says what became of the job: `state` ("retrying", "dead", "cancelled") and
        `ready_at_ms`. One or many as with `ack`.
        """
        outcomes = await self._call(
            work.fail(jobs, error, retry_in=retry_in, dead=dead, kind=kind, traceback=traceback)
        )
        return work.only(outcomes) if work.is_one(jobs) else outcomes

    @overload
    async def release(
        self, jobs: Lease, *, delay: Duration | None = None, reason: str | None = None
    ) -> Info: ...
    @overload
    async def release(
        self, jobs: Iterable[Lease], *, delay: Duration | None = None, reason: str | None = None
    ) -> list[Outcome]: ...
    async def release(
        self,
        jobs: Lease | Iterable[Lease],
        *,
        delay: Duration | None = None,
        reason: str | None = None,
    ) -> Info | list[Outcome]:
        """Give back unharmed, deliverable at once or after `delay`; no attempt is used up.

        `reason` is kept in the job's history.
        """
        outcomes = await self._call(work.release(jobs, delay, reason))
        return work.only(outcomes) if work.is_one(jobs) else outcomes

    @overload
    async def extend(self, jobs: Lease, lease: Duration | None = None) -> Info: ...
    @overload
    async def extend(
        self, jobs: Iterable[Lease], lease: Duration | None = None
    ) -> list[Outcome]: ...
    async def extend(
        self, jobs: Lease | Iterable[Lease], lease: Duration | None = None
    ) -> Info | list[Outcome]:
        """Still at work: the lease begins anew, for `lease` or its own length.

        The info has `cancel` True when somebody asked to cancel the job.
        """
        outcomes = await self._call(work.extend(jobs, lease, wall_ms))
        return work.only(outcomes) if work.is_one(jobs) else outcomes

    async def note(
        self,
        job: Lease,
        *,
        checkpoint: bytes | None = None,
        progress: Progress | None = None,
        log: Iterable[str] = (),
    ) -> Info:
        """What a running job wants known. Durable when this returns; raises `LeaseLost`.

        - `checkpoint`: handed to the next attempt, as `LeasedJob.checkpoint`.
        - `progress`: so many, of how many (or None), and a message (or None): for `get`.
        - `log`: lines for `get`, which shows the last 20.
        """
        noted = work.note(job, checkpoint=checkpoint, progress=progress, log=log)
        return work.only(await self._call(noted))

    # -- jobs by id -------------------------------------------------------------------------

    async def wait(self, job_id: str, timeout: Duration = "1m") -> JobInfo:
        """The job once it has ended (see `ended`), or as it is when `timeout` is over."""
        return await self._call(work.wait(job_id, timeout))

    async def get(self, job_id: str) -> JobInfo:
        """All that the broker knows of a job. Raises `JobNotFound`."""
        return await self._call(work.get(job_id))

    @overload
    async def cancel(self, job_ids: str) -> Info: ...  # type: ignore[overload-overlap]
    @overload
    async def cancel(self, job_ids: Iterable[str]) -> list[Outcome]: ...
    async def cancel(self, job_ids: str | Iterable[str]) -> Info | list[Outcome]:
        """End waiting jobs; for a leased one its worker is asked to stop (`asked` in the info)."""
        outcomes = await self._call(work.cancel(job_ids))
        return work.only(outcomes) if isinstance(job_ids, str) else outcomes

    async def peek(
        self,
        queue: str,
        state: str = "ready",
        *,
        limit: int = 100,
        cursor: bytes | None = None,
        bodies: bool = True,
    ) -> JobPage:
        """A page of a queue's jobs in one state, leaving them alone; `cursor` goes on with it."""
        return await self._call(admin.peek(queue, state, limit=limit, cursor=cursor, bodies=bodies))

    # -- queues -----------------------------------------------------------------------------

    async def create_queue(self, queue: str, **settings: Unpack[QueueSettings]) -> QueueInfo:
        """Make a queue. Raises `QueueExists` if there is one with other settings."""
        return await self._call(admin.create_queue(queue, settings))

    async def configure_queue(self, queue: str, **settings: Unpack[QueueSettings]) -> QueueInfo:
        """Change the given settings of a queue; its durability cannot change."""
        return await self._call(admin.configure_queue(queue, settings))

    async def queues(self, prefix: str | None = None) -> list[QueueInfo]:
        """All queues, or those whose names begin with `prefix`."""
        return await self._run(admin.all_queues(prefix))

    async def queue(self, queue: str) -> QueueInfo:
        """A queue: settings, counts, pace. Raises `QueueNotFound`."""
        return await self._call(admin.queue(queue))

    async def pause_queue(self, queue: str) -> QueueInfo:
        """Deliver nothing from a queue; it still takes jobs, and leased ones go on."""
        return await self._call(admin.pause_queue(queue))

    async def resume_queue(self, queue: str) -> QueueInfo:
        """Deliver from a paused queue again."""
        return await self._call(admin.resume_queue(queue))

    async def purge_queue(self, queue: str) -> int:
        """Drop all waiting jobs of a queue and return their number; leased ones stay."""
        return await self._call(admin.purge_queue(queue))

    async def delete_queue(self, queue: str, *, force: bool = False) -> int:
        """Delete a queue and return how many jobs went with it.

        Raises `QueueNotEmpty` when it holds jobs and `force` is not given.
        """
        return await self._call(admin.delete_queue(queue, force=force))

    # -- dead letters -----------------------------------------------------------------------

    async def dead_jobs(
        self,
        queue: str,
        *,
        limit: int = 100,
        cursor: bytes | None = None,
        bodies: bool = True,
        **matching: Unpack[DeadFilter],
    ) -> JobPage:
        """A page of a queue's dead jobs; `cursor` goes on with it."""
        return await self._call(
            admin.dead_jobs(queue, matching, limit=limit, cursor=cursor, bodies=bodies)
        )

    async def dead_groups(self, queue: str) -> DeadGroups:
        """A queue's dead jobs grouped by what they died of."""
        return await self._call(admin.dead_groups(queue))

    @overload
    async def replay(self, queue: str, ids: Iterable[str]) -> list[Outcome]: ...
    @overload
    async def replay(
        self,
        queue: str,
        *,
        limit: int | None = None,
        rate: float | None = None,
        **matching: Unpack[DeadFilter],
    ) -> int: ...
    async def replay(
        self,
        queue: str,
        ids: Iterable[str] | None = None,
        *,
        limit: int | None = None,
        rate: float | None = None,
        **matching: Unpack[DeadFilter],
    ) -> list[Outcome] | int:
        """Send dead jobs back to work with their ids and history and fresh attempts.

        With `ids` at once, an `Outcome` each. Otherwise in the background: all that match, at
        most `limit`, at `rate` jobs per second; the result is the number for `chore`.
        """
        return await self._call(admin.replay(queue, ids, matching, limit=limit, rate=rate))

    @overload
    async def purge_dead(self, queue: str, ids: Iterable[str]) -> list[Outcome]: ...
    @overload
    async def purge_dead(self, queue: str, **matching: Unpack[DeadFilter]) -> int: ...
    async def purge_dead(
        self, queue: str, ids: Iterable[str] | None = None, **matching: Unpack[DeadFilter]
    ) -> list[Outcome] | int:
        """Delete dead jobs: by `ids` at once, or all that match in the background (see `chore`)."""
        return await self._call(admin.purge_dead(queue, ids, matching))

    async def chore(self, chore: int) -> Chore:
        """How far a piece of background work is."""
        return await self._call(admin.chore(chore))

    async def chores(self) -> list[Chore]:
        """The background work that runs, and the last that ended."""
        return await self._call(admin.chores())

    async def cancel_chore(self, chore: int) -> Chore:
        """Stop a piece of background work where it is."""
        return await self._call(admin.cancel_chore(chore))

    # -- workers ----------------------------------------------------------------------------

    async def workers(self) -> list[WorkerInfo]:
        """The workers that are connected, and those lost within the last minute."""
        return await self._call(fleet.workers())

    async def worker(self, worker: str) -> WorkerInfo:
        """A worker by its id or name. Raises `WorkerNotFound`."""
        return await self._call(fleet.worker(worker))

    async def tell_worker(self, worker: str, do: Order) -> int:
        """Tell a worker, or all of that name, to "quiet", "resume" or "stop"; how many heard."""
        return await self._call(fleet.tell(worker, do))

    async def worker_stacks(self, worker: str, timeout: Duration = "10s") -> str:
        """What the threads of a worker do just now. Raises `WorkerSilent` after `timeout`."""
        return await self._call(fleet.stacks(worker, timeout))

    # -- the broker -------------------------------------------------------------------------

    async def stats(self) -> dict[str, Any]:
        """The broker's own figures."""
        return await self._call(admin.stats())

    async def drain(self, *, off: bool = False) -> bool:
        """Let the broker take no new work, or (`off`) take it again; returns whether it drains."""
        return await self._call(admin.drain(off=off))

    async def backup(self, name: str | None = None, *, timeout: Duration = "10m") -> Backup:
        """Let the broker write a copy of its store while it works. Raises `BackupFailed`."""
        return await self._call(admin.backup(name, timeout))

    async def ping(self) -> float:
        """How long the broker takes to answer, in seconds."""
        start = time.perf_counter()
        await self._call(PING)
        return time.perf_counter() - start

    async def goodbye(self, keep: Lease | Iterable[Lease] | None = None) -> int:
        """Give back every lease but those to `keep`, unharmed, and close; returns how many."""
        try:
            return await self._call(admin.goodbye(keep))
        finally:
            await self.close()


def async_client_over(link: LoopLink, settings: Settings) -> AsyncClient:
    """A client whose commands `link` carries. It opens no connection of its own."""
    client = AsyncClient.__new__(AsyncClient)
    client._settings = settings
    client._encoding = settings.encoding
    client._link = link
    client._joiner = Joiner(link)
    return client


async def _chunks(
    chunker: bodies.Chunker, jobs: Iterable[NewJob] | AsyncIterable[NewJob]
) -> AsyncIterator[tuple[Command[list[str]], int]]:
    """The chunks of `jobs`; between two of them others get their turn, and frames leave."""
    if not isinstance(jobs, AsyncIterable):
        for chunk in bodies.chunks(chunker, jobs):
            yield chunk
            await asyncio.sleep(0)
        return
    async for job in jobs:
        full = chunker.add(job)
        if full is not None:
            yield full
    last = chunker.rest()
    if last is not None:
        yield last
