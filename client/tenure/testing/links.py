"""The links that clients are given in tests; see `tenure.core.carriers` for what a link is.

A call that waits lets virtual time pass, no other: in nothing, a minute is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from tenure.core.call import Call
from tenure.core.command import Command, read_result
from tenure.info import ServerInfo
from tenure.settings import Settings
from tenure.testing.carrier import Carrier

if TYPE_CHECKING:
    from tenure.testing.inprocess import InProcessBroker

R = TypeVar("R")

_TURNS_FOR_OTHERS = 10
"""So often the tasks of a loop may go on before a waiting one lets time pass."""


class LoopbackLink:
    """Carries the commands of a `Client` to the broker of this process."""

    def __init__(self, broker: InProcessBroker, settings: Settings) -> None:
        self._broker = broker
        self.carrier = broker.attach(Carrier(broker, settings))

    @property
    def server(self) -> ServerInfo | None:
        """The broker of the last connection."""
        return self.carrier.session.server

    @property
    def draining(self) -> bool:
        """Whether the broker said that it is stopping."""
        return self.carrier.session.draining

    def call(self, command: Command[R]) -> R:
        """Send a command and wait for its result."""
        return self.wait(self.submit(command), command)

    def submit(self, command: Command[Any]) -> Call:
        """Send a command; `wait` fetches the result."""
        return self.carrier.submit(command)

    def submit_all(self, commands: Iterable[Command[Any]]) -> list[Call]:
        """Send commands, one after the other; `wait` for each."""
        return [self.submit(command) for command in commands]

    def wait(self, call: Call, command: Command[R]) -> R:
        """The result of a command. If it waits in the broker, virtual time passes."""
        while not call.done:
            self._broker.pass_some_time()
        if call.error is not None:
            raise call.error
        return read_result(command, call.result)

    def abandon(self, call: Call) -> None:
        """Nobody will wait for `call`."""
        self.carrier.abandon(call)

    def close(self) -> None:
        """Close. Calls in flight end with `ClientClosed`."""
        self.carrier.close()


class AsyncLoopbackLink:
    """Carries the commands of an `AsyncClient` to the broker of this process."""

    def __init__(self, broker: InProcessBroker, settings: Settings) -> None:
        self._broker = broker
        self.carrier = broker.attach(Carrier(broker, settings))

    @property
    def server(self) -> ServerInfo | None:
        """The broker of the last connection."""
        return self.carrier.session.server

    @property
    def draining(self) -> bool:
        """Whether the broker said that it is stopping."""
        return self.carrier.session.draining

    async def call(self, command: Command[R]) -> R:
        """Send a command and wait for its result."""
        return await self.wait(self.submit(command), command)

    def submit(self, command: Command[Any]) -> Call:
        """Send a command; `wait` fetches the result."""
        return self.carrier.submit(command, asyncio.get_running_loop().create_future())

    async def wait(self, call: Call, command: Command[R]) -> R:
        """The result of a command. If it waits in the broker, virtual time passes.

        Other tasks of the loop go on first, and a run of jobs that one of them began is awaited.
        """
        try:
            while not call.done:
                await self._let_others_go_on(call)
                if not call.done:
                    self._broker.pass_some_time()
        except asyncio.CancelledError:
            self.abandon(call)
            raise
        if call.error is not None:
            raise call.error
        return read_result(command, call.result)

    async def _let_others_go_on(self, call: Call) -> None:
        for _ in range(_TURNS_FOR_OTHERS):
            await asyncio.sleep(0)
            if call.done:
                return
        rest = self._broker.rest
        if rest is not None:
            await asyncio.wait((call.waiter, rest), return_when=asyncio.FIRST_COMPLETED)

    def abandon(self, call: Call) -> None:
        """Nobody will wait for `call`."""
        self.carrier.abandon(call)

    async def close(self) -> None:
        """Close. Calls in flight end with `ClientClosed`."""
        self.carrier.close()
