"""The app of the task rows: tasks that do nothing, and tasks that say when they began."""

from __future__ import annotations

import os
import time

from bench.moments import map_moments
from tenure import App

MOMENTS_VARIABLE = "BENCH_MOMENTS"
"""Where the tasks that say when they began write it: the path of a file of moments."""

QUEUE = "bench"

app = App(name="bench", queue=QUEUE)

_path = os.environ.get(MOMENTS_VARIABLE)
_moments = map_moments(_path) if _path else None


@app.task
async def noop(number: int) -> None:
    """Nothing, on the event loop."""


@app.task
def noop_blocking(number: int) -> None:
    """Nothing, in a thread or a process."""


@app.task
async def stamp(slot: int) -> None:
    """Says when it began; on the event loop."""
    began_ns = time.monotonic_ns()
    assert _moments is not None, f"{MOMENTS_VARIABLE} is not set"
    _moments[slot] = began_ns


@app.task
def stamp_blocking(slot: int) -> None:
    """Says when it began; in a thread or a process."""
    began_ns = time.monotonic_ns()
    assert _moments is not None, f"{MOMENTS_VARIABLE} is not set"
    _moments[slot] = began_ns
