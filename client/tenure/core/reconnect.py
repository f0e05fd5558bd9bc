"""When and where to connect again: decisions only, with time and randomness passed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tenure.address import Address
from tenure.errors import BrokerError, CannotConnect, ProtocolViolation

STEADY_MS = 1_000
"""A connection that lived shorter than this counts as a failed try, so that nothing spins."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Pauses between tries: random, from `base_ms` to three times the last one, up to `cap_ms`.

    (Decorrelated jitter: clients that lost their broker together do not come back together.)
    """

    base_ms: int = 50
    cap_ms: int = 5_000

    def __post_init__(self) -> None:
        if not 1 <= self.base_ms <= self.cap_ms:
            raise ValueError("reconnect needs 1 <= base_ms <= cap_ms")


def next_pause_ms(policy: Reconnect, last_ms: int, random: float) -> int:
    """The pause after one of `last_ms` (0: the first); `random` is in [0, 1)."""
    high = max(policy.base_ms, last_ms * 3)
    return min(policy.cap_ms, round(policy.base_ms + (high - policy.base_ms) * random))


class Dialer:
    """Which address to try next and when, and when to give up.

    - Addresses are tried in turn without a pause; after each round there is one.
    - A client that never had a connection gives up after `connect_timeout_ms`, and at once
      when the broker says that it never will accept it. One that had a connection goes on
      as long as requests wait; their own deadlines end them.
    - Without a policy there is one round, and then it gives up.
    """

    __slots__ = (
        "_addresses",
        "_connect_timeout_ms",
        "_index",
        "_opened_ms",
        "_pause_ms",
        "_policy",
        "_random",
        "_started_ms",
        "_tried",
        "at_ms",
        "ever_open",
        "last_error",
    )

    def __init__(
        self,
        addresses: Sequence[Address],
        policy: Reconnect | None,
        connect_timeout_ms: int,
        random: Callable[[], float],
    ) -> None:
        self._addresses = tuple(addresses)
        self._policy = policy
        self._connect_timeout_ms = connect_timeout_ms
        self._random = random
        self._index = 0
        self._tried = 0
        self._pause_ms = 0
        self._started_ms: int | None = None
        self._opened_ms = 0
        self.at_ms = 0
        """When the next try is due."""
        self.ever_open = False
        """Whether there ever was a connection."""
        self.last_error: Exception | None = None
        """What the last try met."""

    @property
    def address(self) -> Address:
        """The address in use, or to be tried next."""
        return self._addresses[self._index]

    def started(self, now_ms: int) -> None:
        """A try begins."""
        if self._started_ms is None:
            self._started_ms = now_ms

    def opened(self, now_ms: int) -> None:
        """The broker answered the hello."""
        self.ever_open = True
        self._opened_ms = now_ms
        self._started_ms = None
        self._tried = 0
        self.last_error = None

    def lost(self, now_ms: int, error: Exception) -> None:
        """An open connection broke: try the same address at once, unless it was young."""
        self.last_error = error
        if now_ms - self._opened_ms >= STEADY_MS:
            self._pause_ms = 0
            self.at_ms = now_ms
        elif self._policy is not None:
            self._wait(self._policy, now_ms)

    def given_up(self, now_ms: int) -> None:
        """A connection with which nothing was wrong is gone: try the same address at once."""
        self.at_ms = now_ms

    def failed(self, now_ms: int, error: Exception) -> CannotConnect | None:
        """A try failed. Returns the error for everybody who waits, if it was the last one."""
        address = self.address
        self.last_error = error
        self._index = (self._index + 1) % len(self._addresses)
        self._tried += 1
        round_over = self._tried % len(self._addresses) == 0
        if self._gives_up(now_ms, error, round_over):
            self._started_ms = None
            self._tried = 0
            self.at_ms = now_ms
            return cannot_connect(address, error)
        if round_over and self._policy is not None:
            self._wait(self._policy, now_ms)
        else:
            self.at_ms = now_ms
        return None

    def _gives_up(self, now_ms: int, error: Exception, round_over: bool) -> bool:
        if not round_over:
            return False
        if self._policy is None:
            return True
        if self.ever_open:
            return False
        hopeless = isinstance(error, ProtocolViolation) or (
            isinstance(error, BrokerError) and not error.retryable
        )
        started = now_ms if self._started_ms is None else self._started_ms
        return hopeless or now_ms - started >= self._connect_timeout_ms

    def _wait(self, policy: Reconnect, now_ms: int) -> None:
        self._pause_ms = next_pause_ms(policy, self._pause_ms, self._random())
        self.at_ms = now_ms + self._pause_ms


def cannot_connect(address: Address | str, error: Exception | None) -> CannotConnect:
    """The error that names the address, the reason, and what to do."""
    match error:
        case None:
            reason = "no try ended in time; is the address right and the network up?"
        case ProtocolViolation():
            reason = f"what answers there does not speak Tenure's protocol ({error})"
        case BrokerError():
            reason = f"the broker refused: {error}"
        case ConnectionRefusedError():
            reason = "connection refused; is the broker running? (tenure server)"
        case TimeoutError():
            reason = "no answer in time; is the address right and the network up?"
        case _:
            reason = str(error) or type(error).__name__
    made = CannotConnect(f"cannot connect to the broker at {address or 'its address'}: {reason}")
    made.__cause__ = error
    return made
