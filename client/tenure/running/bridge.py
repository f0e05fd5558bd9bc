"""Between a job's thread and an event loop: either can have the other run something.

A `def` task runs in a thread, but its middleware and its dependencies may be async, and belong
on the loop where the lifespan opened what they use; and the other way round. So the thread asks
the loop to run a coroutine, and while it waits it runs what that coroutine asks of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any, NamedTuple

from tenure.running.control import JobControl


class _Request(NamedTuple):
    """What the loop wants to have run in the thread."""

    call: Callable[[], Any]
    context: Context
    reply: asyncio.Future[Any]


_Events = SimpleQueue[_Request | None]


class Bridge:
    """The bridge of one job: made in its thread, with the loop its coroutines run on.

    If the loop does not run, the thread runs it itself, as long as it waits.
    """

    __slots__ = ("_control", "_events", "_loop", "_pumped")

    def __init__(self, loop: asyncio.AbstractEventLoop, control: JobControl) -> None:
        self._loop = loop
        self._control = control
        self._pumped = not loop.is_running()
        self._events: _Events | None = None

    def run(self, coroutine: Coroutine[Any, Any, Any], *, cleanup: bool = False) -> Any:
        """In the thread: run `coroutine` on the loop to its end; its result or its error.

        Nothing begins for a job that is to stop, but for a `cleanup`.
        """
        if self._control.why is not None and not cleanup:
            coroutine.close()
            raise asyncio.CancelledError(self._control.why)
        before, events = self._events, _Events()
        self._events = events
        ended: list[tuple[Any, BaseException | None]] = []

        async def guarded() -> None:
            # SystemExit would end the loop: it is the thread's to deal with, like all the rest.
            try:
                ended.append((await coroutine, None))
            except BaseException as error:
                ended.append((None, error))

        context = copy_context()

        def begin() -> None:
            task = self._loop.create_task(guarded(), context=context)
            outer = self._control.attach_task(self._loop, task)

            def end(_: asyncio.Task[None]) -> None:
                self._control.attach_task(self._loop, outer)
                self._tell(events, None)

            task.add_done_callback(end)

        try:
            if self._pumped:
                begin()
            else:
                self._loop.call_soon_threadsafe(begin)
            while (request := self._next(events)) is not None:
                self._serve(request)
        finally:
            self._events = before
        if not ended:  # cancelled before its first step
            coroutine.close()
            raise asyncio.CancelledError(self._control.why)
        result, error = ended[0]
        if error is not None:
            raise error
        return result

    async def back(self, call: Callable[[], Any]) -> Any:
        """On the loop, in a coroutine of `run`: have the thread call `call`; its result."""
        events = self._events
        if events is None:
            raise RuntimeError("call_next was called after its job had ended")
        reply = self._loop.create_future()
        self._tell(events, _Request(call, copy_context(), reply))
        return await reply

    def _tell(self, events: _Events, event: _Request | None) -> None:
        events.put(event)
        if self._pumped:
            self._loop.stop()

    def _next(self, events: _Events) -> _Request | None:
        if self._pumped:
            while events.empty():
                self._loop.run_forever()
        return events.get()

    def _serve(self, request: _Request) -> None:
        try:
            result = request.context.run(request.call)
        except BaseException as error:
            self._reply(request.reply, None, _carried(error))
        else:
            self._reply(request.reply, result, None)

    def _reply(self, reply: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        def settle() -> None:
            if reply.done():
                return  # nobody waits any more: a middleware had a time limit
            if error is None:
                reply.set_result(result)
            else:
                reply.set_exception(error)

        if self._pumped:
            settle()
        else:
            self._loop.call_soon_threadsafe(settle)


def _carried(error: BaseException) -> BaseException:
    # The only error that a future does not take.
    if not isinstance(error, StopIteration):
        return error
    carrier = RuntimeError("a task raised StopIteration")
    carrier.__cause__ = error
    return carrier
