"""A worker for the kill test: `load_worker.py URL JOURNAL NAME SEED LEASE_S`, until SIGTERM.

It takes jobs and acks most of them; some it fails, gives back, extends or forgets. Before
and after everything it writes down what it means to do and what came of it.
With `drain` as a last argument it acks everything and ends when the queue is empty.
"""

from __future__ import annotations

import faulthandler
import hashlib
import random
import signal
import sys
import threading
from pathlib import Path

from tenure import Client, LeasedJob
from tenure.errors import BrokerError, TenureError
from tests.acceptance.journal import Journal

QUEUE = "load"
WAIT_S = 0.2
LONG_LEASES = 4


class Worker:
    """One worker and its journal."""

    def __init__(self, url: str, journal: Path, name: str, seed: int, lease_s: float) -> None:
        self.client = Client(url, name=name, codec="raw", timeout="10s", connect_timeout="10s")
        self.journal, self.random, self.lease_s = Journal(journal), random.Random(seed), lease_s
        self.stop = threading.Event()

    def take(self) -> list[LeasedJob]:
        """Some jobs, written down."""
        self.journal.write("reserve")
        # Some leases outlast a restart, whatever that takes.
        lease_s = self.lease_s * self.random.choice([1, 1, 1, LONG_LEASES])
        try:
            jobs = self.client.reserve(
                QUEUE, max_jobs=self.random.randint(1, 12), wait=WAIT_S, lease=lease_s
            )
        except TenureError as error:
            self.journal.write("reserve failed", error=repr(error))
            return []
        got = []
        for job in jobs:
            payload: bytes = job.payload
            key = payload.split(b"|", 1)[0].decode(errors="replace")
            digest = hashlib.sha256(payload).hexdigest()
            got.append({"key": key, "id": job.id, "attempt": job.attempt, "hash": digest})
        self.journal.write("got", jobs=got, lease_s=lease_s)
        return jobs

    def settle(self, job: LeasedJob, how: str) -> None:
        """Ends or extends a lease, written down before and after."""
        token = {"id": job.id, "attempt": job.attempt, "how": how}
        self.journal.write("settle", **token)
        try:
            if how == "ack":
                self.client.ack(job)
            elif how == "fail":
                self.client.fail(job, "on purpose", retry_in=0.1)
            elif how == "bury":
                self.client.fail(job, "on purpose", dead=True)
            elif how == "release":
                self.client.release(job)
            else:
                self.client.extend(job)
        except BrokerError as error:
            self.journal.write("settle refused", **token, code=error.code)
        except TenureError as error:
            self.journal.write("settle unknown", **token, error=repr(error))
        else:
            self.journal.write("settled", **token)

    def work(self) -> None:
        """Takes and settles until it is told to stop."""
        ways = ["ack", "fail", "bury", "release", "extend", "forget"]
        while not self.stop.is_set():
            for job in self.take():
                [how] = self.random.choices(ways, [86, 4, 1, 4, 2, 3])
                if how == "extend":
                    self.settle(job, how)
                    how = "ack"
                if how != "forget":
                    self.settle(job, how)

    def drain(self) -> None:
        """Acks everything until no unfinished job is left, then writes the dead ones down."""
        while self.client.queue(QUEUE).jobs:
            for job in self.take():
                self.settle(job, "ack")
        cursor = None
        dead: list[str] = []
        while True:
            page = self.client.dead_jobs(QUEUE, limit=500, cursor=cursor, bodies=False)
            dead += [job.id for job in page.jobs]
            cursor = page.cursor
            if cursor is None:
                break
        self.journal.write("drained", dead=dead)


def main() -> None:
    """Works, or drains."""
    faulthandler.register(signal.SIGUSR1)  # so that one that hangs can say where
    url, journal, name, seed, lease_s = sys.argv[1:6]
    worker = Worker(url, Path(journal), name, int(seed), float(lease_s))
    signal.signal(signal.SIGTERM, lambda *_: worker.stop.set())
    if sys.argv[6:] == ["drain"]:
        worker.drain()
    else:
        worker.work()
    worker.journal.write("closed")
    worker.client.close()


if __name__ == "__main__":
    main()
