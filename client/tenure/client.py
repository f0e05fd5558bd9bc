"""The blocking client."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

from tenure.codecs import CodecName
from tenure.core import admin, bodies, fleet, work
from tenure.core.call import PING, Call
from tenure.core.carriers import Link
from tenure.core.command import Command
from tenure.core.failure import FailOptions, FailureKind
from tenure.core.fleet import Order
from tenure.core.reconnect import Reconnect
from tenure.core.work import Progress, Queues
from tenure.fleet import WorkerInfo
from tenure.info import Backup, Chore, DeadGroups, JobInfo, JobPage, QueueInfo, ServerInfo
from tenure.jobs import Enqueued, Lease, LeasedJob, NewJob, Outcome
from tenure.options import DeadFilter, Headers, JobDefaults, Moment, Priority, QueueSettings
from tenure.retry import Retry
from tenure.settings import Settings, settings_of, wall_ms
from tenure.sync_link import SyncLink
from tenure_protocol.durations import Duration

R = TypeVar("R")
Info = Mapping[str, Any]


class Client:
    """A connection to the broker for programs that block; any number of threads may share one.

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
        self._link: Link = SyncLink(self._settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def server(self) -> ServerInfo | None:
        """The broker of the last connection, with its limits; None before the first."""
        return self._link.server

    @property
    def draining(self) -> bool:
        """Whether the broker said that it is stopping: finish what is held, take nothing new."""
        return self._link.draining

    def close(self) -> None:
        """Close the connection. Calls in flight raise `ClientClosed`; leases stay until they end."""
        self._link.close()

    def _call(self, command: Command[R]) -> R:
        return self._link.call(command)

    def _run(self, steps: Generator[Command[Any], Any, R]) -> R:
        try:
            command = next(steps)
            while True:
                command = steps.send(self._call(command))
        except StopIteration as end:
            result: R = end.value
            return result

    # -- enqueue ------------------------------------------------------------------------

    def enqueue(
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
        return self._call(
            bodies.enqueue_one(queue, task, payload, {**options, "unique": unique}, self._encoding)
        )

    def enqueue_many(
        self,
        queue: str,
        jobs: Iterable[NewJob],
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
            self.ping()
            server = self._link.server
            assert server is not None
        chunker = bodies.chunker_for(queue, defaults, self._encoding, chunk_jobs, server)
        gathered = bodies.Gathered()
        flight: deque[tuple[Call, Command[list[str]], int]] = deque()
        try:
            for command, count in bodies.chunks(chunker, jobs):
                if len(flight) >= bodies.CHUNKS_IN_FLIGHT_MAX:
                    self._collect(flight, gathered)
                if gathered.error is not None:
                    break
                start = gathered.reserve(count)
                flight.append((self._link.submit(command), command, start))
        except Exception as error:
            gathered.fail(error)
        try:
            while flight:
                self._collect(flight, gathered)
        finally:
            for call, _, _ in flight:
                self._link.abandon(call)
        return gathered.result()

    def _collect(
        self, flight: deque[tuple[Call, Command[list[str]], int]], gathered: bodies.Gathered
    ) -> None:
        call, command, start = flight[0]
        try:
            gathered.fill(start, self._link.wait(call, command))
        except Exception as error:
            gathered.fail(error, start)
        flight.popleft()

    # -- reserve and settle -----------------------------------------------------------------

    def reserve(
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
        return self._call(
            work.reserve(queues, max_jobs, wait, lease, auto_ack=auto_ack, wall_ms=wall_ms)
        )

    @overload
    def ack(self, jobs: Lease, result: Any = None) -> Info: ...
    @overload
    def ack(
        self, jobs: Iterable[Lease], result: Any = None, *, results: Iterable[Any] | None = None
    ) -> list[Outcome]: ...
    def ack(
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
        outcomes = self._call(work.ack(jobs, result, results, self._encoding))
        return work.only(outcomes) if work.is_one(jobs) else outcomes

    def ack_and_reserve(
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
            return [], self._call(reserving)
        link = self._link
        acked, reserved = link.submit_all((acking, reserving))
        try:
            return link.wait(acked, acking), link.wait(reserved, reserving)
        except BaseException:
            # Jobs that nobody will see are given back.
            link.abandon(acked)
            link.abandon(reserved)
            raise

    @overload
    def fail(
        self, jobs: Lease, error: BaseException | str, **options: Unpack[FailOptions]
    ) -> Info: ...
    @overload
    def fail(
        self, jobs: Iterable[Lease], error: BaseException | str, **options: Unpack[FailOptions]
    ) -> list[Outcome]: ...
    def fail(
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
        outcomes = self._call(
            work.fail(jobs, error, retry_in=retry_in, dead=dead, kind=kind, traceback=traceback)
        )
        return work.only(outcomes) if work.is_one(jobs) else outcomes

    @overload
    def release(
        self, jobs: Lease, *, delay: Duration | None = None, reason: str | None = None
    ) -> Info: ...
    @overload
    def release(
        self, jobs: Iterable[Lease], *, delay: Duration | None = None, reason: str | None = None
    ) -> list[Outcome]: ...
    def release(
        self,
        jobs: Lease | Iterable[Lease],
        *,
        delay: Duration | None = None,
        reason: str | None = None,
    ) -> Info | list[Outcome]:
        """Give back unharmed, deliverable at once or after `delay`; no attempt is used up.

        `reason` is kept in the job's history.
        """
        outcomes = self._call(work.release(jobs, delay, reason))
        return work.only(outcomes) if work.is_one(jobs) else outcomes

    @overload
    def extend(self, jobs: Lease, lease: Duration | None = None) -> Info: ...
    @overload
    def extend(self, jobs: Iterable[Lease], lease: Duration | None = None) -> list[Outcome]: ...
    def extend(
        self, jobs: Lease | Iterable[Lease], lease: Duration | None = None
    ) -> Info | list[Outcome]:
        """Still at work: the lease begins anew, for `lease` or its own length.

        The info has `cancel` True when somebody asked to cancel the job.
        """
        outcomes = self._call(work.extend(jobs, lease, wall_ms))
        return work.only(outcomes) if work.is_one(jobs) else outcomes

    def note(
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
        return work.only(self._call(noted))

    # -- jobs by id -------------------------------------------------------------------------

    def wait(self, job_id: str, timeout: Duration = "1m") -> JobInfo:
        """The job once it has ended (see `ended`), or as it is when `timeout` is over."""
        return self._call(work.wait(job_id, timeout))

    def get(self, job_id: str) -> JobInfo:
        """All that the broker knows of a job. Raises `JobNotFound`."""
        return self._call(work.get(job_id))

    @overload
    def cancel(self, job_ids: str) -> Info: ...  # type: ignore[overload-overlap]
    @overload
    def cancel(self, job_ids: Iterable[str]) -> list[Outcome]: ...
    def cancel(self, job_ids: str | Iterable[str]) -> Info | list[Outcome]:
        """End waiting jobs; for a leased one its worker is asked to stop (`asked` in the info)."""
        outcomes = self._call(work.cancel(job_ids))
        return work.only(outcomes) if isinstance(job_ids, str) else outcomes

    def peek(
        self,
        queue: str,
        state: str = "ready",
        *,
        limit: int = 100,
        cursor: bytes | None = None,
        bodies: bool = True,
    ) -> JobPage:
        """A page of a queue's jobs in one state, leaving them alone; `cursor` goes on with it."""
        return self._call(admin.peek(queue, state, limit=limit, cursor=cursor, bodies=bodies))

    # -- queues -----------------------------------------------------------------------------

    def create_queue(self, queue: str, **settings: Unpack[QueueSettings]) -> QueueInfo:
        """Make a queue. Raises `QueueExists` if there is one with other settings."""
        return self._call(admin.create_queue(queue, settings))

    def configure_queue(self, queue: str, **settings: Unpack[QueueSettings]) -> QueueInfo:
        """Change the given settings of a queue; its durability cannot change."""
        return self._call(admin.configure_queue(queue, settings))

    def queues(self, prefix: str | None = None) -> list[QueueInfo]:
        """All queues, or those whose names begin with `prefix`."""
        return self._run(admin.all_queues(prefix))

    def queue(self, queue: str) -> QueueInfo:
        """A queue: settings, counts, pace. Raises `QueueNotFound`."""
        return self._call(admin.queue(queue))

    def pause_queue(self, queue: str) -> QueueInfo:
        """Deliver nothing from a queue; it still takes jobs, and leased ones go on."""
        return self._call(admin.pause_queue(queue))

    def resume_queue(self, queue: str) -> QueueInfo:
        """Deliver from a paused queue again."""
        return self._call(admin.resume_queue(queue))

    def purge_queue(self, queue: str) -> int:
        """Drop all waiting jobs of a queue and return their number; leased ones stay."""
        return self._call(admin.purge_queue(queue))

    def delete_queue(self, queue: str, *, force: bool = False) -> int:
        """Delete a queue and return how many jobs went with it.

        Raises `QueueNotEmpty` when it holds jobs and `force` is not given.
        """
        return self._call(admin.delete_queue(queue, force=force))

    # -- dead letters -----------------------------------------------------------------------

    def dead_jobs(
        self,
        queue: str,
        *,
        limit: int = 100,
        cursor: bytes | None = None,
        bodies: bool = True,
        **matching: Unpack[DeadFilter],
    ) -> JobPage:
        """A page of a queue's dead jobs; `cursor` goes on with it."""
        return self._call(
            admin.dead_jobs(queue, matching, limit=limit, cursor=cursor, bodies=bodies)
        )

    def dead_groups(self, queue: str) -> DeadGroups:
        """A queue's dead jobs grouped by what they died of."""
        return self._call(admin.dead_groups(queue))

    @overload
    def replay(self, queue: str, ids: Iterable[str]) -> list[Outcome]: ...
    @overload
    def replay(
        self,
        queue: str,
        *,
        limit: int | None = None,
        rate: float | None = None,
        **matching: Unpack[DeadFilter],
    ) -> int: ...
    def replay(
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
        return self._call(admin.replay(queue, ids, matching, limit=limit, rate=rate))

    @overload
    def purge_dead(self, queue: str, ids: Iterable[str]) -> list[Outcome]: ...
    @overload
    def purge_dead(self, queue: str, **matching: Unpack[DeadFilter]) -> int: ...
    def purge_dead(
        self, queue: str, ids: Iterable[str] | None = None, **matching: Unpack[DeadFilter]
    ) -> list[Outcome] | int:
        """Delete dead jobs: by `ids` at once, or all that match in the background (see `chore`)."""
        return self._call(admin.purge_dead(queue, ids, matching))

    def chore(self, chore: int) -> Chore:
        """How far a piece of background work is."""
        return self._call(admin.chore(chore))

    def chores(self) -> list[Chore]:
        """The background work that runs, and the last that ended."""
        return self._call(admin.chores())

    def cancel_chore(self, chore: int) -> Chore:
        """Stop a piece of background work where it is."""
        return self._call(admin.cancel_chore(chore))

    # -- workers ----------------------------------------------------------------------------

    def workers(self) -> list[WorkerInfo]:
        """The workers that are connected, and those lost within the last minute."""
        return self._call(fleet.workers())

    def worker(self, worker: str) -> WorkerInfo:
        """A worker by its id or name. Raises `WorkerNotFound`."""
        return self._call(fleet.worker(worker))

    def tell_worker(self, worker: str, do: Order) -> int:
        """Tell a worker, or all of that name, to "quiet", "resume" or "stop"; how many heard."""
        return self._call(fleet.tell(worker, do))

    def worker_stacks(self, worker: str, timeout: Duration = "10s") -> str:
        """What the threads of a worker do just now. Raises `WorkerSilent` after `timeout`."""
        return self._call(fleet.stacks(worker, timeout))

    # -- the broker -------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """The broker's own figures."""
        return self._call(admin.stats())

    def drain(self, *, off: bool = False) -> bool:
        """Let the broker take no new work, or (`off`) take it again; returns whether it drains."""
        return self._call(admin.drain(off=off))

    def backup(self, name: str | None = None, *, timeout: Duration = "10m") -> Backup:
        """Let the broker write a copy of its store while it works. Raises `BackupFailed`."""
        return self._call(admin.backup(name, timeout))

    def ping(self) -> float:
        """How long the broker takes to answer, in seconds."""
        start = time.perf_counter()
        self._call(PING)
        return time.perf_counter() - start

    def goodbye(self, keep: Lease | Iterable[Lease] | None = None) -> int:
        """Give back every lease but those to `keep`, unharmed, and close; returns how many."""
        try:
            return self._call(admin.goodbye(keep))
        finally:
            self.close()


def client_over(link: Link, settings: Settings) -> Client:
    """A client whose commands `link` carries. It opens no connection of its own."""
    client = Client.__new__(Client)
    client._settings = settings
    client._encoding = settings.encoding
    client._link = link
    return client
