"""Stopping a job that runs: from any thread, wherever the job is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from ctypes import c_ulong, py_object, pythonapi
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    import asyncio

R = TypeVar("R")

CancelReason = Literal["cancelled", "lease_lost", "timeout", "shutdown"]
"""Why a job is stopped: somebody asked, another worker may have it, its hard limit is over, or
the worker stops."""

# A job that goes on would do harm: these are raised inside its thread as well.
_INSISTING = frozenset({"lease_lost", "timeout"})


class JobControl:
    """Stops one job. The holder keeps it; the runner attaches what there is to stop."""

    __slots__ = ("_asked", "_guard", "_loop", "_task", "_told", "why")

    why: CancelReason | None
    """Why the job was stopped first; None as long as it was not."""

    def __init__(self) -> None:
        self.why = None
        self._asked = 0
        self._told = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._guard: ThreadGuard | None = None

    def cancel(self, why: CancelReason) -> None:
        """Stop the job. It sees `cancelled`; what it awaits is cancelled.

        In a thread a lost lease and the hard limit raise `CancelledError` as soon as the thread
        runs Python code; for other reasons it goes on until it looks.
        """
        if self.why is None:
            self.why = why
        self._asked += 1
        task, loop, guard = self._task, self._loop, self._guard
        if task is not None and loop is not None:
            try:
                loop.call_soon_threadsafe(self._cancel_task, task)
            except RuntimeError:
                return  # the loop is closed: nothing runs there any more
        elif guard is not None and why in _INSISTING:
            from asyncio import CancelledError

            guard.throw(CancelledError)

    def place(self) -> str:
        """Where the job is, for people."""
        task, guard = self._task, self._guard
        if task is not None:
            return f"in asyncio task {task.get_name()}"
        return "between two steps" if guard is None else f"in thread {guard.thread}"

    def _cancel_task(self, task: asyncio.Task[Any]) -> None:
        # On the loop's thread. The job may have ended since, and its task be somebody else's.
        if self._task is task and self._told < self._asked:
            self._told = self._asked
            task.cancel()

    # -- for the runner --------------------------------------------------------------

    def attach_task(
        self, loop: asyncio.AbstractEventLoop | None, task: asyncio.Task[Any] | None
    ) -> asyncio.Task[Any] | None:
        """`task` is what to cancel from here on; returns what was before. On the loop's thread."""
        before, self._loop, self._task = self._task, loop, task
        return before

    def attach_guard(self, guard: ThreadGuard | None) -> None:
        """The thread in which the job runs."""
        self._guard = guard


class _Arrived(BaseException):
    """Nothing but that."""


def _let_one_arrive(thread: int) -> None:
    """Ends CPython's alarm about an exception that was taken back, in this thread.

    Before 3.13 only the arrival of one ends it: until then the interpreter looks for what is not
    there at every call, and hangs for ever in a function that is traced (by a debugger, say).
    """
    try:
        pythonapi.PyThreadState_SetAsyncExc(c_ulong(thread), py_object(_Arrived))
        for _ in range(1_000):
            pass
    except _Arrived:
        pass


class ThreadGuard:
    """Raises exceptions inside the thread that made it, until it is closed.

    An exception that is thrown arrives when the thread runs Python code next: not within
    `time.sleep` or a query, but after it; nor within `unharmed`.
    """

    __slots__ = ("_held_back", "_lock", "_open", "_thrown", "_unharmed", "thread")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.thread = threading.get_ident()
        self._open = True
        self._thrown = False
        self._unharmed = False
        self._held_back: type[BaseException] | None = None
        _here.guard = self

    def throw(self, kind: type[BaseException]) -> None:
        """Raise `kind` in the thread, if the guard is still open."""
        with self._lock:
            if self._open and not self.holds_back(kind):
                self._thrown = True
                pythonapi.PyThreadState_SetAsyncExc(c_ulong(self.thread), py_object(kind))

    def close(self) -> None:
        """Nothing arrives after this; what was thrown may arrive while it runs, so call it again."""
        with self._lock:
            self._open = False
        if self._thrown:
            # None takes back what has not arrived yet.
            pythonapi.PyThreadState_SetAsyncExc(c_ulong(self.thread), None)
            self._thrown = False
            _let_one_arrive(self.thread)

    def holds_back(self, kind: type[BaseException]) -> bool:
        """Whether the thread is in `unharmed`; then `kind` is raised at its end."""
        if self._unharmed:
            self._held_back = kind
        return self._unharmed

    def unharmed(self, action: Callable[[], R]) -> R:
        """Do something in the guard's thread that must not be left half done. Not nested."""
        # What was thrown before arrives where this block ends, at the latest.
        with self._lock:
            self._unharmed = True
        try:
            return action()
        finally:
            with self._lock:
                self._unharmed = False
                kind, self._held_back = self._held_back, None
            if kind is not None:
                raise kind


_here = threading.local()


def unharmed(action: Callable[[], R]) -> R:
    """Do something short that the other threads of the process rely on.

    No limit and no lost lease of the job that runs in this thread comes up before it is done.
    """
    guard: ThreadGuard | None = getattr(_here, "guard", None)
    return action() if guard is None else guard.unharmed(action)
