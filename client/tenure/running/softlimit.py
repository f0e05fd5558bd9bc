"""The soft limit: `SoftTimeout` inside the task, wherever the task runs.

- On a loop it is raised where the task awaits; what it awaits is cancelled.
- In the main thread of a process a signal raises it, also within a system call.
- In other threads it is raised as soon as the thread runs Python code.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from time import monotonic
from types import CodeType, FrameType, coroutine
from typing import Any

from tenure.running.alarms import alarms
from tenure.running.control import JobControl, ThreadGuard
from tenure.tasks.control import SoftTimeout


class _AwaitTimedOut(SoftTimeout, asyncio.CancelledError):
    """What is raised where a task awaits.

    A `CancelledError` as well, because task groups and the like take only that for a reason to
    cancel what they hold, and hand it on.
    """


_AwaitTimedOut.__qualname__ = SoftTimeout.__qualname__
_AwaitTimedOut.__module__ = SoftTimeout.__module__


def _told(soft_ms: int) -> str:
    return f"the soft limit of {soft_ms / 1000:g} s is over"


# -- on a loop --------------------------------------------------------------------------------


async def await_limited(
    awaited: Coroutine[Any, Any, Any], soft_ms: int, control: JobControl
) -> Any:
    """Await a task's coroutine, raising `SoftTimeout` inside it after `soft_ms`."""
    limit = _Limit(soft_ms, control)
    timer = asyncio.get_running_loop().call_later(soft_ms / 1000, limit.fire)
    try:
        return await _drive(awaited, limit)
    finally:
        timer.cancel()


class _Limit:
    __slots__ = ("_control", "_fired", "_soft_ms", "_task")

    def __init__(self, soft_ms: int, control: JobControl) -> None:
        self._soft_ms = soft_ms
        self._control = control
        self._task = asyncio.current_task()
        self._fired = False

    def fire(self) -> None:
        if self._task is not None and self._control.why is None:
            self._fired = True
            self._task.cancel()

    def translated(self, error: asyncio.CancelledError) -> BaseException:
        """What to raise in the task instead of `error`: it may mean the limit, once."""
        if not self._fired or self._control.why is not None:
            return error
        self._fired = False
        if self._task is not None:
            self._task.uncancel()
        return _AwaitTimedOut(_told(self._soft_ms))


DRIVEN = "awaited"
"""The local variable of the driver that holds the task's coroutine, for who looks at stacks."""


@coroutine
def _drive(awaited: Coroutine[Any, Any, Any], limit: _Limit) -> Generator[Any, Any, Any]:
    # What `await` does, but for the exception that is thrown in.
    step: Callable[[Any], Any] = awaited.send
    given: Any = None
    while True:
        try:
            future = step(given)
        except StopIteration as stop:
            return stop.value
        try:
            given = yield future
            step = awaited.send
        except asyncio.CancelledError as error:
            step, given = awaited.throw, limit.translated(error)
        except BaseException as error:
            step, given = awaited.throw, error


DRIVER_CODE: CodeType = _drive.__code__
"""The driver, among the frames of a stack."""


# -- in threads -------------------------------------------------------------------------------


def call_limited(call: Callable[[], Any], soft_ms: int | None, control: JobControl) -> Any:
    """Call a task's function in this thread; `SoftTimeout` inside it after `soft_ms`.

    Meanwhile `control` may throw into it.
    """
    guard = ThreadGuard()
    control.attach_guard(guard)
    try:
        # Closed twice: what was thrown last may arrive while the first is at it.
        try:
            if soft_ms is None:
                return call()
            if threading.current_thread() is threading.main_thread():
                return _with_signal(call, soft_ms, guard)
            return _with_alarm(call, soft_ms, guard)
        finally:
            guard.close()
    except BaseException:
        guard.close()
        raise
    finally:
        control.attach_guard(None)


def _with_alarm(call: Callable[[], Any], soft_ms: int, guard: ThreadGuard) -> Any:
    fire = partial(guard.throw, SoftTimeout)
    alarm = guard.unharmed(partial(alarms.after, soft_ms / 1000, fire))
    try:
        return call()
    finally:
        guard.unharmed(alarm.cancel)


def _with_signal(call: Callable[[], Any], soft_ms: int, guard: ThreadGuard) -> Any:
    armed = True

    def ring(number: int, frame: FrameType | None) -> None:
        nonlocal armed
        if armed:
            armed = False
            if guard.holds_back(SoftTimeout):
                return
            raise SoftTimeout(_told(soft_ms))

    before = signal.signal(signal.SIGALRM, ring)
    begun, left, interval = monotonic(), 0.0, 0.0
    try:
        # The signal may come between any two lines, until it is disarmed.
        try:
            left, interval = signal.setitimer(signal.ITIMER_REAL, soft_ms / 1000)
            return call()
        finally:
            armed = False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:  # somebody else's alarm goes on as if nothing had been
            rest = max(left - (monotonic() - begun), 0.001)
            signal.setitimer(signal.ITIMER_REAL, rest, interval)
