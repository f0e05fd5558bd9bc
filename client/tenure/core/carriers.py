"""What a client needs of the link that carries its commands, whatever is at the other end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from tenure.core.call import Call
from tenure.core.command import Command
from tenure.info import ServerInfo

R = TypeVar("R")


class Link(Protocol):
    """Carries the commands of a `Client`; `tenure.sync_link` has the one over a socket."""

    @property
    def server(self) -> ServerInfo | None:
        """The broker of the last connection."""
        ...

    @property
    def draining(self) -> bool:
        """Whether the broker said that it is stopping."""
        ...

    def call(self, command: Command[R]) -> R:
        """Send a command and wait for its result."""
        ...

    def submit(self, command: Command[Any]) -> Call:
        """Send a command; `wait` fetches the result."""
        ...

    def submit_all(self, commands: Iterable[Command[Any]]) -> list[Call]:
        """Send commands in one write; `wait` for each."""
        ...

    def wait(self, call: Call, command: Command[R]) -> R:
        """The result of a command that was submitted. Raises what went wrong with it."""
        ...

    def abandon(self, call: Call) -> None:
        """Nobody will wait for `call`."""
        ...

    def close(self) -> None:
        """Close. Calls in flight end with `ClientClosed`."""
        ...


class LoopLink(Protocol):
    """The same for an `AsyncClient`; the waiter of a submitted call is a future of the loop."""

    @property
    def server(self) -> ServerInfo | None:
        """The broker of the last connection."""
        ...

    @property
    def draining(self) -> bool:
        """Whether the broker said that it is stopping."""
        ...

    async def call(self, command: Command[R]) -> R:
        """Send a command and wait for its result."""
        ...

    def submit(self, command: Command[Any]) -> Call:
        """Send a command; `wait` fetches the result."""
        ...

    async def wait(self, call: Call, command: Command[R]) -> R:
        """The result of a command that was submitted. Raises what went wrong with it."""
        ...

    def abandon(self, call: Call) -> None:
        """Nobody will wait for `call`."""
        ...

    async def close(self) -> None:
        """Close. Calls in flight end with `ClientClosed`."""
        ...
