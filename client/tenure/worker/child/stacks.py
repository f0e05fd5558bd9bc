"""What every job and thread of the process is doing, as a text for people."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback
from time import monotonic
from typing import TYPE_CHECKING, Any

from tenure.running.softlimit import DRIVEN, DRIVER_CODE

if TYPE_CHECKING:
    from tenure.worker.child.jobs import Job

_FRAMES_MAX = 50


def all_stacks(jobs: list[Job], loop: asyncio.AbstractEventLoop | None) -> str:
    """The jobs with how long they run, then the threads, then the tasks of the event loop."""
    parts = [f"process {os.getpid()}, {len(jobs)} jobs"]
    now = monotonic()
    for job in jobs:
        if job.run is None:
            parts.append(f"job {job.name}, not started")
        else:
            place = job.control.place()
            parts.append(f"job {job.name}, for {now - job.begun_at:.1f} s, {place}")
    frames = sys._current_frames()
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if frame is not None:
            stack = traceback.format_stack(frame, _FRAMES_MAX)
            parts.append(f"thread {thread.name} ({thread.ident}):\n{''.join(stack).rstrip()}")
    for task in _tasks(loop):
        stack = traceback.format_list(_awaiting(task.get_coro()))
        parts.append(f"asyncio task {task.get_name()}:\n{''.join(stack).rstrip()}")
    return "\n\n".join(parts) + "\n"


def _tasks(loop: asyncio.AbstractEventLoop | None) -> list[asyncio.Task[object]]:
    if loop is None:
        return []
    try:
        return [task for task in asyncio.all_tasks(loop) if not task.done()]
    except RuntimeError:
        return []  # the loop makes tasks faster than they can be counted


def _awaiting(awaited: Any) -> list[traceback.FrameSummary]:
    """Where a suspended coroutine is, and where is what it awaits, and so on.

    `Task.get_stack` knows the outermost only.
    """
    stack: list[traceback.FrameSummary] = []
    while awaited is not None and len(stack) < _FRAMES_MAX:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is None:
            break
        code = frame.f_code
        stack.append(traceback.FrameSummary(code.co_filename, frame.f_lineno, code.co_name))
        # A soft limit drives its coroutine by hand: it is not what the generator awaits.
        awaited = (
            getattr(awaited, "cr_await", None)
            or getattr(awaited, "gi_yieldfrom", None)
            or (frame.f_locals.get(DRIVEN) if code is DRIVER_CODE else None)
        )
    return stack
