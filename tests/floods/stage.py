"""What a flood is given, and how large it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.floods.broker import Observed

MIB = 1024 * 1024

LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a flood is, and the limits of the broker that it floods."""

    connections: int
    """Connections, waiting reserves, workers."""
    seconds: float
    """How long floods last that have no end of their own."""
    big_bytes: int
    """The longest frame."""
    settings: str
    """The broker's settings."""
    growth_bytes_max: int
    """How much the broker's memory may grow: what its limits allow, and room for the allocator."""


SHORT = Scale(
    connections=150,
    seconds=0.5,
    big_bytes=2 * MIB,
    settings="""
[limits]
frame_bytes_max = "2MiB"
payload_bytes_max = "1MiB"
request_bytes_max = "16MiB"
outbound_bytes_max = "1MiB"
outbound_bytes_total = "16MiB"
[timeouts]
handshake = "1s"
frame = "1s"
send = "2s"
""",
    growth_bytes_max=160 * MIB,
)
"""For `make test`."""


def long_scale(connections: int, seconds: float) -> Scale:
    """The broker as it comes."""
    return Scale(
        connections=connections,
        seconds=seconds,
        big_bytes=16 * MIB,
        # Of the process: unfinished and unanswered requests, what clients have not read, twice
        # for a moment, and what a value in a frame becomes.
        growth_bytes_max=1_500 * MIB,
        settings=f"[limits]\nconnections = {max(connections + 2_000, 10_000)}\nwaiting = {2 * max(connections, 10_000)}\n",
    )


@dataclass(slots=True)
class Stage:
    """A broker, and how much is done to it."""

    broker: Observed
    scale: Scale
    served: asyncio.Future[None]
    """Done when neighbours have been served since the flood began."""

    @property
    def port(self) -> int:
        """Where the broker is."""
        return self.broker.port

    def goes_on(self, until_s: float) -> bool:
        """Whether a flood has not lasted long enough: for its time, or for the neighbours."""
        return time.monotonic() < until_s or not self.served.done()

    async def until(self, true: Callable[[], bool], seconds: float = 60.0) -> None:
        """Waits for something that has no event."""
        async with asyncio.timeout(seconds):
            while not true():  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
