"""Retry policies as values, and how they travel.

    ["exponential", base_ms, factor, cap_ms, jitter]
    ["fixed", delay_ms, jitter]
    ["steps", [delay_ms, ...], jitter]         the last step repeats

`jitter` is a share from 0 to 1: a delay d becomes one between d * (1 - jitter) and d.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tenure_protocol.errors import BadRequest
from tenure_protocol.limits import RETRY_STEPS_MAX

DELAY_MS_MAX = 365 * 86_400_000
"""The longest pause between two attempts: a year."""

FACTOR_MAX = 1000
"""The steepest growth of an exponential policy."""

JITTER_DEFAULT = 0.2
"""The share by which delays vary unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Exponential:
    """base_ms, then times `factor` each time, never above cap_ms."""

    base_ms: int = 1_000
    factor: float = 4.0
    cap_ms: int = 3_600_000
    jitter: float = JITTER_DEFAULT


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same pause every time."""

    delay_ms: int
    jitter: float = JITTER_DEFAULT


@dataclass(frozen=True, slots=True)
class Steps:
    """A pause for each retry, the last one for all that follow."""

    delays_ms: tuple[int, ...]
    jitter: float = JITTER_DEFAULT


RetryPolicy = Exponential | Fixed | Steps

DEFAULT_POLICY = Exponential()
"""About 1, 4, 16, 64 seconds."""


def delay_ms(policy: RetryPolicy, failures: int, random: float) -> int:
    """How long to wait after the `failures`-th failure (1, 2, ...); `random` is in [0, 1)."""
    delay: float
    match policy:
        case Exponential(base_ms, factor, cap_ms, jitter):
            delay = _grown_ms(base_ms, factor, cap_ms, failures - 1)
        case Fixed(fixed, jitter):
            delay = fixed
        case Steps(steps, jitter):
            delay = steps[min(failures, len(steps)) - 1]
    return round(delay * (1.0 - jitter * random))


def _grown_ms(base_ms: int, factor: float, cap_ms: int, times: int) -> float:
    if base_ms == 0:
        return 0.0
    # In logarithms first: factor ** 1000 has no float.
    if math.log(factor) * times >= math.log(cap_ms / base_ms):
        return cap_ms
    return min(base_ms * factor**times, cap_ms)


def policy_to_wire(policy: RetryPolicy) -> list[object]:
    """A policy as it travels and is stored."""
    match policy:
        case Exponential(base_ms, factor, cap_ms, jitter):
            return ["exponential", base_ms, factor, cap_ms, jitter]
        case Fixed(fixed, jitter):
            return ["fixed", fixed, jitter]
        case Steps(steps, jitter):
            return ["steps", list(steps), jitter]


def policy_from_wire(value: object) -> RetryPolicy:
    """A checked policy. Raises `BadRequest` that says what is allowed."""
    match value:
        case ["exponential", base_ms, factor, cap_ms, jitter]:
            base_ms, cap_ms = _delay("base", base_ms), _delay("cap", cap_ms)
            if cap_ms < base_ms:
                raise BadRequest("the cap of a retry policy must not be below its base")
            factor = _number("factor", factor, 1, FACTOR_MAX)
            return Exponential(base_ms, factor, cap_ms, _number("jitter", jitter, 0, 1))
        case ["fixed", delay, jitter]:
            return Fixed(_delay("delay", delay), _number("jitter", jitter, 0, 1))
        case ["steps", list(steps), jitter]:
            if not 1 <= len(steps) <= RETRY_STEPS_MAX:
                raise BadRequest(
                    f"a retry policy has 1 to {RETRY_STEPS_MAX} steps, not {len(steps)}"
                )
            delays = tuple(_delay("step", step) for step in steps)
            return Steps(delays, _number("jitter", jitter, 0, 1))
        case _:
            raise BadRequest(
                "a retry policy must be ['exponential', base_ms, factor, cap_ms, jitter],"
                " ['fixed', delay_ms, jitter] or ['steps', [delay_ms, ...], jitter]"
            )


def _delay(what: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= DELAY_MS_MAX:
        raise BadRequest(f"the {what} of a retry policy must be 0 to {DELAY_MS_MAX} milliseconds")
    return value


def _number(what: str, value: object, low: int, high: int) -> float:
    if type(value) not in (int, float) or not low <= value <= high:  # type: ignore[operator]
        raise BadRequest(f"the {what} of a retry policy must be a number from {low} to {high}")
    return float(value)  # type: ignore[arg-type]
