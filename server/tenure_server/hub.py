"""What all connections share: who is connected, what they may hold together, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tenure_server.config import Config, Limits, Timeouts
from tenure_server.connection import Connection
from tenure_server.counters import Counters
from tenure_server.engine import Engine, Now
from tenure_server.engine_settings import engine_limits
from tenure_server.log import FloodGate, get_log, write

if TYPE_CHECKING:
    from tenure_server.backups import Backups
    from tenure_server.capacity_watch import CapacityWatch
    from tenure_server.pump import Pump
    from tenure_server.workers import Workers

BULK_BYTES_MAX = 8 * 1024 * 1024
"""So much may the long replies of one turn hold, all together. What is asked beyond it waits for
the next turn: else a thousand clients that each ask for a page would have all their pages made
before the first of them is sent."""

LINGER_MS = 2_000
"""How long a closing connection waits for its peer to close too."""

LINGERING_MAX = 512
"""Closing connections that may linger beside the open ones; more are cut off at once."""

LINGERING_SPARE = 32
"""So many may linger even when there are as many open ones as there may be. What lingers takes
descriptors, and the few that are kept for the store and for HTTP are not for that."""


class Hub:
    """The shell's shared state. One per broker, used on the loop's thread only."""

    pump: Pump
    backups: Backups
    capacity: CapacityWatch
    workers: Workers

    def __init__(
        self, config: Config, engine: Engine, counters: Counters, clock: Callable[[], Now]
    ) -> None:
        self.config = config
        self.limits: Limits = config.limits
        self.timeouts: Timeouts = config.timeouts
        self.engine = engine
        self.counters = counters
        self.clock = clock
        self.started = clock()
        self.connections: dict[Connection, None] = {}
        self.lingering: dict[Connection, None] = {}
        """Closing connections that wait for their peers to close, oldest first."""
        self.by_session: dict[bytes, Connection] = {}
        self.dirty: list[Connection] = []
        """Connections with something to write in this turn."""
        self.starved: dict[Connection, None] = {}
        """Connections that wait for `request_bytes` to fall, or for their turn to ask for long replies."""
        self._fed = False
        """Whether the connection that goes on may ask for one long reply though others wait."""
        self.request_bytes = 0
        self.partial_bytes = 0
        self._unread_bytes = 0
        self.stopping = False
        self.reloads = 0
        self.connections_max = config.limits.connections
        self._flood = FloodGate()

    def reconfigure(self, config: Config, connections_max: int) -> None:
        """Takes new settings, for everything that happens from now on."""
        self.config = config
        self.limits = config.limits
        self.timeouts = config.timeouts
        self.connections_max = connections_max
        self.engine.reconfigure(engine_limits(config), self.clock())

    # ---- who is connected --------------------------------------------------------------

    def admit(self, connection: Connection) -> None:
        """A connection was accepted: keeps it, or turns it away."""
        self.counters.accepted += 1
        if self.stopping:
            connection.fail("DRAINING", "the broker is stopping; connect again in a moment")
        elif len(self.connections) < self.connections_max:
            self.connections[connection] = None
            self._bound_lingering()
        elif len(self.lingering) < LINGERING_MAX:
            connection.fail(
                "TOO_MANY_CONNECTIONS",
                f"the broker serves {self.connections_max} connections, its limit",
            )
        else:
            connection.abort("too_many_connections")

    def linger(self, connection: Connection) -> None:
        """A closing connection waits for its peer to close too."""
        connection.linger_until_ms = self.clock().mono_ms + LINGER_MS
        self.lingering[connection] = None
        self._bound_lingering()

    def _bound_lingering(self) -> None:
        """Cuts off those that linger longest, as far as their descriptors may be needed."""
        most = max(self.connections_max - len(self.connections), 0) + LINGERING_SPARE
        while len(self.lingering) > most:
            oldest = next(iter(self.lingering))
            del self.lingering[oldest]
            oldest.transport.abort()

    def leave(self, connection: Connection) -> None:
        """A connection ends: its waiting requests go, its leases stay. May be called twice."""
        self.connections.pop(connection, None)
        self.starved.pop(connection, None)
        self.request_bytes -= connection.forget()
        self.partial_bytes -= connection.partial_bytes
        self._unread_bytes -= connection.noted_bytes
        connection.partial_bytes = connection.noted_bytes = 0
        session = connection.session
        if session is None:
            return
        connection.session = None
        session.link = None
        get_log().debug("client_gone", client=session.name, address=session.address)
        now = self.clock()
        self.workers.leave(connection, now.mono_ms, goodbye=bool(connection.goodbye_id))
        if self.by_session.get(session.id) is connection:
            del self.by_session[session.id]
        try:
            self.engine.close_session(session, now)
        except Exception as fault:
            self.pump.fault(fault)
        self.pump.wake()

    def admits_heavy(self) -> bool:
        """Whether a long reply may be made now; else who asks for it is to wait in `starved`.

        First come, first served, one each: else those who were just answered, and go on, would
        take all of every turn.
        """
        if self.engine.bulk_bytes >= BULK_BYTES_MAX:
            return False
        if self._fed:
            self._fed = False
            return True
        return not self.starved

    def feed_starved(self) -> None:
        """Lets connections go on that waited for others to be answered."""
        if self.request_bytes >= self.limits.request_bytes_max:
            return
        for connection in list(self.starved):
            if self.engine.bulk_bytes >= BULK_BYTES_MAX:
                break
            self.starved.pop(connection, None)
            self._fed = True
            connection.resume()
        self._fed = False

    def shed_partial(self) -> None:
        """Unfinished frames have grown too large together: whoever sent most of them goes."""
        largest = max(self.connections, key=lambda each: each.partial_bytes)
        largest.fail(
            "TOO_MANY_WAITING",
            f"unfinished frames of all clients hold more than {self.limits.request_bytes_max}"
            " bytes; try again, or send fewer jobs at once",
        )

    def sweep(self, now_ms: int) -> None:
        """Looks at every connection's times."""
        for connection in list(self.connections):
            connection.check(now_ms)
        self._shed_unread()
        self.workers.sweep(now_ms)
        for connection in list(self.lingering):
            if now_ms >= connection.linger_until_ms:
                connection.transport.abort()

    def note_unread(self, connection: Connection) -> None:
        """A client was sent much: if all together leave too much unread, the worst are cut off."""
        size = connection.unread_bytes
        self._unread_bytes += size - connection.noted_bytes
        connection.noted_bytes = size
        if self._unread_bytes > self.limits.outbound_bytes_total:
            self._shed_unread()

    def _shed_unread(self) -> None:
        unread: list[Connection] = []
        self._unread_bytes = 0
        for connection in self.connections:
            connection.noted_bytes = connection.unread_bytes
            if connection.noted_bytes:
                self._unread_bytes += connection.noted_bytes
                unread.append(connection)
        most = self.limits.outbound_bytes_total
        if self._unread_bytes <= most:
            return
        now_ms = self.clock().mono_ms
        for connection in sorted(unread, key=lambda each: each.noted_bytes, reverse=True):
            # A burst to clients that do read passes in a moment; up to twice the budget it may.
            if self._unread_bytes > 2 * most or connection.stalled(now_ms):
                connection.abort("unread_replies")
            if self._unread_bytes <= most:
                return

    # ---- what is counted and told ------------------------------------------------------

    def count_refusal(self, body: object) -> None:
        """Counts an error reply by its code."""
        code = body[0] if isinstance(body, list) else ""
        if code in self.counters.refusals:
            self.counters.refusals[code] += 1

    def note_closed(self, connection: Connection, reason: str, message: str) -> None:
        """The broker closes a connection on its own account."""
        closed = self.counters.closed
        closed[reason] = closed.get(reason, 0) + 1
        self.log_limited(
            "warning",
            "connection_closed",
            reason=reason,
            message=message,
            client=connection.name,
            address=connection.address,
        )

    def log_limited(self, level: str, event: str, /, **fields: object) -> None:
        """A line that a flood of its kind cannot drown others with."""
        reason = fields.get("reason")
        if self._flood.admits(f"{event} {reason}" if reason else event, self.clock().mono_ms):
            write(level, event, fields)
