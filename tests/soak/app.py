"""The app of the soak, which `tenure worker` runs: tasks that say in a trail what they do.

Where the trails are is in SOAK_DIRECTORY, the worker's name in SOAK_NAME.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenure import App, Retry, RetryLater, current_job
from tests.soak.trail import Trail

LEASE_S = 10.0
STARTED_LATE_S_MAX = 5.0
"""How much later than its lease a task may begin: what the checker may rely on is less by this."""

app = App(name="soak", queue="tasks", lease=LEASE_S, retry=Retry.fixed("1s", max_attempts=4))

_trail: list[Trail] = []


def trail() -> Trail:
    """The trail of this process, made at its first use."""
    if not _trail:
        name = f"{os.environ['SOAK_NAME']}-{os.getpid()}"
        _trail.append(Trail(Path(os.environ["SOAK_DIRECTORY"]), name))
    return _trail[0]


@contextmanager
def written_down(key: str) -> Iterator[None]:
    """The delivery and what became of it, as far as the task itself can know."""
    job, now = current_job(), time.monotonic()
    got = {"k": key, "id": job.id, "n": job.attempt, "h": key, "used": job.used}
    trail().write(
        "got",
        jobs=[got],
        asked=now - STARTED_LATE_S_MAX,
        lease=LEASE_S,
        w=time.time() * 1e3,
    )
    how = "ack"
    try:
        yield
    except BaseException:
        how = "fail"
        raise
    finally:
        trail().write("settle", id=job.id, n=job.attempt, how=how)


def expected(key: str) -> str:
    """The result of a task that succeeded."""
    return key[::-1]


@app.task(result_ttl="20s")
async def call(key: str, times: int = 0) -> str:
    """Works a moment, telling how far it is; fails as often as it is told to."""
    with written_down(key):
        job = current_job()
        for step in range(2):
            job.progress(step, 2, "at work")
            await asyncio.sleep(0.005)
        job.log.info("done", key=key)
        if job.used < times:
            raise ValueError("on purpose")
        return expected(key)


@app.task(timeout="20s")
def compute(key: str, size: int) -> int:
    """Computes a little, in a thread; sometimes not now."""
    with written_down(key):
        job = current_job()
        if job.attempt == 1 and size % 11 == 0:
            raise RetryLater(0.2, "not now")
        job.set_checkpoint("half", size)
        return sum(range(size))
