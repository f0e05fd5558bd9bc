"""How a job is tried again: `Retry(...)`, `Retry.fixed(...)`, `Retry.steps(...)`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tenure_protocol.durations import Duration, duration_ms
from tenure_protocol.errors import BadRequest
from tenure_protocol.limits import ATTEMPTS_MAX
from tenure_protocol.retry import (
    JITTER_DEFAULT,
    Exponential,
    Fixed,
    RetryPolicy,
    Steps,
    policy_from_wire,
    policy_to_wire,
)

ErrorTypes = type[BaseException] | Iterable[type[BaseException]]
"""A type of errors, or several."""


@dataclass(frozen=True, init=False)
class Retry:
    """When a failed job is tried again, and how often at most.

    The pauses grow from `base` by `factor` up to `cap`; each is shortened by up to `jitter`
    (a share from 0 to 1), so that jobs that failed together do not come back together.
    `max_attempts` left out means the queue's setting. Raises `ValueError` for impossible values.

    Of a task: with `on`, only these errors are tried again; those of `never_on` never are.
    """

    policy: RetryPolicy
    max_attempts: int | None = field(default=None)
    on: tuple[type[BaseException], ...] = field(default=())
    never_on: tuple[type[BaseException], ...] = field(default=())

    def __init__(
        self,
        max_attempts: int | None = None,
        base: Duration = "1s",
        factor: float = 4,
        cap: Duration = "1h",
        jitter: float = JITTER_DEFAULT,
        *,
        on: ErrorTypes = (),
        never_on: ErrorTypes = (),
    ) -> None:
        policy = Exponential(duration_ms(base, "base"), factor, duration_ms(cap, "cap"), jitter)
        _fill(self, policy, max_attempts, on, never_on)

    @staticmethod
    def fixed(
        delay: Duration,
        *,
        max_attempts: int | None = None,
        jitter: float = JITTER_DEFAULT,
        on: ErrorTypes = (),
        never_on: ErrorTypes = (),
    ) -> Retry:
        """The same pause before every further attempt."""
        policy = Fixed(duration_ms(delay, "delay"), jitter)
        return _made(policy, max_attempts, on, never_on)

    @staticmethod
    def steps(
        delays: Iterable[Duration],
        *,
        max_attempts: int | None = None,
        jitter: float = JITTER_DEFAULT,
        on: ErrorTypes = (),
        never_on: ErrorTypes = (),
    ) -> Retry:
        """One pause for each further attempt; the last one repeats.

        `max_attempts` left out means one attempt more than there are steps.
        """
        steps = tuple(duration_ms(delay, "delays") for delay in delays)
        most = len(steps) + 1 if max_attempts is None else max_attempts
        return _made(Steps(steps, jitter), most, on, never_on)

    def allows(self, error: BaseException) -> bool:
        """Whether a job that failed with `error` may be tried again."""
        if isinstance(error, self.never_on):
            return False
        return not self.on or isinstance(error, self.on)

    def to_wire(self) -> list[object]:
        """The policy as it travels."""
        return policy_to_wire(self.policy)


def _made(
    policy: RetryPolicy, max_attempts: int | None, on: ErrorTypes, never_on: ErrorTypes
) -> Retry:
    retry = object.__new__(Retry)
    _fill(retry, policy, max_attempts, on, never_on)
    return retry


def _fill(
    retry: Retry,
    policy: RetryPolicy,
    max_attempts: int | None,
    on: ErrorTypes,
    never_on: ErrorTypes,
) -> None:
    check_attempts(max_attempts, "max_attempts")
    try:
        checked = policy_from_wire(policy_to_wire(policy))
    except BadRequest as error:
        raise ValueError(f"retry: {error.message}") from None
    object.__setattr__(retry, "policy", checked)
    object.__setattr__(retry, "max_attempts", max_attempts)
    object.__setattr__(retry, "on", _error_types(on, "on"))
    object.__setattr__(retry, "never_on", _error_types(never_on, "never_on"))


def _error_types(value: ErrorTypes, name: str) -> tuple[type[BaseException], ...]:
    types: tuple[Any, ...] = tuple(value) if isinstance(value, Iterable) else (value,)
    for one in types:
        if not isinstance(one, type) or not issubclass(one, BaseException):
            raise TypeError(f"{name} must name types of errors, not {one!r:.80}")
    return types


def check_attempts(value: int | None, name: str) -> None:
    """Raises `ValueError`, naming `name`, unless `value` is None or a possible number of attempts."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= ATTEMPTS_MAX:
        raise ValueError(f"{name} must be a whole number from 1 to {ATTEMPTS_MAX}, not {value!r}")
