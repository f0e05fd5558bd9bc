"""SIGUSR2: what every thread and task is doing, and the broker's own figures, as one log line."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback

from tenure_server.hub import Hub
from tenure_server.log import get_log
from tenure_server.operations import stats


def stacks(loop: asyncio.AbstractEventLoop) -> str:
    """The stack of every thread, and one line for each task of the loop. For any thread."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = [
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    ]
    parts += [f"task {task.get_name()}: {task.get_coro()}" for task in asyncio.all_tasks(loop)]
    return "\n".join(parts)


def dump(hub: Hub) -> None:
    """Writes it."""
    get_log().warning(
        "dump",
        stacks=stacks(asyncio.get_running_loop()),
        stats=repr(stats(hub, hub.clock())),
        pump_busy=hub.pump.busy,
        latched=hub.pump.latched,
        request_bytes=hub.request_bytes,
        connections=[repr(each) for each in list(hub.connections)[:50]],
    )
