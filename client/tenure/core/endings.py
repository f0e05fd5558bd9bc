"""The errors of requests that did not end with an answer."""

from __future__ import annotations

from typing import Any

from tenure.core.command import Command
from tenure.errors import ConnectionLost, FrameTooLarge, OutcomeUnknown, RequestTimeout
from tenure_protocol.durations import format_ms


def broken_error(command: Command[Any], address: str, error: Exception) -> Exception:
    """The connection broke while `command` was in flight, and it is not sent again."""
    why = f"the connection to {address} broke ({str(error) or type(error).__name__})"
    made: Exception
    if command.repeat:
        made = ConnectionLost(f"{why} while {command.op} was in flight; call it again")
    else:
        made = OutcomeUnknown(
            f"{why} while {command.op} was in flight; it is not repeated by itself,"
            " for it may have been done: look, then decide"
        )
    made.__cause__ = error
    return made


def late_error(
    command: Command[Any], address: str, timeout_ms: int, trouble: Exception | None
) -> RequestTimeout:
    """No answer in time; `trouble` is why there was no connection at the end, if there was none."""
    after = format_ms(timeout_ms)
    if trouble is None:
        return RequestTimeout(f"{address} did not answer {command.op} within {after}")
    made = RequestTimeout(f"no connection to {address} for {command.op} within {after}: {trouble}")
    made.__cause__ = trouble
    return made


def too_long_error(length: int, limit: int) -> FrameTooLarge:
    """A request was longer than the broker takes, and stayed here."""
    return FrameTooLarge(
        f"a request of {length} bytes was not sent; the broker takes {limit}",
        details={"bytes": length, "limit": limit},
    )
