"""Eager mode: a task runs where it is enqueued, once, and the handle is finished."""

from __future__ import annotations

import asyncio
import threading
from contextvars import copy_context
from os import urandom
from typing import TYPE_CHECKING, Any, TypeVar

from tenure.codecs import codec_number
from tenure.core.bodies import Encoding, encode_body
from tenure.info import JobInfo, job_info
from tenure.running.control import JobControl
from tenure.running.delivery import Delivery
from tenure.running.lifespan import opened
from tenure.running.outcome import Failed, Outcome, Released, Succeeded
from tenure.running.port import NoPort
from tenure.running.runner import Runner
from tenure.settings import default_name, wall_ms
from tenure.tasks.handle import AsyncJobHandle, JobHandle
from tenure_protocol.ids import decode_id, encode_id

if TYPE_CHECKING:
    from tenure.tasks.call import Call

R = TypeVar("R")

RELEASED_TYPE = "Released"
"""The error type of a job that asked to run again later: here there is no later."""

_ID_BYTES = 16


def run(call: Call[R]) -> JobHandle[R]:
    """Run the task of a call in this thread, or beside the loop that runs in it."""
    delivery = _delivery(call)
    outcome = _run_blocking(call, delivery)
    info = _info(call, delivery, outcome)
    return JobHandle(call.task.app, info.id, call.task, ended=info)


async def arun(call: Call[R]) -> AsyncJobHandle[R]:
    """Run the task of a call on this loop; a `def` task in a thread."""
    delivery = _delivery(call)
    async with opened(call.task.app) as resources:
        runner = Runner(call.task.app, resources)
        outcome = await runner.run(delivery, NoPort(), JobControl())
    info = _info(call, delivery, outcome)
    return AsyncJobHandle(call.task.app, info.id, call.task, ended=info)


def _delivery(call: Call[Any]) -> Delivery:
    task = call.task
    encoding = Encoding(codec_number(task.app.codec), None)
    return Delivery(
        id=encode_id(urandom(_ID_BYTES)),
        attempt=1,
        queue=task.options.queue,
        enqueued_at_ms=wall_ms(),
        body=encode_body(task.name, call.payload, task.job_options.get("headers"), encoding),
        max_attempts=1,
        used=0,
    )


def _run_blocking(call: Call[Any], delivery: Delivery) -> Outcome:
    app = call.task.app
    if app.lifespan_function is None and not call.task.is_async:
        return Runner(app).run_blocking(delivery, NoPort(), JobControl())
    if asyncio._get_running_loop() is None:
        return _run_with_loop(call, delivery)
    # The loop of this thread waits for us: another one is needed, and for that another thread.
    outcomes: list[Outcome] = []
    context = copy_context()
    thread = threading.Thread(
        target=lambda: outcomes.append(context.run(_run_with_loop, call, delivery))
    )
    thread.start()
    thread.join()
    if not outcomes:
        raise RuntimeError(f"{call.task.name} could not be run: its thread ended with an error")
    return outcomes[0]


def _run_with_loop(call: Call[Any], delivery: Delivery) -> Outcome:
    app = call.task.app
    with asyncio.Runner() as loop_runner:
        loop = loop_runner.get_loop()
        lifespan = opened(app)
        resources = loop_runner.run(lifespan.__aenter__())
        try:
            runner = Runner(app, resources, loop=loop)
            return runner.run_blocking(delivery, NoPort(), JobControl())
        finally:
            loop_runner.run(lifespan.__aexit__(None, None, None))


def _info(call: Call[Any], delivery: Delivery, outcome: Outcome) -> JobInfo:
    now_ms = wall_ms()
    wire: dict[str, Any] = {
        "id": decode_id(delivery.id),
        "queue": delivery.queue,
        "body": delivery.body,
        "state": "succeeded",
        "enqueued_at_ms": delivery.enqueued_at_ms,
        "ready_at_ms": delivery.enqueued_at_ms,
        "ended_at_ms": now_ms,
        "attempt": 1,
        "max_attempts": 1,
        "origin": default_name(),
        "unique": call.unique,
    }
    if isinstance(outcome, Succeeded):
        return job_info({**wire, "result": outcome.result})
    told = _told(outcome)
    past = [1, delivery.enqueued_at_ms, now_ms, wire["origin"], *told]
    return job_info({**wire, "state": "dead", "reason": "attempts", "history": [past]})


def _told(outcome: Failed | Released) -> tuple[str, str, str, str]:
    """The outcome, error type, message and traceback of the only attempt."""
    if isinstance(outcome, Failed):
        wire = outcome.wire
        kind = str(wire.get("kind") or "failed")
        return kind, wire["error_type"], wire["message"], wire.get("traceback") or ""
    reason = outcome.reason or "it was given back"
    return "released", RELEASED_TYPE, f"{reason} (eager mode runs a task once)", ""
