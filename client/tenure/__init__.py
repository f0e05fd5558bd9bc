"""Tenure: tasks that run as durable jobs, and the client below them.

    from tenure import App

    app = App("tenure://localhost:7733")

    @app.task
    def send_email(to: str) -> None: ...

    send_email.enqueue("ada@example.org")

`tenure worker MODULE:app` runs them. Below that, for programs that want only the queue:

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
    ArgumentError,
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
    ImportFailed,
    InternalError,
    InvalidUrl,
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
    ResultNotKept,
    ResultTimeout,
    SequenceTooOld,
    StoreFull,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
    TenureError,
    TooManyConnections,
    TooManyLeases,
    TooManyQueues,
    TooManyWaiting,
    TooManyWorkers,
    UnknownOperation,
    UnknownTask,
    UnsupportedProtocol,
    WorkerNotFound,
    WorkerSilent,
)
from tenure.fleet import WorkerInfo, WorkerJob
from tenure.info import (
    AttemptRecord,
    Backup,
    Chore,
    DeadGroup,
    DeadGroups,
    JobInfo,
    JobPage,
    Progress,
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
    from tenure.running.checkpoints import CheckpointRefused
    from tenure.running.current import CurrentJob, current_job
    from tenure.running.hooks import JobEvent
    from tenure.tasks.app import App
    from tenure.tasks.call import Call
    from tenure.tasks.control import Permanent, RetryLater, Snooze, SoftTimeout
    from tenure.tasks.depends import Depends
    from tenure.tasks.handle import AsyncJobHandle, JobHandle
    from tenure.tasks.task import AsyncTask, Task

__all__ = [
    "CODES",
    "App",
    "ArgumentError",
    "AsyncClient",
    "AsyncJobHandle",
    "AsyncTask",
    "AttemptRecord",
    "Backup",
    "BackupFailed",
    "BadRequest",
    "BrokerError",
    "Call",
    "CannotConnect",
    "CheckpointRefused",
    "Chore",
    "ChoreNotFound",
    "Client",
    "ClientClosed",
    "ConnectionLost",
    "CurrentJob",
    "DeadFilter",
    "DeadGroup",
    "DeadGroups",
    "Depends",
    "Draining",
    "Duration",
    "Enqueued",
    "FrameTooLarge",
    "Headers",
    "HelloRequired",
    "ImportFailed",
    "InternalError",
    "InvalidUrl",
    "JobDefaults",
    "JobEvent",
    "JobHandle",
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
    "Permanent",
    "Priority",
    "Progress",
    "ProtocolViolation",
    "QueueExists",
    "QueueFull",
    "QueueInfo",
    "QueueNotEmpty",
    "QueueNotFound",
    "QueueSettings",
    "Reconnect",
    "RequestTimeout",
    "ResultNotKept",
    "ResultTimeout",
    "Retry",
    "RetryLater",
    "SequenceTooOld",
    "ServerInfo",
    "Snooze",
    "SoftTimeout",
    "StoreFull",
    "Task",
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
    "WorkerInfo",
    "WorkerJob",
    "WorkerNotFound",
    "WorkerSilent",
    "current_job",
]

_LAZY = {
    "AsyncClient": "tenure.aio",
    "App": "tenure.tasks.app",
    "AsyncJobHandle": "tenure.tasks.handle",
    "AsyncTask": "tenure.tasks.task",
    "Call": "tenure.tasks.call",
    "CheckpointRefused": "tenure.running.checkpoints",
    "CurrentJob": "tenure.running.current",
    "Depends": "tenure.tasks.depends",
    "JobEvent": "tenure.running.hooks",
    "JobHandle": "tenure.tasks.handle",
    "Permanent": "tenure.tasks.control",
    "RetryLater": "tenure.tasks.control",
    "Snooze": "tenure.tasks.control",
    "SoftTimeout": "tenure.tasks.control",
    "Task": "tenure.tasks.task",
    "current_job": "tenure.running.current",
}


def __getattr__(name: str) -> object:
    # asyncio is heavy, and a program that blocks never needs it; most of tasks neither.
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(module), name)
    return value
