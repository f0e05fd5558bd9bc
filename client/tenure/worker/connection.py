"""The worker's one connection: made when the first child has told where the broker is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tenure.aio_link import AsyncLink
from tenure.core.call import Call
from tenure.core.command import Command
from tenure.errors import ClientClosed
from tenure.info import ServerInfo
from tenure.settings import Settings

Notice = Callable[[str, dict[str, Any]], None]
Change = Callable[[bool], None]


class Connection:
    """An `AsyncLink` that does not exist before `open`, and is no more after `close`."""

    def __init__(self) -> None:
        self._link: AsyncLink | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can be used. The broker may be away all the same."""
        return self._link is not None

    @property
    def server(self) -> ServerInfo | None:
        """The broker of the last connection."""
        return None if self._link is None else self._link.server

    def open(self, settings: Settings, on_notice: Notice, on_connection: Change) -> None:
        """Connect with the first request, and again whenever the connection broke."""
        link = AsyncLink(settings)
        link.on_notice = on_notice
        link.on_connection = on_connection
        self._link = link

    def submit(self, command: Command[Any]) -> Call:
        """Send a command; what is sent in one turn of the loop leaves in one write."""
        if self._link is None:
            raise ClientClosed("there is no connection")
        return self._link.submit(command)

    async def wait(self, call: Call, command: Command[Any]) -> Any:
        """The result of a command that was submitted. Raises what went wrong with it."""
        if self._link is None:
            raise ClientClosed("there is no connection")
        return await self._link.wait(call, command)

    async def call(self, command: Command[Any]) -> Any:
        """Send a command and wait for its result."""
        return await self.wait(self.submit(command), command)

    def abandon(self, call: Call) -> None:
        """Nobody will wait for `call`. Jobs that it still brings are given back."""
        if self._link is not None:
            self._link.abandon(call)

    async def close(self) -> None:
        """Close. What is in flight ends with `ClientClosed`."""
        if self._link is not None:
            await self._link.close()
            self._link = None
