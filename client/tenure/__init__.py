"""Tenure's client: enqueue jobs, reserve them, settle them.

    from tenure import Client

    with Client("tenure://localhost:7733") as client:
        client.enqueue("mail", "send_email", {"to": "ada@example.org"})
        for job in client.reserve("mail", wait="10s"):
            print(job.task, job.payload)
            client.ack(job)

`AsyncClient` has the same methods for asyncio. Every error is a `TenureError`; `tenure.errors`
tells them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenure.client import Client
from tenure.core.reconnect import Reconnect
from tenure.errors import (
    CODES,
    BackupFailed,
    BadRequest,
    BrokerError,
    CannotConnect,
    ChoreNotFound,
    ClientClosed,
    ConnectionLost,
    Draining,
    FrameTooLarge,
    HelloRequired,
    InternalError,
    JobNotFound,
    LeaseLost,
    MalformedFrame,
    OutcomeUnknown,
    PartlyEnqueued,
    PayloadError,
    PayloadTooLarge,
    ProtocolViolation,
    QueueExists,
    QueueFull,
    QueueNotEmpty,
    QueueNotFound,
    RequestTimeout,
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
from tenure.info import (
    AttemptRecord,
    Backup,
    Chore,
    DeadGroup,
    DeadGroups,
    JobInfo,
    JobPage,
    QueueInfo,
    ServerInfo,
)
from tenure.jobs import Enqueued, Lease, LeasedJob, NewJob, Outcome
from tenure.options import (
    DeadFilter,
    Headers,
    JobDefaults,
    JobOptions,
    Moment,
    Priority,
    QueueSettings,
)
from tenure.retry import Retry
from tenure_protocol.durations import Duration

if TYPE_CHECKING:
    from tenure.aio import AsyncClient

__all__ = [
    "CODES",
    "AsyncClient",
    "AttemptRecord",
    "Backup",
    "BackupFailed",
    "BadRequest",
    "BrokerError",
    "CannotConnect",
    "Chore",
    "ChoreNotFound",
    "Client",
    "ClientClosed",
    "ConnectionLost",
    "DeadFilter",
    "DeadGroup",
    "DeadGroups",
    "Draining",
    "Duration",
    "Enqueued",
    "FrameTooLarge",
    "Headers",
    "HelloRequired",
    "InternalError",
    "JobDefaults",
    "JobInfo",
    "JobNotFound",
    "JobOptions",
    "JobPage",
    "Lease",
    "LeaseLost",
    "LeasedJob",
    "MalformedFrame",
    "Moment",
    "NewJob",
    "Outcome",
    "OutcomeUnknown",
    "PartlyEnqueued",
    "PayloadError",
    "PayloadTooLarge",
    "Priority",
    "ProtocolViolation",
    "QueueExists",
    "QueueFull",
    "QueueInfo",
    "QueueNotEmpty",
    "QueueNotFound",
    "QueueSettings",
    "Reconnect",
    "RequestTimeout",
    "Retry",
    "SequenceTooOld",
    "ServerInfo",
    "StoreFull",
    "TenureError",
    "TooManyConnections",
    "TooManyLeases",
    "TooManyQueues",
    "TooManyWaiting",
    "UnknownOperation",
    "UnsupportedProtocol",
]

_LAZY = {"AsyncClient": "tenure.aio"}


def __getattr__(name: str) -> object:
    # asyncio is heavy, and a program that blocks never needs it.
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(module), name)
    return value
