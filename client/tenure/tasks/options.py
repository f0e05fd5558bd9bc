"""The options of a task: said once where it is defined, or for some calls through `using`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypedDict

from tenure.options import Headers, Moment, Priority, encode_options
from tenure.retry import Retry
from tenure_protocol.durations import Duration, duration_ms
from tenure_protocol.names import check_queue_name

Executor = Literal["async", "thread", "process", "isolated"]
"""Where a task runs: in the event loop, in a thread, in a process, or in a fresh process each."""

EXECUTORS = ("async", "thread", "process", "isolated")

RESERVED_PREFIX = "tenure."
"""Header names that begin so belong to the library."""

TIMEOUT_HEADER = "tenure.timeout_ms"
"""The hard limit of one job, when it is not the task's own."""

SOFT_TIMEOUT_HEADER = "tenure.soft_timeout_ms"
"""The soft limit of one job, when it is not the task's own."""


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What holds for the jobs of a task. None leaves it to the queue, or to nothing.

    - `timeout_ms`, `soft_timeout_ms`: the hard and the soft limit of one attempt.
    - `unique`: a template of a unique name, or True for one made from the arguments.
    - `delay`, `run_at`: only of calls, through `using`.
    """

    queue: str = "default"
    priority: Priority | None = None
    retry: Retry | None = None
    max_attempts: int | None = None
    timeout_ms: int | None = None
    soft_timeout_ms: int | None = None
    lease_ms: int | None = None
    unique: str | bool | None = None
    expires: Duration | datetime | None = None
    result_ttl_ms: int | None = None
    executor: Executor | None = None
    headers: Headers | None = None
    delay: Duration | None = None
    run_at: Moment | None = None


class CallOptions(TypedDict, total=False):
    """What `using` takes: the options of some calls of a task."""

    queue: str
    delay: Duration
    run_at: Moment
    priority: Priority
    headers: Headers
    unique: str | bool
    expires: Duration | datetime
    retry: Retry
    max_attempts: int
    timeout: Duration
    soft_timeout: Duration
    lease: Duration
    result_ttl: Duration


_SPANS = {
    "timeout": "timeout_ms",
    "soft_timeout": "soft_timeout_ms",
    "lease": "lease_ms",
    "result_ttl": "result_ttl_ms",
}


def changed(options: TaskOptions, given: Mapping[str, Any]) -> TaskOptions:
    """`options` with what `given` says in the words of users; None leaves an option as it is.

    Raises `TypeError` or `ValueError`, naming the argument.
    """
    fields: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        if name in _SPANS:
            fields[_SPANS[name]] = duration_ms(value, name)
        else:
            fields[name] = value
    if "retry" in fields and "max_attempts" not in fields:
        # A policy that says how often counts, not what an older one came with.
        most = getattr(fields["retry"], "max_attempts", None)
        fields["max_attempts"] = options.max_attempts if most is None else None
    if "headers" in fields:
        fields["headers"] = {**(options.headers or {}), **_checked_headers(fields["headers"])}
    if fields.get("delay") is not None and fields.get("run_at") is None:
        fields["run_at"] = None
    elif fields.get("run_at") is not None and fields.get("delay") is None:
        fields["delay"] = None
    result = replace(options, **fields)
    _check(result)
    return result


def _checked_headers(headers: Headers) -> Headers:
    if not isinstance(headers, Mapping):
        raise TypeError(f"headers must be a mapping, not {type(headers).__name__}")
    for name in headers:
        if not isinstance(name, str):
            raise TypeError(f"headers: a name must be a text, not {type(name).__name__}")
        if name.startswith(RESERVED_PREFIX):
            raise ValueError(f"headers: names that begin with {RESERVED_PREFIX!r} are reserved")
    return headers


def _check(options: TaskOptions) -> None:
    try:
        check_queue_name(options.queue)
    except Exception as error:
        raise ValueError(f"queue: {getattr(error, 'message', error)}") from None
    for name in ("timeout", "soft_timeout"):
        if getattr(options, f"{name}_ms") == 0:
            raise ValueError(f"{name} must be more than nothing")
    hard, soft = options.timeout_ms, options.soft_timeout_ms
    if hard is not None and soft is not None and soft >= hard:
        raise ValueError("soft_timeout must be shorter than timeout")
    if options.executor is not None and options.executor not in EXECUTORS:
        raise ValueError(
            f"executor must be one of {', '.join(EXECUTORS)}, not {options.executor!r}"
        )
    if options.unique is not None and not isinstance(options.unique, (str, bool)):
        raise TypeError(f"unique must be a text or True, not {type(options.unique).__name__}")
    encode_options({**job_options(options), "headers": None})


def job_options(options: TaskOptions, own: TaskOptions | None = None) -> dict[str, Any]:
    """The options of one job as the client takes them, without its unique name.

    `own` are the options that the task was defined with: what it says about limits is known
    to the worker, only what differs travels.
    """
    limits = own or options
    headers: dict[str, Any] = dict(options.headers or {})
    if options.timeout_ms is not None and options.timeout_ms != limits.timeout_ms:
        headers[TIMEOUT_HEADER] = options.timeout_ms
    if options.soft_timeout_ms is not None and options.soft_timeout_ms != limits.soft_timeout_ms:
        headers[SOFT_TIMEOUT_HEADER] = options.soft_timeout_ms
    given: dict[str, Any] = {
        "priority": options.priority,
        "delay": options.delay,
        "run_at": options.run_at,
        "max_attempts": options.max_attempts,
        "retry": options.retry,
        "lease": None if options.lease_ms is None else options.lease_ms / 1000,
        "expires": options.expires,
        "retention": None if options.result_ttl_ms is None else options.result_ttl_ms / 1000,
        "headers": headers or None,
    }
    return {name: value for name, value in given.items() if value is not None}
