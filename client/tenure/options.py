"""What callers say about jobs, queues and dead letters, turned into what travels.

Every function here raises `TypeError` or `ValueError` naming the argument that is wrong;
what depends on the broker's settings is left to the broker.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypedDict

from tenure.codecs import CodecName
from tenure.retry import Retry, check_attempts
from tenure_protocol.body import HeaderValue
from tenure_protocol.durations import Duration, duration_ms
from tenure_protocol.limits import (
    LEASE_MS_MAX,
    LEASE_MS_MIN,
    PRIORITY_MAX,
    TIME_MS_MAX,
    UNIQUE_BYTES_MAX,
    WAIT_MS_MAX,
)
from tenure_protocol.names import PRIORITIES

Priority = int | Literal["critical", "high", "normal", "low"]
"""0 to 255, 0 runs first, or a name."""

Moment = datetime | float | int
"""A `datetime` with a time zone, or seconds since 1970."""

Headers = Mapping[str, HeaderValue]
"""Small facts beside the payload, readable without decoding it."""


class JobDefaults(TypedDict, total=False):
    """Options that `enqueue_many` gives to each job that does not say otherwise."""

    priority: Priority | None
    delay: Duration | None
    run_at: Moment | None
    max_attempts: int | None
    retry: Retry | None
    lease: Duration | None
    expires: Duration | datetime | None
    retention: Duration | None
    headers: Headers | None
    codec: CodecName | None


class JobOptions(JobDefaults, total=False):
    """Everything that can be said about one job besides its task and payload."""

    unique: str | None


class QueueSettings(TypedDict, total=False):
    """The settings of a queue; what is left out keeps its value, or the broker's default."""

    lease: Duration
    max_attempts: int
    retry: Retry
    priority: Priority
    max_jobs: int
    max_bytes: int
    retention: Duration
    ended_retention: Duration
    dead_retention: Duration
    dlq: bool
    poison_after: int
    durability: Literal["disk", "memory"]
    paused: bool


class DeadFilter(TypedDict, total=False):
    """Which dead jobs are meant. A text ending in `*` is a prefix; ages count from death."""

    error_type: str | None
    task: str | None
    older_than: Duration | None
    newer_than: Duration | None


_NOT_OPTIONS = ("headers", "codec")


def encode_options(options: Mapping[str, Any]) -> dict[str, object]:
    """The option map of a job; what is None or not given is left to the queue."""
    wire: dict[str, object] = {}
    for name, value in options.items():
        if value is None or name in _NOT_OPTIONS:
            continue
        encode = _OPTIONS.get(name)
        if encode is None:
            raise TypeError(f"{name!r} is not an option of a job; there are {', '.join(_OPTIONS)}")
        wire.update(encode(value))
    if "delay_ms" in wire and "run_at_ms" in wire:
        raise ValueError("give delay or run_at, not both")
    _check_expiry(wire, "delay_ms", "expires_in_ms", "delay is over")
    _check_expiry(wire, "run_at_ms", "expires_at_ms", "run_at")
    retry = options.get("retry")
    if retry is not None and options.get("max_attempts") is None and retry.max_attempts is not None:
        wire["max_attempts"] = retry.max_attempts
    return wire


def _check_expiry(wire: dict[str, Any], begins: str, ends: str, when: str) -> None:
    """A job that has expired before its time comes would be stored, and never run."""
    if begins in wire and ends in wire and wire[ends] <= wire[begins]:
        raise ValueError(f"it would never run: it expires before {when}; let expires be later")


def _priority(value: Priority) -> dict[str, object]:
    return {"priority": priority_number(value)}


def _delay(value: Duration) -> dict[str, object]:
    return {"delay_ms": _span_ms(value, "delay")}


def _run_at(value: Moment) -> dict[str, object]:
    return {"run_at_ms": moment_ms(value, "run_at")}


def _max_attempts(value: int) -> dict[str, object]:
    check_attempts(value, "max_attempts")
    return {"max_attempts": value}


def _retry(value: Retry) -> dict[str, object]:
    if not isinstance(value, Retry):
        raise TypeError(f"retry must be a Retry, not {type(value).__name__}")
    return {"retry": value.to_wire()}


def _lease(value: Duration) -> dict[str, object]:
    return {"lease_ms": lease_to_ms(value)}


def _expires(value: Duration | datetime) -> dict[str, object]:
    if isinstance(value, datetime):
        return {"expires_at_ms": moment_ms(value, "expires")}
    milliseconds = _span_ms(value, "expires")
    if milliseconds == 0:
        raise ValueError("expires must be more than nothing")
    return {"expires_in_ms": milliseconds}


def _unique(value: str) -> dict[str, object]:
    if not isinstance(value, str):
        raise TypeError(f"unique must be a text, not {type(value).__name__}")
    if not 1 <= len(value.encode()) <= UNIQUE_BYTES_MAX:
        raise ValueError(f"unique must have 1 to {UNIQUE_BYTES_MAX} bytes")
    return {"unique": value}


def _retention(value: Duration) -> dict[str, object]:
    return {"retention_ms": _span_ms(value, "retention")}


_OPTIONS: dict[str, Any] = {
    "priority": _priority,
    "delay": _delay,
    "run_at": _run_at,
    "max_attempts": _max_attempts,
    "retry": _retry,
    "lease": _lease,
    "expires": _expires,
    "unique": _unique,
    "retention": _retention,
}


def priority_number(value: Priority) -> int:
    """A priority as a number, from a number or a name."""
    number = PRIORITIES.get(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= PRIORITY_MAX:
        names = ", ".join(PRIORITIES)
        raise ValueError(f"priority must be 0 to {PRIORITY_MAX} or one of {names}, not {value!r}")
    return number


def moment_ms(value: Moment, name: str) -> int:
    """A moment in milliseconds since 1970."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{name} has no time zone: use datetime.now(UTC) or .astimezone()")
        milliseconds = round(value.timestamp() * 1000)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a datetime or seconds since 1970")
    else:
        # Compared first: infinity and nan cannot be rounded.
        if not 0 <= value * 1000 <= TIME_MS_MAX:
            raise ValueError(f"{name} must be from 1970 to the year 10889, not {value!r}")
        milliseconds = round(value * 1000)
    if not 0 <= milliseconds <= TIME_MS_MAX:
        raise ValueError(f"{name} must be from 1970 to the year 10889, not {value!r}")
    return milliseconds


def _span_ms(value: Duration, name: str) -> int:
    milliseconds = duration_ms(value, name)
    if milliseconds > TIME_MS_MAX:
        raise ValueError(f"{name} is longer than anything can last: {value!r}")
    return milliseconds


def lease_to_ms(value: Duration) -> int:
    """The length of a lease in milliseconds."""
    milliseconds = duration_ms(value, "lease")
    if not LEASE_MS_MIN <= milliseconds <= LEASE_MS_MAX:
        raise ValueError(f"lease must be from 100ms to 12h, not {value!r}")
    return milliseconds


def wait_to_ms(value: Duration, name: str) -> int:
    """How long a request may wait in the broker, in milliseconds."""
    milliseconds = duration_ms(value, name)
    if milliseconds > WAIT_MS_MAX:
        raise ValueError(f"{name} must be at most 1h, not {value!r}")
    return milliseconds


def encode_settings(settings: QueueSettings) -> dict[str, object]:
    """The settings map of a queue."""
    wire: dict[str, object] = {}
    for name, value in settings.items():
        if name in ("retention", "ended_retention", "dead_retention"):
            wire[f"{name}_ms"] = _span_ms(value, name)  # type: ignore[arg-type]
        elif name in ("lease", "max_attempts", "retry", "priority"):
            wire.update(_OPTIONS[name](value))
        elif name in QueueSettings.__annotations__:
            wire[name] = value
        else:
            known = ", ".join(QueueSettings.__annotations__)
            raise TypeError(f"{name!r} is not a setting of a queue; there are {known}")
    retry = settings.get("retry")
    if retry is not None and "max_attempts" not in settings and retry.max_attempts is not None:
        wire["max_attempts"] = retry.max_attempts
    return wire


def encode_filter(matching: DeadFilter) -> dict[str, object]:
    """The filter map of the dead-letter operations."""
    wire: dict[str, object] = {}
    for name, value in matching.items():
        if name not in DeadFilter.__annotations__:
            known = ", ".join(DeadFilter.__annotations__)
            raise TypeError(f"{name!r} does not tell dead jobs apart; use {known}")
        if value is None:
            continue
        if name in ("older_than", "newer_than"):
            wire[f"{name}_ms"] = _span_ms(value, name)  # type: ignore[arg-type]
        elif not isinstance(value, str):
            raise TypeError(f"{name} must be a text, not {type(value).__name__}")
        else:
            wire[name] = value
    return wire


def datetime_of(milliseconds: int) -> datetime:
    """A moment of the wire, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
