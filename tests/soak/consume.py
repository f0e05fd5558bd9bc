"""A worker of the soak: `consume.py URL DIRECTORY NAME SEED LEASE_S`, until SIGTERM.

It takes jobs and acks most of them; others it fails, buries, gives back, extends, notes something
about or forgets. While there is a file called `hold` in DIRECTORY it does nothing; a file called
`drain` makes it ack everything.
"""

from __future__ import annotations

import hashlib
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tenure import Client, LeasedJob
from tenure.errors import BrokerError, TenureError
from tests.soak.trail import Trail, number_of

QUEUES = {"mixed": 6, "later": 2, "unique": 1, "large": 1, "kept": 1}
WAYS = {
    "ack": 78,
    "fail": 6,
    "fail soon": 3,
    "bury": 2,
    "release": 4,
    "extend": 2,
    "note": 4,
    "forget": 1,
}
WAIT_S = 0.3
LOOK_S = 0.05


class Worker:
    """One worker and its trail."""

    def __init__(self, url: str, directory: Path, name: str, seed: int, lease_s: float) -> None:
        self.client = Client(url, name=name, codec="raw", timeout="20s", connect_timeout="20s")
        self.trail, self.lease_s = Trail(directory, name), lease_s
        self.hold, self.drain = directory / "hold", directory / "drain"
        self.random, self.stop = random.Random(seed), threading.Event()

    def run(self) -> None:
        """Takes and settles."""
        while not self.stop.is_set():
            if self.hold.exists():
                self.trail.write("holding", number=number_of(self.hold))
                while self.hold.exists() and not self.stop.wait(LOOK_S):
                    pass
                continue
            draining = self.drain.exists()
            for job in self.take():
                [how] = (
                    ["ack"] if draining else self.random.choices(list(WAYS), list(WAYS.values()))
                )
                if how == "note":
                    self.note(job)
                elif how == "extend":
                    self.settle(job, "extend")
                if how in ("note", "extend"):
                    how = self.random.choice(["ack", "fail", "release", "forget"])
                if how != "forget":
                    self.settle(job, how)

    def take(self) -> list[LeasedJob]:
        """Some jobs, written down."""
        asked = time.monotonic()
        try:
            jobs = self.client.reserve(
                QUEUES, max_jobs=self.random.randint(1, 12), wait=WAIT_S, lease=self.lease_s
            )
        except TenureError as error:
            self.trail.write("did", what=f"reserve failed ({type(error).__name__})")
            self.stop.wait(LOOK_S)
            return []
        if jobs:
            wall_ms = time.time() * 1e3
            got = [told_of(job) for job in jobs]
            self.trail.write("got", jobs=got, asked=asked, lease=self.lease_s, w=wall_ms)
        return jobs

    def note(self, job: LeasedJob) -> None:
        """A checkpoint, a progress and a line, durably."""
        saved = self.random.randbytes(self.random.choice([10, 100, 3_000]))
        told = {"id": job.id, "n": job.attempt, "how": "note", "cp": digest(saved)}
        self.trail.write("settle", **told)
        begun = time.monotonic()
        try:
            self.client.note(job, checkpoint=saved, progress=(1, 2, "half"), log=["half way"])
        except BrokerError:
            self.trail.write("settle refused", **told, since=begun)
        except TenureError as error:
            self.trail.write("did", what=f"note unknown ({type(error).__name__})")
        else:
            self.trail.write("settled", **told, since=begun)

    def settle(self, job: LeasedJob, how: str) -> None:
        """Ends or extends a lease, written down before and after."""
        pause_s = self.random.choice([0.1, 0.5, 2]) if how in ("fail soon", "release") else None
        told: dict[str, Any] = {"id": job.id, "n": job.attempt, "how": how.split()[0]}
        if how == "bury":
            told["how"] = "fail"
        if pause_s is not None:
            told["again"] = int(time.time() * 1e3) + 1e3 * pause_s
        self.trail.write("settle", **told)
        begun = time.monotonic()
        try:
            info = self._settle(job, how, pause_s)
        except BrokerError as error:
            self.trail.write("settle refused", **told, since=begun, code=error.code)
        except TenureError as error:
            self.trail.write("did", what=f"settle unknown ({type(error).__name__})")
        else:
            state = info.get("state")
            self.trail.write("settled", **told, since=begun, state=state)

    def _settle(self, job: LeasedJob, how: str, pause_s: float | None) -> dict[str, Any]:
        if how == "ack":
            return dict(self.client.ack(job, job.payload[:8]))
        if how in ("fail", "fail soon"):
            return dict(self.client.fail(job, "on purpose", retry_in=pause_s))
        if how == "bury":
            return dict(self.client.fail(job, ValueError("on purpose"), dead=True))
        if how == "release":
            return dict(self.client.release(job, delay=pause_s, reason="not now"))
        return dict(self.client.extend(job))


def told_of(job: LeasedJob) -> dict[str, Any]:
    """What the checker has to know of a delivery."""
    payload: bytes = job.payload
    return {
        "k": payload.split(b"|", 1)[0].decode(errors="replace"),
        "id": job.id,
        "n": job.attempt,
        "h": hashlib.blake2b(payload, digest_size=8).hexdigest(),
        "used": job.used,
        "cp": digest(job.checkpoint) if job.checkpoint is not None else "",
    }


def digest(data: bytes) -> str:
    """A short name for some bytes."""
    return hashlib.blake2b(data, digest_size=6).hexdigest()


def main() -> None:
    """Works."""
    url, directory, name, seed, lease_s = sys.argv[1:6]
    worker = Worker(url, Path(directory), name, int(seed), float(lease_s))
    signal.signal(signal.SIGTERM, lambda *_: worker.stop.set())
    worker.run()
    worker.client.close()


if __name__ == "__main__":
    main()
