"""The job in every line that is logged while it runs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextvars import Token
from typing import TYPE_CHECKING, Any

from tenure.running.current import running_job

if TYPE_CHECKING:
    from tenure.running.current import CurrentJob

FORMAT = "%(asctime)s %(levelname)-7s %(name)s [%(task)s %(job_id)s] %(message)s"
"""How a worker's child logs when its app has not said how."""

_NONE = "-"

Tokens = Mapping[str, Token[Any]]
"""What it takes to unbind a job from structlog again."""


class JobFilter(logging.Filter):
    """Gives each record `job_id` and `task`, "-" outside of jobs. Add it to a handler."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never holds a record back."""
        job = running_job()
        record.job_id = _NONE if job is None else job.id
        record.task = _NONE if job is None else job.task
        return True


def bind(job: CurrentJob) -> Tokens | None:
    """Put the job into structlog's context, if the program has imported structlog."""
    contextvars = getattr(sys.modules.get("structlog"), "contextvars", None)
    if contextvars is None:
        return None
    tokens: Tokens = contextvars.bind_contextvars(
        job_id=job.id, task=job.task, attempt=job.attempt, queue=job.queue
    )
    return tokens


def unbind(tokens: Tokens) -> None:
    """Take it out again."""
    sys.modules["structlog"].contextvars.reset_contextvars(**tokens)


def set_up() -> None:
    """Make the lines of a worker's child name their job: the app's handlers, or one to stderr."""
    root = logging.getLogger()
    if not root.handlers:
        handler: logging.Handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(FORMAT))
        root.addHandler(handler)
        if root.level == logging.WARNING:
            root.setLevel(logging.INFO)
    for handler in root.handlers:
        if not any(isinstance(there, JobFilter) for there in handler.filters):
            handler.addFilter(JobFilter())
