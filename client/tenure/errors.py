"""Everything that can be raised on purpose. All of it is a `TenureError`.

- The broker refused: a `BrokerError`; each code is a class, `retryable` says whether the
  same call may succeed later.
- The request did not get through, or nobody knows whether it did: `CannotConnect`,
  `ConnectionLost`, `OutcomeUnknown`, `RequestTimeout`, `ClientClosed`.
- What arrived cannot be used: `PayloadError`, `ProtocolViolation`.
- A task cannot be called or found: `ArgumentError`, `UnknownTask`, `ImportFailed`.
- No broker can be meant: `InvalidUrl`.
- A job has no result: `TaskFailed`, `TaskCancelled`, `TaskExpired`, `ResultTimeout`,
  `ResultNotKept`.

Other wrong arguments raise `TypeError` or `ValueError` that name the argument, as everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from tenure_protocol.errors import (
    CODES,
    BackupFailed,
    BadRequest,
    BrokerError,
    ChoreNotFound,
    Draining,
    FrameTooLarge,
    HelloRequired,
    InternalError,
    JobNotFound,
    LeaseLost,
    MalformedFrame,
    PayloadTooLarge,
    ProtocolViolation,
    QueueExists,
    QueueFull,
    QueueNotEmpty,
    QueueNotFound,
    SequenceTooOld,
    StoreFull,
    TenureError,
    TooManyConnections,
    TooManyLeases,
    TooManyQueues,
    TooManyWaiting,
    TooManyWorkers,
    UnknownOperation,
    UnsupportedProtocol,
    WorkerNotFound,
    WorkerSilent,
)

__all__ = [
    "CODES",
    "ArgumentError",
    "BackupFailed",
    "BadRequest",
    "BrokerError",
    "CannotConnect",
    "ChoreNotFound",
    "ClientClosed",
    "ConnectionLost",
    "Draining",
    "FrameTooLarge",
    "HelloRequired",
    "ImportFailed",
    "InternalError",
    "InvalidUrl",
    "JobNotFound",
    "LeaseLost",
    "MalformedFrame",
    "OutcomeUnknown",
    "PartlyEnqueued",
    "PayloadError",
    "PayloadTooLarge",
    "ProtocolViolation",
    "QueueExists",
    "QueueFull",
    "QueueNotEmpty",
    "QueueNotFound",
    "RequestTimeout",
    "ResultNotKept",
    "ResultTimeout",
    "SequenceTooOld",
    "StoreFull",
    "TaskCancelled",
    "TaskExpired",
    "TaskFailed",
    "TenureError",
    "TooManyConnections",
    "TooManyLeases",
    "TooManyQueues",
    "TooManyWaiting",
    "TooManyWorkers",
    "UnknownOperation",
    "UnknownTask",
    "UnsupportedProtocol",
    "WorkerNotFound",
    "WorkerSilent",
]


class InvalidUrl(TenureError, ValueError):
    """What should say where the broker is does not: the message names it, and what it looks like."""


class CannotConnect(TenureError, ConnectionError):
    """No broker could be reached, or it would not have this client. Nothing was sent.

    The message names the address and the reason; `__cause__` holds what the last try met.
    """


class ConnectionLost(TenureError, ConnectionError):
    """The connection broke while the request was in flight, and the request is not repeated.

    The client does not reconnect, or the broker closed two connections with an error while
    this request was in flight. Whether the broker acted on it is unknown.
    """


class OutcomeUnknown(TenureError, ConnectionError):
    """The connection broke after the request left, and repeating it would not be safe.

    The broker may or may not have acted on it: look (`queue`, `get`, `peek`), then decide.
    """


class RequestTimeout(TenureError, TimeoutError):
    """No answer came in time. Whether the broker acted on the request is unknown.

    An enqueue that ends so may still be stored; give a job a `unique` name where that matters.
    """


class ClientClosed(TenureError):
    """The client was closed, before this call or while it waited."""


class PayloadError(TenureError):
    """A payload, result or body cannot be decoded. `codec` and `job_id` say which and whose."""

    def __init__(self, message: str, *, codec: str, job_id: str) -> None:
        super().__init__(message)
        self.codec = codec
        self.job_id = job_id


class PartlyEnqueued(TenureError):
    """`enqueue_many` failed after some of its jobs were stored.

    `ids` has one item for every job taken from the iterable, in order: the id, or None where
    nothing was confirmed. `__cause__` is the first failure.
    """

    def __init__(self, message: str, ids: Sequence[str | None]) -> None:
        super().__init__(message)
        self.ids = list(ids)


class ArgumentError(TenureError, TypeError):
    """A task cannot be called with these arguments, or its result cannot travel.

    The message names the task, and the argument with the path to what is wrong in it.
    """


class UnknownTask(TenureError, LookupError):
    """The app has no task of this name."""


class ImportFailed(TenureError, ImportError):
    """A module that holds tasks cannot be imported. `name` is the module; `__cause__` says why."""


class TaskFailed(TenureError):
    """The job failed for good. `error_type`, `message` and `traceback` are of its last attempt."""

    def __init__(self, error_type: str, message: str, traceback: str | None, job_id: str) -> None:
        super().__init__(error_type, message, traceback, job_id)
        self.error_type = error_type
        self.message = message
        self.traceback = traceback
        self.job_id = job_id

    def __str__(self) -> str:
        what = f"{self.error_type}: {self.message}" if self.message else self.error_type
        told = f"job {self.job_id} failed: {what}"
        if not self.traceback:
            return told
        return f"{told}\n\nIn the worker:\n{self.traceback.rstrip()}"


class TaskCancelled(TenureError):
    """The job was cancelled before it had a result."""


class TaskExpired(TenureError):
    """The job was not started before it expired."""


class ResultTimeout(TenureError, TimeoutError):
    """The job has not ended in time; it goes on. `state` is where it was."""

    def __init__(self, message: str, *, state: str) -> None:
        super().__init__(message)
        self.state = state


class ResultNotKept(TenureError):
    """The broker knows nothing of the job any more: it ended, and its result was not kept."""
