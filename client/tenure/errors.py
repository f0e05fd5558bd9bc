"""Everything that can be raised on purpose. All of it is a `TenureError`.

- The broker refused: a `BrokerError`; each code is a class, `retryable` says whether the
  same call may succeed later.
- The request did not get through, or nobody knows whether it did: `CannotConnect`,
  `ConnectionLost`, `OutcomeUnknown`, `RequestTimeout`, `ClientClosed`.
- What arrived cannot be used: `PayloadError`, `ProtocolViolation`.

Wrong arguments raise `TypeError` or `ValueError` that name the argument, as everywhere.
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
    UnknownOperation,
    UnsupportedProtocol,
)

__all__ = [
    "CODES",
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
    "InternalError",
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
    "SequenceTooOld",
    "StoreFull",
    "TenureError",
    "TooManyConnections",
    "TooManyLeases",
    "TooManyQueues",
    "TooManyWaiting",
    "UnknownOperation",
    "UnsupportedProtocol",
]


class CannotConnect(TenureError, ConnectionError):
    """No broker could be reached, or it would not have this client. Nothing was sent.

    The message names the address and the reason; `__cause__` holds what the last try met.
    """


class ConnectionLost(TenureError, ConnectionError):
    """The connection broke while the request was in flight, and the client does not reconnect.

    Whether the broker acted on the request is unknown.
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
