"""Runs a worker on an event loop: uvloop where it is installed, asyncio's own elsewhere."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from tenure.settings import wall_ms
from tenure.worker.log import new_log
from tenure.worker.options import WorkerOptions
from tenure.worker.supervisor import Worker


def new_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The factory of the fastest loop that there is; None for asyncio's own."""
    if find_spec("uvloop") is None:
        return None
    from uvloop import new_event_loop

    factory: Callable[[], asyncio.AbstractEventLoop] = new_event_loop
    return factory


def run_worker(options: WorkerOptions) -> int:
    """Run a worker to its end. Returns the exit code."""
    output, log = new_log(options.log_format, wall_ms)

    async def run() -> int:
        return await Worker(options, output, log).run()

    # What lives here lives long: the collector's full passes would only cost time.
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=new_loop()) as runner:
        result: Any = runner.run(run())
    return int(result)
