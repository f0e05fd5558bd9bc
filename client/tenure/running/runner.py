"""`Runner`: runs the jobs of an app, each to its outcome."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextvars import copy_context
from difflib import get_close_matches
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any

import msgpack

from tenure.codecs import codec_number, decode_value, encode_result
from tenure.errors import ArgumentError, PayloadError, UnknownTask
from tenure.jobs import parse_body
from tenure.packing import packer
from tenure.running import logs
from tenure.running.bridge import Bridge
from tenure.running.control import JobControl
from tenure.running.current import CurrentJob, enter, leave, prepare
from tenure.running.delivery import Delivery
from tenure.running.failure import failed, outcome_of, refused, stopped
from tenure.running.hooks import STARTED, call_hooks, run_hooks
from tenure.running.outcome import Outcome, Succeeded
from tenure.running.plan import Plan, Prepared, called
from tenure.running.port import Port
from tenure.tasks.options import SOFT_TIMEOUT_HEADER, TIMEOUT_HEADER
from tenure_protocol.body import MSGPACK
from tenure_protocol.limits import RESULT_BYTES_MAX

if TYPE_CHECKING:
    from tenure.tasks.app import App

_KNOWN_MAX = 5
_MSGPACK_RESULT = bytes((MSGPACK,))


class Runner:
    """Runs jobs of `app`, with what its lifespan yielded as `resources`.

    `loop` is where coroutines of jobs in threads run; without one they get a loop for each job.
    Whatever a task raises becomes an outcome; only `KeyboardInterrupt` in the main thread, and
    a cancellation of the caller that did not come from the job's control, pass on.
    """

    def __init__(
        self, app: App, resources: Any = None, *, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self.app = app
        self.resources = resources
        self._loop = loop
        self._codec = codec_number(app.codec)
        self._compress_over_bytes = app.compress_over_bytes
        self._plans: dict[str, Plan] = {}

    async def run(self, delivery: Delivery, port: Port, control: JobControl) -> Outcome:
        """Run a job, on this loop; a `def` task in a thread."""
        run = self.prepare(delivery, port, control)
        if not isinstance(run, Prepared):
            return run
        if not run.plan.in_thread:
            return await self.run_prepared(run)
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(None, self.run_prepared_blocking, run, loop)
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            control.cancel("shutdown")
            raise

    def run_blocking(self, delivery: Delivery, port: Port, control: JobControl) -> Outcome:
        """Run a job, in this thread; an `async def` task on a loop that this thread runs."""
        run = self.prepare(delivery, port, control)
        if not isinstance(run, Prepared):
            return run
        return self.run_prepared_blocking(run, self._loop)

    # -- in two steps: a worker must know what a job is before it knows where to run it --------

    def prepare(self, delivery: Delivery, port: Port, control: JobControl) -> Prepared | Outcome:
        """Find the task and read the arguments; an outcome if the job ends here already."""
        if control.why is not None:
            return stopped(control.why)
        try:
            name, data, headers, codec = parse_body(delivery.body, delivery.id)
            if codec == MSGPACK:
                payload = msgpack.unpackb(data, strict_map_key=False)
            else:
                payload = decode_value(data, codec, delivery.id)
        except (PayloadError, ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
            return refused(_unreadable(error, delivery), dead=True)
        try:
            plan = self._plans.get(name) or self._plan(name)
        except Exception as error:
            # A worker with other code may know better; the attempts bound how often it is tried.
            return refused(error, dead=False)
        try:
            arguments = plan.unpack(payload)
        except BaseException as error:  # the types of arguments are made by user code
            if isinstance(error, KeyboardInterrupt) and _is_main_thread():
                raise
            return refused(error, dead=True)
        timeout_ms, soft_ms = plan.timeout_ms, plan.soft_ms
        if headers:
            timeout_ms = _number(headers.get(TIMEOUT_HEADER), timeout_ms)
            soft_ms = _number(headers.get(SOFT_TIMEOUT_HEADER), soft_ms)
        deadline_ms = None if timeout_ms is None else int(time() * 1000) + timeout_ms
        job = CurrentJob(delivery, name, headers, port, control, self.resources, deadline_ms)
        return Prepared(plan, job, arguments, soft_ms, control)

    def _plan(self, name: str) -> Plan:
        task = self.app.tasks.get(name)
        if task is None:
            raise UnknownTask(_unknown(name, list(self.app.tasks)))
        plan = self._plans[name] = Plan(self.app, task)
        return plan

    async def run_prepared(self, run: Prepared) -> Outcome:
        """Run a job that does not need a thread, on this loop, in the caller's asyncio task."""
        plan, job, control = run.plan, run.job, run.control
        token = enter(job)
        tokens = logs.bind(job) if "structlog" in sys.modules else None
        task = asyncio.current_task()
        control.attach_task(asyncio.get_running_loop(), task)
        try:
            if self.app.hooks and STARTED in self.app.hooks:
                await run_hooks(self.app, STARTED, _facts(job))
            if plan.is_plain and run.soft_ms is None:
                value = await plan.function(*run.args, **run.kwargs)
            else:
                prepare(job, run)
                value = await plan.call(job)
            return self._succeeded(plan, value)
        except BaseException as error:
            if _is_the_callers(error, control, task):
                raise
            return outcome_of(error, control.why, plan.retry)
        finally:
            control.attach_task(None, None)
            if control.why is not None and task is not None:
                _calm(task)
            if tokens is not None:
                logs.unbind(tokens)
            leave(token)

    def run_prepared_blocking(
        self, run: Prepared, loop: asyncio.AbstractEventLoop | None
    ) -> Outcome:
        """Run any job in this thread, in a context of its own.

        What of it needs an event loop runs on `loop`, which runs in another thread or not at
        all; without one, on a loop for this job.
        """
        needs_loop = run.plan.needs_bridge or not run.plan.in_thread
        if needs_loop and asyncio._get_running_loop() is not None:
            # This thread runs a loop already, which cannot run another: the job gets a thread.
            return _in_other_thread(partial(self.run_prepared_blocking, run, None))
        if not needs_loop:
            return copy_context().run(self._run_in_thread, run)
        if loop is not None:
            return self._run_with_loop(run, loop)
        with asyncio.Runner() as runner:
            return self._run_with_loop(run, runner.get_loop())

    def _run_with_loop(self, run: Prepared, loop: asyncio.AbstractEventLoop) -> Outcome:
        if run.plan.in_thread or loop.is_running():
            run.bridge = Bridge(loop, run.control)
            return copy_context().run(self._run_in_thread, run)
        return loop.run_until_complete(self.run_prepared(run))

    def _run_in_thread(self, run: Prepared) -> Outcome:
        plan, job, control = run.plan, run.job, run.control
        enter(job)
        if "structlog" in sys.modules:
            logs.bind(job)
        try:
            if self.app.hooks and STARTED in self.app.hooks:
                bridge_run = None if run.bridge is None else run.bridge.run
                call_hooks(self.app, STARTED, _facts(job), bridge_run)
            if plan.is_plain and not plan.is_async:
                value = called(run, run.kwargs)
            else:
                prepare(job, run)
                value = plan.call(job)
                if plan.outer_is_async:
                    assert run.bridge is not None, "async layers in a thread need a bridge"
                    value = run.bridge.run(value)
            return self._succeeded(plan, value)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and _is_main_thread():
                raise
            return outcome_of(error, control.why, plan.retry)

    def _succeeded(self, plan: Plan, value: Any) -> Outcome:
        if value is None:
            return Succeeded(None)
        try:
            plain = plan.encode_result(value)
            data = _MSGPACK_RESULT + packer()(plain) if self._codec == MSGPACK else b""
            over = self._compress_over_bytes
            if not data or (over is not None and len(data) > over):
                data = encode_result(plain, self._codec, over) or b""
        except Exception as error:
            return failed(_cannot_travel(plan.name, error), dead=True)
        if len(data) > RESULT_BYTES_MAX:
            much = f"it has {len(data)} bytes, the limit is {RESULT_BYTES_MAX}"
            return failed(_cannot_travel(plan.name, much), dead=True)
        return Succeeded(data or None)


def _is_the_callers(
    error: BaseException, control: JobControl, task: asyncio.Task[Any] | None
) -> bool:
    """Whether an exception of a job on a loop concerns the caller and not the job."""
    if isinstance(error, KeyboardInterrupt):
        return _is_main_thread()
    return (
        isinstance(error, asyncio.CancelledError)
        and control.why is None
        and task is not None
        and task.cancelling() > 0
    )


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _calm(task: asyncio.Task[Any]) -> None:
    # The job is over; its caller was not cancelled.
    while task.cancelling():
        task.uncancel()


def _number(value: object, default: int | None) -> int | None:
    return value if type(value) is int and value > 0 else default


def _facts(job: CurrentJob) -> dict[str, Any]:
    return {"id": job.id, "task": job.task, "queue": job.queue, "attempt": job.attempt}


def _unknown(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, _KNOWN_MAX) or sorted(known)[:_KNOWN_MAX]
    told = f"this app has no task {name!r}"
    if not near:
        return f"{told}; it has none at all: are the modules with its tasks imported?"
    return f"{told}; it has {', '.join(near)}{' …' if len(known) > len(near) else ''}"


def _unreadable(error: Exception, delivery: Delivery) -> PayloadError:
    if isinstance(error, PayloadError):
        return error
    reason = str(error) or type(error).__name__
    return PayloadError(
        f"job {delivery.id}: not msgpack: {reason}", codec="msgpack", job_id=delivery.id
    )


def _cannot_travel(task: str, reason: Exception | str) -> ArgumentError:
    error = ArgumentError(
        f"{task}() ran, but its result cannot travel: {reason};"
        " annotate the return type, or return None or something smaller"
    )
    if isinstance(reason, Exception):
        error.__cause__ = reason
    return error


def _in_other_thread(call: Any) -> Outcome:
    outcomes: list[Outcome] = []
    context = copy_context()
    thread = threading.Thread(
        target=lambda: outcomes.append(context.run(call)), name="tenure-job", daemon=True
    )
    thread.start()
    thread.join()
    return outcomes[0]
