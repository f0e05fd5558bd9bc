"""The network between the clients and the broker: late, in pieces, silent, broken.

    client transport ══ Way ══► broker's Connection        bytes of a way arrive in order,
    client's _Wire   ◄══ Way ══ broker transport           each way with its own delay

A break does not reach both ends at the same moment; what was sent before may still arrive.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.sim.history import History
from tests.sim.loop import SimLoop

OnBytes = Callable[["End", bytes], None]


class End:
    """One end of a connection: an asyncio transport for whoever holds it."""

    def __init__(self, net: Net, label: str, protocol: Any) -> None:
        self._net = net
        self.label = label
        self.protocol = protocol
        self.peer: End = self
        self.closed = False
        self.reading = True
        self.silent = False
        """What is written from now on never arrives."""
        self.extra_us = 0
        self._last_us = 0
        self.coming: deque[tuple[bytes | None, bool]] = deque()
        self._kept: deque[bytes | None] = deque()
        """What arrived while the protocol did not read; None: the end."""
        self._high, self._low = 1 << 16, 1 << 14
        self._held_up = False
        self.on_bytes: OnBytes | None = None
        self.on_sent: OnBytes | None = None

    # ---- an asyncio transport --------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Sends, if the connection is still there."""
        if self.closed or not data:
            return
        if self.on_sent is not None:
            self.on_sent(self, data)
        for piece in self._net.pieces(data):
            self._send(piece)
        if self.get_write_buffer_size() > self._high and not self._held_up:
            self._held_up = True
            self.protocol.pause_writing()

    def _send(self, piece: bytes | None) -> None:
        net = self._net
        at_us = max(self._last_us, net.loop.now_us + net.latency_us() + self.extra_us)
        self._last_us = at_us
        # A queue of its own: timers that are due together may be called in any order.
        self.peer.coming.append((piece, self.silent))
        net.loop.call_at(at_us / 1e6, self.peer.arrive)

    def write_eof(self) -> None:
        """Nothing more will be sent."""
        if not self.closed:
            self._send(None)

    def close(self) -> None:
        """As abort: nothing is buffered at this end."""
        self.abort()

    def abort(self) -> None:
        """Gone at once, for this end; the other one learns it later."""
        if self.closed:
            return
        self.lose(None)
        if not self.silent:
            net = self._net
            at_us = max(self._last_us, net.loop.now_us + net.latency_us())
            net.loop.call_at(at_us / 1e6, self.peer.lose, ConnectionResetError("reset by peer"))

    def is_closing(self) -> bool:
        """Whether this end is gone."""
        return self.closed

    def pause_reading(self) -> None:
        """What arrives is kept back."""
        self.reading = False

    def resume_reading(self) -> None:
        """What was kept back arrives now."""
        self.reading = True
        while self._kept and self.reading and not self.closed:
            self._take(self._kept.popleft())
        self.peer.drained()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When the protocol is told to stop writing."""
        if high is not None:
            self._high, self._low = high, low if low is not None else high // 4

    def get_write_buffer_size(self) -> int:
        """What the other end has not read."""
        return sum(len(piece) for piece in self.peer._kept if piece)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The peer's address, made up."""
        return (self.label, 1) if name == "peername" else default

    # ---- the network's side ------------------------------------------------------------------

    def arrive(self) -> None:
        """Bytes come in, or the other's end of file."""
        piece, lost = self.coming.popleft()
        if self.closed or lost:
            return
        if self.reading and not self._kept:
            self._take(piece)
        else:
            self._kept.append(piece)

    def _take(self, piece: bytes | None) -> None:
        if piece is None:
            self.protocol.eof_received()
            # As asyncio does when eof_received returns nothing: this end closes too.
            self.abort()
            return
        if self.on_bytes is not None:
            self.on_bytes(self, piece)
        self._net.guarded(self.protocol.data_received, piece)

    def drained(self) -> None:
        """The other end has read something."""
        if self._held_up and not self.closed and self.get_write_buffer_size() <= self._low:
            self._held_up = False
            self.protocol.resume_writing()

    def lose(self, error: Exception | None) -> None:
        """The connection is gone for this end."""
        if self.closed:
            return
        self.closed = True
        self._net.forget(self)
        self._net.loop.call_soon(self._net.guarded, self.protocol.connection_lost, error)


class Net:
    """All connections of one history. `listener` makes the broker's end; None: nobody listens."""

    def __init__(
        self, loop: SimLoop, rng: random.Random, history: History, latency_us: int, splits: bool
    ) -> None:
        self.loop = loop
        self._rng = rng
        self._history = history
        self._latency_us = latency_us
        self._splits = splits
        self.listener: Callable[[], Any] | None = None
        self.pairs: dict[End, End] = {}
        """The client's end to the broker's, oldest first."""
        self.opened = 0
        self.guarded: Callable[..., None] = lambda call, *args: call(*args)
        self.on_arrived: OnBytes | None = None
        self.on_left: OnBytes | None = None

    def latency_us(self) -> int:
        """How long the next bytes take."""
        return 1 + int(self._rng.expovariate(1) * self._latency_us)

    def pieces(self, data: bytes) -> list[bytes]:
        """The bytes as they will arrive."""
        if not self._splits or len(data) < 2 or self._rng.random() < 0.5:
            return [data]
        cut = self._rng.randrange(1, len(data))
        self._history.reach("split frames")
        return [data[:cut], data[cut:]]

    async def dial(self, factory: Callable[[], Any], host: str) -> tuple[End, Any]:
        """A client connects."""
        await asyncio.sleep(self.latency_us() / 1e6)
        if self.listener is None:
            self._history.reach("refused dials")
            raise ConnectionRefusedError("nobody listens")
        self.opened += 1
        label = f"c{self.opened}"
        protocol = factory()
        client, server = End(self, label, protocol), End(self, label, self.listener())
        client.peer, server.peer = server, client
        server.on_bytes, server.on_sent = self.on_arrived, self.on_left
        self.pairs[client] = server
        self._history.note("net", "open", label)
        self.guarded(server.protocol.connection_made, server)
        protocol.connection_made(client)
        return client, protocol

    def forget(self, end: End) -> None:
        """An end is gone; the pair is, once both are."""
        client = end if end in self.pairs else end.peer
        if client.closed and client.peer.closed:
            self.pairs.pop(client, None)

    # ---- faults ------------------------------------------------------------------------------

    def some(self) -> End | None:
        """The client's end of a connection that both ends still have."""
        alive = [c for c, s in self.pairs.items() if not c.closed and not s.closed]
        return self._rng.choice(alive) if alive else None

    def reset(self, client: End) -> None:
        """Broken for both; what was on its way is lost."""
        server = client.peer
        client.silent = server.silent = True
        client.lose(ConnectionResetError("reset by the network"))
        server.lose(ConnectionResetError("reset by the network"))

    def lose_replies(self, client: End) -> None:
        """What the client sent arrives; from the broker it gets nothing but the end."""
        server = client.peer
        server.silent = True
        client.lose(ConnectionResetError("reset by the network"))
        after_us = max(client._last_us, self.loop.now_us) + self._latency_us
        self.loop.call_at(after_us / 1e6, server.lose, ConnectionResetError("reset by peer"))

    def make_zombie(self, client: End, late_us: int) -> None:
        """The client sees the end now; what it had sent goes on arriving much later."""
        server = client.peer
        server.silent = True
        client.extra_us += late_us

        def gone() -> None:
            client.lose(ConnectionResetError("reset by the network"))
            after_us = max(client._last_us, self.loop.now_us) + 1_000
            self.loop.call_at(after_us / 1e6, server.lose, ConnectionResetError("reset by peer"))

        self.loop.call_later(late_us / 2e6, gone)

    def broker_gone(self, *, silently: bool) -> None:
        """The broker's process ended, or (`silently`) its machine."""
        for client, server in list(self.pairs.items()):
            was_closed = server.closed
            server.closed = True
            server.on_bytes = server.on_sent = None
            if client.closed or was_closed:
                self.pairs.pop(client, None)
            elif silently:
                client.silent = True
            else:
                at_us = max(server._last_us, self.loop.now_us + self.latency_us())
                error = ConnectionResetError("reset by peer")
                self.loop.call_at(at_us / 1e6, client.lose, error)
