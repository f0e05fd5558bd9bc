"""The app of the workers that are killed: every run of a task is written down before and after.

TENURE_CRASH_JOURNALS is the directory of the journals, TENURE_CRASH_WORKER the worker's name.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tenure import App, current_job
from tests.acceptance.journal import Journal

QUEUE = "tasks"
LEASE = "4s"

app = App(queue=QUEUE, result_ttl="1h", retry=None)


@cache
def _journal(pid: int, worker: str) -> Journal:
    return Journal(Path(os.environ["TENURE_CRASH_JOURNALS"]) / f"{worker}-{pid}.journal")


@contextmanager
def _noted(key: str) -> Iterator[None]:
    job, worker, pid = current_job(), os.environ["TENURE_CRASH_WORKER"], os.getpid()
    journal = _journal(pid, worker)
    told = {"id": job.id, "attempt": job.attempt, "key": key, "worker": worker, "pid": pid}
    journal.write("begun", **told)
    yield
    journal.write("done", **told)


@app.task(lease=LEASE, max_attempts=1_000)
async def on_loop(key: str, pause_s: float) -> str:
    """In the event loop of a host."""
    with _noted(key):
        await asyncio.sleep(pause_s)
    return key


@app.task(lease=LEASE, max_attempts=1_000)
def in_thread(key: str, pause_s: float) -> str:
    """In a thread of a host."""
    with _noted(key):
        time.sleep(pause_s)
    return key


@app.task(lease=LEASE, max_attempts=1_000, executor="process")
def in_process(key: str, pause_s: float) -> str:
    """In a process that runs one job at a time."""
    with _noted(key):
        time.sleep(pause_s)
    return key


TASKS = (on_loop, in_thread, in_process)
