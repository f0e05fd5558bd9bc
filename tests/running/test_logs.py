"""Every line that is logged while a job runs can name it."""

from __future__ import annotations

import logging

import pytest
import structlog

from tenure import App, current_job
from tenure.running.logs import JobFilter
from tests.running.conftest import Run
from tests.running.jobs import JOB_ID, delivery


class Records(logging.Handler):
    """A handler with the filter."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(JobFilter())
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(task)s %(job_id)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture(autouse=True)
def logger(records: Records) -> object:
    logger = logging.getLogger("users.own")
    logger.addHandler(records)
    yield logger
    logger.removeHandler(records)


def test_records_of_logging_have_the_job(app: App, run: Run, records: Records) -> None:
    @app.task
    def task() -> None:
        logging.getLogger("users.own").warning("inside")

    run(delivery("task"))
    logging.getLogger("users.own").warning("outside")
    assert records.lines == [f"task {JOB_ID} inside", "- - outside"]


def test_lines_of_structlog_have_the_job_and_what_ran_before_is_forgotten(
    app: App, run: Run
) -> None:
    structlog.contextvars.bind_contextvars(request="r1")
    seen = []

    @app.task
    async def atask() -> None:
        seen.append(structlog.contextvars.get_contextvars())

    @app.task
    def task() -> None:
        seen.append(structlog.contextvars.get_contextvars())

    try:
        run(delivery("atask"))
        run(delivery("task"))
        assert structlog.contextvars.get_contextvars() == {"request": "r1"}
    finally:
        structlog.contextvars.clear_contextvars()
    for context, name in zip(seen, ["atask", "task"], strict=True):
        assert context.items() >= {
            ("job_id", JOB_ID), ("task", name), ("attempt", 1), ("queue", "mail")
        }  # fmt: skip


def test_the_jobs_own_log_goes_through_structlog_with_its_fields(app: App, run: Run) -> None:
    @app.task
    def task() -> None:
        current_job().log.info("rendering", template="welcome", event="odd")

    with structlog.testing.capture_logs() as lines:
        run(delivery("task"))
    assert lines == [
        {"event": "rendering", "template": "welcome", "event_": "odd", "log_level": "info"}
    ]


def test_without_structlog_it_goes_to_logging(
    app: App, run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    @app.task
    def task() -> None:
        current_job().log.info("rendering", template="welcome")

    monkeypatch.delitem(sys.modules, "structlog")
    with caplog.at_level(logging.INFO, "tenure.job"):
        run(delivery("task"))
    assert [record.getMessage() for record in caplog.records] == ["rendering template=welcome"]
    assert caplog.records[0].funcName == "task"
