"""What a worker tells of a failure, cut to the lengths that the broker keeps."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from tenure_protocol.durations import Duration
from tenure_protocol.limits import (
    ERROR_MESSAGE_CHARS_MAX,
    ERROR_TYPE_CHARS_MAX,
    TRACEBACK_CHARS_MAX,
)

FailureKind = Literal["failed", "timeout", "crashed"]
"""Why an attempt failed: by itself, because it took too long, or because its process died."""

_KINDS = ("failed", "timeout", "crashed")


class FailOptions(TypedDict, total=False):
    """What can be said of a failure besides the error."""

    retry_in: Duration | None
    dead: bool
    kind: FailureKind
    traceback: str | None


ERROR_TYPE_OF_TEXT = "Error"
"""The error type of a failure that was told as a text."""


def failure_map(
    error: BaseException | str, *, dead: bool, kind: str, traceback: str | None
) -> dict[str, Any]:
    """The map of a fail item, without the pause."""
    if kind not in _KINDS:
        raise ValueError(f"kind must be one of {', '.join(_KINDS)}, not {kind!r}")
    if isinstance(error, str):
        error_type, message = ERROR_TYPE_OF_TEXT, error
    elif isinstance(error, BaseException):
        error_type, message = _type_name(error), _message(error)
        traceback = _traceback(error) if traceback is None else traceback
    else:
        raise TypeError(f"error must be an exception or a text, not {type(error).__name__}")
    return {
        "error_type": clean_text(error_type[:ERROR_TYPE_CHARS_MAX]),
        "message": clean_text(message[:ERROR_MESSAGE_CHARS_MAX]),
        "traceback": clean_text((traceback or "")[-TRACEBACK_CHARS_MAX:]),
        "dead": dead,
        "kind": kind,
    }


def _type_name(error: BaseException) -> str:
    cls = type(error)
    name = cls.__qualname__
    return name if cls.__module__ == "builtins" else f"{cls.__module__}.{name}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as trouble:
        # An exception whose text cannot be made must not keep the failure from being told.
        return f"(its message cannot be shown: {type(trouble).__name__})"


def _traceback(error: BaseException) -> str:
    if error.__traceback__ is None:
        return ""
    # Imported here: failures are rare, and the module is not small.
    from traceback import format_exception

    try:
        return "".join(format_exception(error))
    except Exception as trouble:
        return f"(the traceback cannot be shown: {type(trouble).__name__})"


def clean_text(text: str) -> str:
    """`text` as msgpack can carry it: lone surrogates (of file names, say) as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
