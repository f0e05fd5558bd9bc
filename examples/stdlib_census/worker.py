"""A worker process: reserve, work, ack. Run as `python -m examples.stdlib_census.worker`.

It takes a few jobs at a time under a short lease and keeps extending those it still holds, so
a worker that dies is noticed after seconds and one that is merely slow keeps its jobs.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from examples.stdlib_census.analyse import UnparsableError, analyse
from tenure import Client, LeasedJob, LeaseLost

JOBS_AT_ONCE = 8
HEARTBEAT_S = 0.7
WAIT_S = 1.0
PAUSE_S = 0.2


class Held:
    """The jobs this worker holds now, shared with the thread that keeps extending them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, LeasedJob] = {}

    def take(self, jobs: list[LeasedJob]) -> None:
        """Adds `jobs`."""
        with self._lock:
            self._jobs.update((job.id, job) for job in jobs)

    def drop(self, job: LeasedJob) -> None:
        """Removes `job`."""
        with self._lock:
            self._jobs.pop(job.id, None)

    def all(self) -> list[LeasedJob]:
        """Those held at this moment."""
        with self._lock:
            return list(self._jobs.values())


def keep_extending(client: Client, held: Held, stop: threading.Event) -> None:
    """Moves the end of every held lease until `stop` is set."""
    while not stop.wait(HEARTBEAT_S):
        jobs = held.all()
        try:
            if jobs:
                client.extend(jobs)
        except (ConnectionError, TimeoutError):
            continue  # the broker is being restarted, and will wait for us


def work(client: Client, queue: str, library: Path, stop: threading.Event) -> None:
    """Does jobs until `stop` is set."""
    held = Held()
    threading.Thread(target=keep_extending, args=(client, held, stop), daemon=True).start()
    while not stop.is_set():
        try:
            jobs = client.reserve(queue, max_jobs=JOBS_AT_ONCE, wait=WAIT_S)
        except (ConnectionError, TimeoutError):
            stop.wait(PAUSE_S)
            continue
        held.take(jobs)
        for job in jobs:
            if not stop.is_set():
                settle(client, job, library)
            held.drop(job)


def settle(client: Client, job: LeasedJob, library: Path) -> None:
    """Does one job and says so. What cannot be said is left to the lease: it will end."""
    path = job.payload["path"]
    try:
        try:
            findings = analyse(path, (library / path).read_bytes())
        except UnparsableError as error:
            client.fail(job, error, dead=True)  # no further attempt would end differently
        else:
            client.ack(job, findings)
    except LeaseLost:
        print(f"{path}: attempt {job.attempt} came too late; another one has the job", flush=True)
    except (ConnectionError, TimeoutError) as error:
        print(f"{path}: attempt {job.attempt} could not be settled: {error}", flush=True)


def main() -> int:
    """A worker until SIGTERM."""
    parser = argparse.ArgumentParser(description="A worker of the census.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--library", type=Path, required=True)
    options = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    os.nice(5)  # background work: whoever watches it comes first
    with Client(options.url, name=options.name) as client:
        work(client, options.queue, options.library, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
