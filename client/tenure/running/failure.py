"""From what a job raised to what the broker is told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from traceback import TracebackException
from typing import TYPE_CHECKING, Any

from tenure.core.failure import failure_map
from tenure.errors import TenureError
from tenure.running.outcome import Failed, Outcome, Released
from tenure.tasks.control import Permanent, RetryLater, Snooze, SoftTimeout

if TYPE_CHECKING:
    from tenure.retry import Retry
    from tenure.running.control import CancelReason

SHUTDOWN_REASON = "worker shutdown"
"""What the history says of a job that its worker gave back when it stopped."""

CANCELLED_TYPE = "Cancelled"
"""The error type of a job that was cancelled while it ran."""

TIMEOUT_TYPE = "HardTimeout"
"""The error type of a job that ran into its hard limit."""

_HERE = str(Path(__file__).parent)
_IMPORTING = "<frozen importlib"


def outcome_of(error: BaseException, why: CancelReason | None, retry: Retry | None) -> Outcome:
    """What becomes of a job that raised `error`, after it was told to stop for `why`, if it was."""
    if why is not None and why != "cancelled":
        return stopped(why, error)
    if isinstance(error, (RetryLater, Snooze)):
        return Released(error.delay_ms, error.message or type(error).__name__)
    if isinstance(error, SoftTimeout):
        return failed(error, kind="timeout", dead=not _allows(retry, error))
    if why is not None and isinstance(error, asyncio.CancelledError):
        return stopped(why, error)
    return failed(error, dead=isinstance(error, Permanent) or not _allows(retry, error))


def _allows(retry: Retry | None, error: BaseException) -> bool:
    return retry is None or retry.allows(error)


def stopped(why: CancelReason, error: BaseException | None = None) -> Outcome:
    """What becomes of a job that was told to stop."""
    if why == "shutdown":
        return Released(None, SHUTDOWN_REASON)
    kind, kind_type, message = "failed", CANCELLED_TYPE, "cancelled while it ran"
    if why == "timeout":
        kind, kind_type, message = "timeout", TIMEOUT_TYPE, "it ran into its hard limit"
    elif why == "lease_lost":
        message = "its lease was lost while it ran"
    wire = failure_map(
        message, dead=False, kind=kind, traceback=None if error is None else user_traceback(error)
    )
    wire["error_type"] = kind_type
    return Failed(wire)


def failed(error: BaseException, *, dead: bool = False, kind: str = "failed") -> Failed:
    """The job failed with `error`; it is tried again unless it is `dead`."""
    return Failed(failure_map(error, dead=dead, kind=kind, traceback=user_traceback(error)))


def refused(error: BaseException, *, dead: bool) -> Failed:
    """The job could not even begin. Where this library found that out is of no use to anybody."""
    if isinstance(error, TenureError) and error.__cause__ is None:
        return Failed(failure_map(error, dead=dead, kind="failed", traceback=""))
    return failed(error, dead=dead)


def user_traceback(error: BaseException) -> str:
    """The traceback of an error, without the frames of this package."""
    if error.__traceback__ is None and error.__cause__ is None:
        return ""
    try:
        shown = TracebackException.from_exception(error)
        _strip(shown, set())
        return "".join(shown.format())
    except BaseException as trouble:
        return f"(the traceback cannot be shown: {type(trouble).__name__})"


def _strip(shown: TracebackException | None, seen: set[int]) -> None:
    if shown is None or id(shown) in seen:
        return
    seen.add(id(shown))
    shown.stack[:] = [
        frame for frame in shown.stack if not frame.filename.startswith((_HERE, _IMPORTING))
    ]
    _strip(shown.__cause__, seen)
    _strip(shown.__context__, seen)
    inner: list[Any] = shown.exceptions or []
    for one in inner:
        _strip(one, seen)
