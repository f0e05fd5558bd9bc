"""The options of one job, from the command line or from a line of NDJSON.

Both are checked here, before anything is sent, and become what the client takes:
`{"delay": "5m", "priority": "high"}` becomes `delay=timedelta(minutes=5), priority=64`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from tenure.cli.errors import did_you_mean
from tenure.cli.human import parse_moment_ms
from tenure.cli.settings import parse_priority, parse_retry
from tenure.codecs import encode_value
from tenure.jobs import NewJob
from tenure.retry import Retry
from tenure_protocol.body import MSGPACK, check_body, encode_body
from tenure_protocol.durations import duration_ms, format_ms
from tenure_protocol.errors import BadRequest, PayloadTooLarge
from tenure_protocol.limits import (
    ATTEMPTS_MAX,
    FRAME_BYTES_MAX,
    LEASE_MS_MAX,
    LEASE_MS_MIN,
    PRIORITY_MAX,
    TIME_MS_MAX,
    UNIQUE_BYTES_MAX,
)

_MILLISECOND = timedelta(milliseconds=1)

Read = Callable[[object, str], object]
"""Reads the value of an option, named by the second argument. Raises `ValueError`."""


def _priority(value: object, name: str) -> int:
    if isinstance(value, str):
        return parse_priority(value, name)
    return _whole(value, name, 0, PRIORITY_MAX)


def _whole(value: object, name: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}, not {value!r}")
    return value


def _attempts(value: object, name: str) -> int:
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    return _whole(number, name, 1, ATTEMPTS_MAX)


def _span(value: object, name: str) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{name} must be seconds or a text such as '5m', not {value!r}")
    return timedelta(milliseconds=duration_ms(value, name))


def _lease(value: object, name: str) -> timedelta:
    span = _span(value, name)
    if not LEASE_MS_MIN <= span / _MILLISECOND <= LEASE_MS_MAX:
        allowed = f"{format_ms(LEASE_MS_MIN)} to {format_ms(LEASE_MS_MAX)}"
        raise ValueError(f"{name} must be {allowed}, not {value!r}")
    return span


def _expiry(value: object, name: str) -> timedelta:
    span = _span(value, name)
    if not span:
        raise ValueError(f"{name} must be more than nothing")
    return span


def _moment(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{name} must be a time, not {value!r}")
    at_ms = parse_moment_ms(str(value))
    if at_ms > TIME_MS_MAX:
        raise ValueError(f"{name} is later than any time the broker can keep")
    return at_ms / 1000


def _retry(value: object, name: str) -> Retry:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a text such as 'exponential:1s,4,1h', not {value!r}")
    return parse_retry(value, name)


def _unique(value: object, name: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value.encode()) <= UNIQUE_BYTES_MAX:
        raise ValueError(f"{name} must be a text of 1 to {UNIQUE_BYTES_MAX} bytes")
    return value


JOB_OPTIONS: dict[str, Read] = {
    "priority": _priority,
    "delay": _span,
    "run_at": _moment,
    "max_attempts": _attempts,
    "retry": _retry,
    "lease": _lease,
    "expires": _expiry,
    "unique": _unique,
    "retention": _span,
}
"""Every option of a job: its name on the command line, in NDJSON and in the client."""

FIELDS = ("task", "payload", "headers", *JOB_OPTIONS)
"""Everything a line of NDJSON may hold."""


def draft_job(fields: Mapping[str, object], *, payload_bytes_max: int = FRAME_BYTES_MAX) -> NewJob:
    """A checked job from named values; None means not given, except for the payload.

    Raises `ValueError` that names the field and says what is allowed. Without
    `payload_bytes_max` the size is left to the broker, whose limit it is.
    """
    for name in fields:
        if name not in FIELDS:
            hint = did_you_mean(name, FIELDS) or f"; there are: {', '.join(FIELDS)}"
            raise ValueError(f'no field "{name}"{hint}')
    task, headers = fields.get("task"), fields.get("headers")
    if not isinstance(task, str) or not task:
        raise ValueError(
            "task is missing" if task is None else "task must be a text that is not empty"
        )
    if headers is not None and not isinstance(headers, dict):
        raise ValueError("headers must be an object")
    for name, value in (headers or {}).items():
        if isinstance(value, (dict, list)):
            raise ValueError(f"header {name!r} must be a text, a number, true, false or null")
    options: dict[str, Any] = {
        name: read(fields[name], name)
        for name, read in JOB_OPTIONS.items()
        if fields.get(name) is not None
    }
    if "delay" in options and "run_at" in options:
        raise ValueError("delay and run_at exclude each other")
    _check_body(task, fields.get("payload"), headers, payload_bytes_max)
    if headers:
        options["headers"] = headers
    return NewJob(task, fields.get("payload"), **options)


def _check_body(
    task: str, payload: object, headers: dict[str, Any] | None, payload_bytes_max: int
) -> None:
    """Raises `ValueError` where the client or the broker would refuse the body."""
    try:
        data, codec = encode_value(payload, MSGPACK, None, "payload")
        check_body(encode_body(task, data, headers, codec), payload_bytes_max)
    except (BadRequest, PayloadTooLarge) as error:
        raise ValueError(error.message) from None
    except (OverflowError, UnicodeEncodeError, TypeError) as error:
        raise ValueError(f"the job cannot be sent: {error}") from None
