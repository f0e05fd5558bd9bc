"""A client that writes down, in the recording itself, what it asks for and what was confirmed."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

from tenure import Client, LeasedJob, NewJob
from tenure.errors import BrokerError, PartlyEnqueued, TenureError
from tests.power.promises import key_of, payload_of
from tests.power.trace import Marker

LEASE = DELAY = "6h"
"""Longer than any test: time changes nothing meanwhile."""

_numbers = itertools.count(1)


class Lost(Exception):
    """A call ended without an answer that says what became of it."""


class Actor:
    """One client with a queue of its own, doing one thing after another.

    Every method raises `Lost` when the outcome is unknown: then nothing more is done.
    """

    def __init__(self, url: str, mark: Marker, queue: str, *, timeout: str = "60s") -> None:
        self.client = Client(
            url,
            name=queue,
            codec="raw",
            timeout=timeout,
            connect_timeout=timeout,
            reconnect=False,
            compress_over=False,
        )
        self.queue = queue
        self.confirmed = 0
        """Calls that were confirmed."""
        self._mark = mark
        self._keys = itertools.count(1)
        self._held: list[LeasedJob] = []
        self._waiting: dict[str, str] = {}
        """Keys of jobs in line -> their ids."""

    def close(self) -> None:
        """Ends the connection."""
        self.client.close()

    def _ask(
        self, op: str, effects: dict[str, list[Any]], call: Callable[[], Any], **more: Any
    ) -> Any:
        number = next(_numbers)
        self._mark(phase="begin", id=number, op=op, queue=self.queue, effects=effects)
        try:
            result = call()
        except PartlyEnqueued as error:
            self._mark(phase="end", id=number, outcome="unknown")
            raise Lost(repr(error)) from error
        except BrokerError as error:
            if error.code == "INTERNAL":
                self._mark(phase="end", id=number, outcome="unknown")
                raise Lost(repr(error)) from error
            self._mark(phase="end", id=number, outcome="refused")
            raise
        except TenureError as error:
            self._mark(phase="end", id=number, outcome="unknown")
            raise Lost(repr(error)) from error
        if op == "reserve":
            effects = {key_of(job.payload): ["leased", job.attempt] for job in result}
        self._mark(phase="end", id=number, outcome="done", effects=effects, **more)
        self.confirmed += 1
        return result

    # ---- what it can do --------------------------------------------------------------------

    def create(self, **settings: Any) -> None:
        """Makes its queue."""
        self._ask("create", {}, lambda: self.client.create_queue(self.queue, **settings))

    def enqueue(self, count: int = 1, *, size: int = 60, delayed: bool = False) -> None:
        """Enqueues jobs in one request."""
        keys = [f"{self.queue}-{next(self._keys)}" for _ in range(count)]
        state = "scheduled" if delayed else "ready"
        options: dict[str, Any] = {"delay": DELAY} if delayed else {}
        jobs = [NewJob("work", payload_of(key, size)) for key in keys]
        ids = self._ask(
            "enqueue",
            {key: [state] for key in keys},
            lambda: self.client.enqueue_many(self.queue, jobs, chunk_jobs=10_000, **options),
        )
        self._waiting.update(zip(keys, ids, strict=True))

    def reserve(self, count: int = 1) -> int:
        """Takes jobs and holds them; how many."""
        jobs = self._ask(
            "reserve", {}, lambda: self.client.reserve(self.queue, max_jobs=count, lease=LEASE)
        )
        for job in jobs:
            del self._waiting[key_of(job.payload)]
        self._held += jobs
        return len(jobs)

    def _settle(
        self, op: str, state: str, count: int, call: Callable[[list[LeasedJob]], Any]
    ) -> None:
        jobs, self._held = self._held[:count], self._held[count:]
        if jobs:
            effects = {key_of(job.payload): [state] for job in jobs}
            self._ask(op, effects, lambda: call(jobs))
        if state in ("ready", "retrying"):
            self._waiting.update({key_of(job.payload): job.id for job in jobs})

    def ack(self, count: int = 1, *, kept: bool = False, result: bytes = b"done") -> None:
        """Ends held jobs; in a queue that keeps them they have succeeded."""
        state = "succeeded" if kept else "gone"
        self._settle("ack", state, count, lambda jobs: self.client.ack(jobs, result))

    def fail(self, count: int = 1) -> None:
        """Held jobs are to be tried again, much later."""
        self._settle(
            "fail", "retrying", count, lambda jobs: self.client.fail(jobs, "no", retry_in=DELAY)
        )

    def bury(self, count: int = 1) -> None:
        """Held jobs become dead letters."""
        self._settle("bury", "dead", count, lambda jobs: self.client.fail(jobs, "no", dead=True))

    def release(self, count: int = 1) -> None:
        """Held jobs are given back."""
        self._settle("release", "ready", count, self.client.release)

    def extend(self, count: int = 1) -> None:
        """Held jobs are held on."""
        jobs = self._held[:count]
        if jobs:
            self._ask("extend", {}, lambda: self.client.extend(jobs, LEASE))

    def cancel(self, count: int = 1) -> None:
        """Jobs in line are called off."""
        keys = list(self._waiting)[-count:]
        ids = [self._waiting.pop(key) for key in keys]
        self._ask("cancel", {key: ["cancelled"] for key in keys}, lambda: self.client.cancel(ids))

    def purge(self) -> None:
        """All jobs in line go."""
        effects = {key: ["gone"] for key in self._waiting}
        self._waiting.clear()
        self._ask("purge", effects, lambda: self.client.purge_queue(self.queue))

    def backup(self, name: str) -> None:
        """A backup; what was confirmed before must be in it."""
        self._ask("backup", {}, lambda: self.client.backup(name), backup=name)


def together(*scripts: Callable[[], None]) -> None:
    """Runs scripts at the same time. Raises the first error of one."""
    errors: list[BaseException] = []

    def run(script: Callable[[], None]) -> None:
        try:
            script()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(script,)) for script in scripts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
