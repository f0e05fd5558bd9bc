"""What can go wrong, told apart by whose fault it is.

- The broker refused: `BrokerError`, with a code. Each code is a class here, so callers
  can catch it by name; the docstring says when it happens and what to do.
- The peer broke the protocol: `ProtocolViolation`. The connection is closed.
- A fault of ours is an assertion, never one of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class TenureError(Exception):
    """Anything Tenure raises on purpose."""


class ProtocolViolation(TenureError):
    """The peer sent what the protocol does not allow; the connection cannot go on.

    `code` is the code of the error frame that is sent before the connection closes.
    """

    def __init__(self, message: str, code: str = "MALFORMED_FRAME") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class BrokerError(TenureError):
    """The broker refused a request. Nothing of the request was done.

    `code` names the reason for machines, `message` tells a person what was wrong and what
    to do, `retryable` says whether the same request may succeed later, and `details` holds
    what a program may want (the limit, the index of the bad job, ...).
    """

    code: str = "INTERNAL"
    retryable_default: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        details: Mapping[str, object] | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, object] = dict(details or {})
        self.retryable = self.retryable_default if retryable is None else retryable

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"

    def to_wire(self) -> list[object]:
        """The error as it travels: `[code, message, retryable, details]`."""
        return [self.code, self.message, self.retryable, self.details]


class BadRequest(BrokerError):
    """A field is missing, has the wrong type or an impossible value. Mend the call."""

    code = "BAD_REQUEST"


class UnknownOperation(BrokerError):
    """The broker has no operation of that name. Compare the versions of both sides."""

    code = "UNKNOWN_OPERATION"


class UnsupportedProtocol(BrokerError):
    """Client and broker share no protocol version. Upgrade the older one."""

    code = "UNSUPPORTED_PROTOCOL"


class HelloRequired(BrokerError):
    """The first frame of a connection must be `hello`."""

    code = "HELLO_REQUIRED"


class MalformedFrame(BrokerError):
    """The bytes received were not a frame of this protocol; the broker closed the connection."""

    code = "MALFORMED_FRAME"


class FrameTooLarge(BrokerError):
    """A frame was longer than `frame_bytes_max`. Send fewer jobs at once."""

    code = "FRAME_TOO_LARGE"


class PayloadTooLarge(BrokerError):
    """A payload, result or header set was over its limit. Store the data elsewhere, send a reference."""

    code = "PAYLOAD_TOO_LARGE"


class TooManyConnections(BrokerError):
    """The broker serves `connections_max` connections already."""

    code = "TOO_MANY_CONNECTIONS"
    retryable_default = True


class TooManyWaiting(BrokerError):
    """As many requests wait, or chores are at work, as may. Try again, or wait for less."""

    code = "TOO_MANY_WAITING"
    retryable_default = True


class TooManyLeases(BrokerError):
    """The broker holds `leases_max` leases. Ack or release some first."""

    code = "TOO_MANY_LEASES"
    retryable_default = True


class TooManyQueues(BrokerError):
    """The broker has `queues_max` queues. Delete unused ones."""

    code = "TOO_MANY_QUEUES"


class QueueNotFound(BrokerError):
    """There is no queue of that name."""

    code = "QUEUE_NOT_FOUND"


class QueueExists(BrokerError):
    """A queue of that name exists with other settings."""

    code = "QUEUE_EXISTS"


class QueueNotEmpty(BrokerError):
    """The queue still holds jobs. Purge it, or delete it with `force`."""

    code = "QUEUE_NOT_EMPTY"


class QueueFull(BrokerError):
    """The queue holds `max_jobs` jobs or `max_bytes` bytes. Nothing was stored; try later."""

    code = "QUEUE_FULL"
    retryable_default = True


class StoreFull(BrokerError):
    """The data directory is at its capacity. Nothing was stored; acks and deletes still work."""

    code = "STORE_FULL"
    retryable_default = True


class JobNotFound(BrokerError):
    """No job of that id: it never existed, or it ended and is no longer kept."""

    code = "JOB_NOT_FOUND"


class ChoreNotFound(BrokerError):
    """No chore of that number: it never began, or it ended long ago or before a restart."""

    code = "CHORE_NOT_FOUND"


class WorkerNotFound(BrokerError):
    """No worker of that id or name is connected, or this connection has not registered one."""

    code = "WORKER_NOT_FOUND"


class TooManyWorkers(BrokerError):
    """Workers tell as much of themselves as the broker may hold. Tell less, or try again later."""

    code = "TOO_MANY_WORKERS"
    retryable_default = True


class WorkerSilent(BrokerError):
    """The worker did not answer in time: it is busy, or hangs, or its connection is gone."""

    code = "WORKER_SILENT"
    retryable_default = True


class LeaseLost(BrokerError):
    """The attempt no longer holds the job: the lease ran out, or another attempt has it."""

    code = "LEASE_LOST"


class SequenceTooOld(BrokerError):
    """The producer's sequence number is older than the broker remembers. Use a new one."""

    code = "SEQUENCE_TOO_OLD"


class Draining(BrokerError):
    """The broker is stopping and takes no new work. Connect again in a moment."""

    code = "DRAINING"
    retryable_default = True


class BackupFailed(BrokerError):
    """The backup could not be made; the message says why. The broker goes on."""

    code = "BACKUP_FAILED"


class InternalError(BrokerError):
    """A fault in the broker, logged there. Please report it."""

    code = "INTERNAL"


def _all_codes() -> dict[str, type[BrokerError]]:
    found: dict[str, type[BrokerError]] = {}
    for cls in BrokerError.__subclasses__():
        assert cls.code not in found, f"two classes for {cls.code}"
        found[cls.code] = cls
    return found


CODES: dict[str, type[BrokerError]] = _all_codes()
"""Every error code and the class it becomes."""


def error_from_wire(value: object) -> BrokerError:
    """The exception for `[code, message, retryable, details]`, also for codes of a newer broker.

    Raises `ProtocolViolation` when `value` has another shape.
    """
    match value:
        case [str(code), str(message), bool(retryable), dict(details), *_]:
            cls = CODES.get(code)
            if cls is not None:
                return cls(message, details=details, retryable=retryable)
            unknown = BrokerError(message, details=details, retryable=retryable)
            unknown.code = code
            return unknown
        case _:
            raise ProtocolViolation("an error must be [code, message, retryable, details]")
