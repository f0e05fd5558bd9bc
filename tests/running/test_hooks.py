"""Hooks are told what became of jobs; what goes wrong in them concerns nobody else."""

from __future__ import annotations

import logging

import pytest

from tenure import App
from tenure.running.current import current_job
from tenure.running.hooks import JobEvent, call_hooks, run_hooks
from tenure.running.outcome import Succeeded
from tenure_protocol.ids import decode_id
from tests.running.conftest import Run
from tests.running.jobs import JOB_ID, delivery

FACTS = {"id": decode_id(JOB_ID), "task": "send", "queue": "mail", "attempt": 3, "reason": "asked"}


async def test_sync_and_async_hooks_get_the_event(app: App) -> None:
    seen: list[JobEvent] = []

    @app.on("job.dead")
    def first(event: JobEvent) -> None:
        seen.append(event)

    @app.on("job.dead")
    async def second(event: JobEvent) -> None:
        seen.append(event)

    await run_hooks(app, "job.dead", FACTS)
    event, same = seen
    assert event == same
    assert (event.kind, event.job_id, event.task) == ("job.dead", JOB_ID, "send")
    assert (event.queue, event.attempt) == ("mail", 3)
    assert event.details["reason"] == "asked"


async def test_a_hook_that_fails_is_logged_and_the_next_one_runs(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []

    @app.on("job.dead")
    async def broken(event: JobEvent) -> None:
        raise RuntimeError("no pager")

    @app.on("job.dead")
    def works(event: JobEvent) -> None:
        seen.append(event.job_id)

    with caplog.at_level(logging.ERROR, "tenure.hooks"):
        await run_hooks(app, "job.dead", FACTS)
        call_hooks(app, "job.dead", FACTS, None)
    assert seen == [JOB_ID, JOB_ID]
    assert "no pager" in caplog.text


def test_job_started_is_told_before_the_task_runs(app: App, run: Run) -> None:
    seen = []

    @app.on("job.started")
    def sync_hook(event: JobEvent) -> None:
        seen.append(f"sync {event.task}")

    @app.task
    async def atask() -> None:
        seen.append(f"runs {current_job().task}")

    @app.task
    def task() -> None:
        seen.append(f"runs {current_job().task}")

    assert run(delivery("atask")) == Succeeded(None)
    assert run(delivery("task")) == Succeeded(None)
    assert seen == ["sync atask", "runs atask", "sync task", "runs task"]
