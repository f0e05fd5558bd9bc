"""A request before it is sent, and how its result is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tenure_protocol.errors import ProtocolViolation

R = TypeVar("R")


@dataclass(slots=True)
class Command(Generic[R]):
    """One request: its operation, its packed arguments, and the reader of its result.

    - `args`: the packed arguments; a function of the milliseconds left to wait for requests
      that wait in the broker, so that a repeat waits only for the rest.
    - `tail`: for an enqueue, what follows after the producer and sequence that the session
      puts behind `args`; None for everything else.
    - `repeat`: whether it is safe to send it again when the connection broke after it left.
    - `late`: for a reply that comes when nobody waits for it any more: the command that
      sets things right, if one is needed.
    """

    op: str
    args: bytes | Callable[[int], bytes]
    read: Callable[[Any], R]
    repeat: bool = False
    wait_ms: int = 0
    timeout_ms: int | None = None
    tail: bytes | None = None
    late: Callable[[Any], Command[Any] | None] | None = None


def read_result(command: Command[R], result: object) -> R:
    """The result of `command`. Raises `ProtocolViolation` when the reply has another shape."""
    try:
        return command.read(result)
    except (TypeError, KeyError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise ProtocolViolation(
            f"the broker's reply to {command.op} cannot be read: {error!r}"
        ) from error
