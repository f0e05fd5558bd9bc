"""A producer of the soak: `produce.py URL DIRECTORY NAME SEED RATE`, until SIGTERM.

About RATE jobs a second: alone and in batches, now and later, small and large, with priorities,
expiries, unique names, results that are kept; some are cancelled again. While there is a file
called `hold` in DIRECTORY it does nothing.
"""

from __future__ import annotations

import hashlib
import random
import signal
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from tenure import Client, NewJob
from tenure.errors import BrokerError, TenureError
from tests.soak.trail import Trail, number_of

KINDS = {
    "plain": 48,
    "batch": 6,
    "later": 12,
    "expiring": 8,
    "unique": 8,
    "large": 6,
    "kept": 6,
    "cancel": 6,
}
QUEUE_OF_KIND = {"later": "later", "unique": "unique", "large": "large", "kept": "kept"}
PRIORITIES = (0, 64, 128, 128, 128, 192, 255)
LARGE_BYTES_MAX = 100_000
CANCELLABLE_MAX = 200
LOOK_S = 0.05
REFUSED_S = 0.25


class Producer:
    """One producer and its trail."""

    def __init__(self, url: str, directory: Path, name: str, seed: int, rate: float) -> None:
        self.client = Client(url, name=name, codec="raw", timeout="20s", connect_timeout="20s")
        self.trail, self.name, self.rate = Trail(directory, name), name, rate
        self.hold = directory / "hold"
        self.random, self.stop, self.number = random.Random(seed), threading.Event(), 0
        self.cancellable: deque[str] = deque(maxlen=CANCELLABLE_MAX)

    def run(self) -> None:
        """Enqueues at its pace; what it missed while the broker was away it does not make up for."""
        due = time.monotonic()
        while not self.stop.is_set():
            if self.hold.exists():
                self.trail.write("holding", number=number_of(self.hold))
                while self.hold.exists() and not self.stop.wait(LOOK_S):
                    pass
                due = time.monotonic()
                continue
            [kind] = self.random.choices(list(KINDS), list(KINDS.values()))
            count = self.cancel() if kind == "cancel" else self.enqueue(kind)
            now = time.monotonic()
            due = max(due + count / self.rate, now - 1)
            self.stop.wait(max(0.0, due - now))

    def enqueue(self, kind: str) -> int:
        """One request; how many jobs were in it."""
        count = self.random.randint(5, 40) if kind == "batch" else 1
        queue = QUEUE_OF_KIND.get(kind, "mixed")
        jobs, told = zip(*(self.job(kind, queue) for _ in range(count)), strict=True)
        self.trail.write("send", jobs=told)
        begun = time.monotonic()
        try:
            ids = self.client.enqueue_many(queue, jobs)
        except BrokerError as error:
            self.trail.write("refused", keys=[one["k"] for one in told], code=error.code)
            self.stop.wait(REFUSED_S)
        except TenureError as error:
            self.trail.write("unknown", keys=[one["k"] for one in told])
            self.trail.write("did", what=f"enqueue unknown ({type(error).__name__})")
        else:
            took_ms = 1e3 * (time.monotonic() - begun)
            rows = {
                one["k"]: [str(job_id), getattr(job_id, "existing", False)]
                for one, job_id in zip(told, ids, strict=True)
            }
            self.trail.write("sent", ids=rows, ms=round(took_ms, 3))
            if kind in ("plain", "later"):
                self.cancellable.extend(map(str, ids))
        return count

    def job(self, kind: str, queue: str) -> tuple[NewJob, dict[str, Any]]:
        """A job, and what the checker has to know of it."""
        self.number += 1
        key = f"{self.name}-{self.number}"
        most = LARGE_BYTES_MAX if kind == "large" else 300
        payload = key.encode() + b"|" + self.random.randbytes(self.random.randrange(most))
        told: dict[str, Any] = {"k": key, "q": queue}
        told["h"] = hashlib.blake2b(payload, digest_size=8).hexdigest()
        options: dict[str, Any] = {"headers": {"k": key}}
        now_ms = int(time.time() * 1e3)  # the broker counts whole ones
        if kind == "later":
            delay_s = self.random.choice([0.05, 0.5, 1, 2, 4])
            options["delay"], told["nb"] = delay_s, now_ms + 1e3 * delay_s
        elif kind == "expiring":
            expires_s = self.random.choice([0.02, 0.2, 1, 5])
            options["expires"], told["x"] = expires_s, now_ms + 1e3 * expires_s
        elif kind == "unique":
            options["unique"] = told["u"] = f"name-{self.random.randrange(30)}"
        elif kind == "kept":
            options["retention"] = "20s"
        if self.random.random() < 0.3:
            options["max_attempts"] = told["m"] = self.random.randint(1, 6)
        options["priority"] = self.random.choice(PRIORITIES)
        return NewJob("work", payload, **options), told

    def cancel(self) -> int:
        """Cancels a job of its own, which may have ended meanwhile."""
        if not self.cancellable:
            return 1
        job_id = self.cancellable.popleft()
        self.trail.write("meant", id=job_id, how="cancelled")
        try:
            info = self.client.cancel(job_id)
        except TenureError as error:
            self.trail.write("did", what=f"cancel refused ({type(error).__name__})")
            return 1
        if info.get("state") == "cancelled":
            self.trail.write("ended", id=job_id, how="cancelled")
        else:
            self.trail.write("did", what="cancel asked of a worker")
        return 1


def main() -> None:
    """Produces."""
    url, directory, name, seed, rate = sys.argv[1:6]
    producer = Producer(url, Path(directory), name, int(seed), float(rate))
    signal.signal(signal.SIGTERM, lambda *_: producer.stop.set())
    producer.run()
    producer.client.close()


if __name__ == "__main__":
    main()
