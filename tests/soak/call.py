"""A producer of tasks: `call.py URL DIRECTORY NAME SEED RATE`, until SIGTERM.

It enqueues tasks from asyncio, and waits for the results of some. While there is a file called
`hold` in DIRECTORY it does nothing.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tenure import AsyncJobHandle
from tenure.errors import BrokerError, ResultNotKept, TaskFailed, TenureError
from tests.soak.app import app, call, compute, expected
from tests.soak.trail import Trail, number_of

REFUSED_S = 0.25
AWAITED_MAX = 50
RESULT_S = 60


class Caller:
    """One producer and its trail."""

    def __init__(self, directory: Path, name: str, seed: int, rate: float) -> None:
        self.trail, self.name, self.rate = Trail(directory, name), name, rate
        self.hold, self.random, self.number = directory / "hold", random.Random(seed), 0
        self.stop = asyncio.Event()
        self.waiters: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Enqueues at its pace."""
        holding = False
        while not self.stop.is_set():
            if not self.hold.exists():
                holding = False
                await self.enqueue()
            elif not holding:
                holding = True
                self.trail.write("holding", number=number_of(self.hold))
            try:
                await asyncio.wait_for(self.stop.wait(), 1 / self.rate)
            except TimeoutError:
                continue
        for waiter in self.waiters:
            waiter.cancel()
        await app.aclose()

    async def enqueue(self) -> None:
        """One call of a task."""
        self.number += 1
        key = f"{self.name}-{self.number}"
        told: dict[str, Any] = {"k": key, "h": key, "q": "tasks"}
        options: dict[str, Any] = {"headers": {"k": key}}
        if self.random.random() < 0.1:
            options["delay"] = 1
            told["nb"] = int(time.time() * 1e3) + 1_000
        self.trail.write("send", jobs=[told])
        begun = time.monotonic()
        try:
            handle: AsyncJobHandle[Any]
            if self.number % 3:
                times = self.random.choice([0] * 12 + [1, 1, 1, 9])
                handle = await call.using(**options).aenqueue(key, times)
            else:
                handle = await compute.using(**options).aenqueue(key, self.random.randrange(9_000))
        except BrokerError as error:
            self.trail.write("refused", keys=[key], code=error.code)
            await asyncio.sleep(REFUSED_S)
            return
        except TenureError as error:
            self.trail.write("unknown", keys=[key])
            self.trail.write("did", what=f"enqueue unknown ({type(error).__name__})")
            return
        took_ms = round(1e3 * (time.monotonic() - begun), 3)
        self.trail.write("sent", ids={key: [handle.id, handle.existing]}, ms=took_ms)
        if self.number % 3 and len(self.waiters) < AWAITED_MAX and self.random.random() < 0.3:
            waiter = asyncio.create_task(self.await_result(key, handle))
            self.waiters.add(waiter)
            waiter.add_done_callback(self.waiters.discard)

    async def await_result(self, key: str, handle: AsyncJobHandle[Any]) -> None:
        """Waits for the end of a call, and compares its result."""
        try:
            result = await handle.result(timeout=RESULT_S)
        except (TaskFailed, ResultNotKept):
            self.trail.write("did", what="results that were failures")
        except TenureError as error:
            self.trail.write("did", what=f"result unknown ({type(error).__name__})")
        else:
            self.trail.write("ended", id=handle.id, how="succeeded")
            self.trail.write("did", what="results compared")
            if result != expected(key):
                what = f"{key} came to {result!r}"
                self.trail.write("fault", promise="the result is the task's", what=what)


async def produce() -> None:
    """Calls until it is told to stop."""
    url, directory, name, seed, rate = sys.argv[1:6]
    app.connect_to(url)
    caller = Caller(Path(directory), name, int(seed), float(rate))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, caller.stop.set)
    await caller.run()


if __name__ == "__main__":
    asyncio.run(produce())
