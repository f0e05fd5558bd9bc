"""One client: bytes in, frames, requests to the engine, replies out.

    NEW ──hello──► OPEN ──goodbye, fatal error, time-out──► CLOSING ──► gone

A client is read only as fast as it is answered: too many unanswered requests, too many bytes
of them, or a peer that does not read its replies stop the reading until there is room again.
A closing connection says its last words, then discards what still comes until the peer has
closed too: closing at once would let the peer's unread bytes destroy the last words.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, cast

from tenure_protocol.errors import CODES, BrokerError, InternalError, ProtocolViolation
from tenure_protocol.frames import FrameDecoder
from tenure_protocol.limits import FRAME_BYTES_BEFORE_HELLO_MAX
from tenure_protocol.wire import pack
from tenure_server.engine import Now, Session
from tenure_server.ledger import HEAVY, Ledger
from tenure_server.log import escaped
from tenure_server.operations import OPERATIONS, say_hello
from tenure_server.requests import read_request

if TYPE_CHECKING:
    from tenure_server.hub import Hub

NEW: Final = 0
OPEN: Final = 1
CLOSING: Final = 2

STALLED_MS = 2_000
"""A client that takes nothing for so long is the first to go when memory is short."""
NOTED_BYTES = 64 * 1024
"""Writes from this size on are looked at with the budget of all clients in mind."""
OUTBOUND_FACTOR_MAX = 8
"""A peer with so many times `outbound_bytes_max` unread is cut off at once."""


class Connection(asyncio.Protocol):
    """A client's connection, from accept to close."""

    __slots__ = (
        "_blocked", "_decoder", "_drained", "_frame_began_ms", "_held", "_idle_ms",
        "_last_words_said", "_ledger", "_out", "_out_bytes", "_paused", "_progress_ms", "_written",
        "address", "began_ms", "goodbye_id", "heard_ms", "hub", "linger_until_ms", "name", "noted_bytes", "partial_bytes",
        "session", "state", "transport",
    )  # fmt: skip

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.state = NEW
        self.session: Session | None = None
        self.address = self.name = ""
        self._decoder = FrameDecoder(FRAME_BYTES_BEFORE_HELLO_MAX)
        self._ledger = Ledger()
        self._held: list[bytes] = []
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._paused = self._blocked = False
        self.goodbye_id = 0
        self._last_words_said = False
        self._frame_began_ms = 0
        self.partial_bytes = self.noted_bytes = 0
        self._written = self._drained = 0
        self._progress_ms = self._idle_ms = 0
        self.linger_until_ms = 0

    def __repr__(self) -> str:
        state = ("new", "open", "closing")[self.state]
        return f"<Connection {self.address} {state} unanswered={len(self._ledger.requests)}>"

    # ---- the transport's side ----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted: may it stay?"""
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.address = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "unknown"
        high = self.hub.limits.outbound_bytes_max
        self.transport.set_write_buffer_limits(high=high, low=high // 4)
        self.began_ms = self.heard_ms = self._progress_ms = self.hub.clock().mono_ms
        self.hub.admit(self)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self.state == CLOSING:
            return
        hub = self.hub
        now = hub.clock()
        self.heard_ms = now.mono_ms
        hub.counters.bytes_in += len(data)
        decoder = self._decoder
        try:
            bodies = decoder.feed(data)
        except ProtocolViolation as violation:
            self.fail(violation.code, violation.message)
            return
        partial = decoder.buffered_bytes
        if partial:
            if bodies or not self._frame_began_ms:
                self._frame_began_ms = now.mono_ms
        else:
            self._frame_began_ms = 0
        if partial != self.partial_bytes:
            hub.partial_bytes += partial - self.partial_bytes
            self.partial_bytes = partial
            if hub.partial_bytes > hub.limits.request_bytes_max:
                hub.shed_partial()
                if self.state == CLOSING:
                    return
        if self._held:
            self._held += bodies
        elif bodies:
            self._handle(bodies, now)

    def eof_received(self) -> None:
        """The client will send no more: close, after what is buffered has left."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; leases of its session stay."""
        self.state = CLOSING
        self.hub.leave(self)
        self.hub.lingering.pop(self, None)

    def pause_writing(self) -> None:
        """The client does not read its replies: read no more of its requests."""
        self._blocked = True
        self._pause()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._blocked = False
        self.resume()

    # ---- requests ----------------------------------------------------------------------

    def _handle(self, bodies: list[bytes], now: Now) -> None:
        pump = self.hub.pump
        try:
            pump.catch_up(now)
            self._take(bodies, now)
        except Exception as fault:
            pump.fault(fault)
        pump.wake()

    def _take(self, bodies: list[bytes], now: Now) -> None:
        """Hands requests to the engine until one is wrong or there is no room for more."""
        ledger = self._ledger
        for index, body in enumerate(bodies):
            if self._full():
                self._held = bodies[index:]
                self._pause()
                break
            try:
                request_id, op, args = read_request(body)
            except ProtocolViolation as violation:
                self.fail(violation.code, violation.message)
                return
            if op in HEAVY and not self.hub.admits_heavy():
                self._held = bodies[index:]
                self.hub.starved[self] = None
                self._pause()
                break
            if self.session is None:
                if not self._hello(request_id, op, args, now):
                    return
                continue
            if request_id in ledger.requests:
                self.fail("MALFORMED_FRAME", f"request {request_id} is unanswered: use an id once")
                return
            ledger.add(request_id, op, len(body))
            self.hub.request_bytes += len(body)
            self._request(request_id, op, args, now)
            if self.goodbye_id:
                return

    def _request(self, request_id: int, op: str, args: Any, now: Now) -> None:
        hub = self.hub
        requests = hub.counters.requests
        requests[op if op in requests else "unknown"] += 1
        operation = OPERATIONS.get(op)
        if operation is not None:
            operation(self, request_id, args, now)
            return
        session = self.session
        assert session is not None
        if op in ("reserve", "wait") and len(session.waits) >= hub.limits.waiting_per_connection:
            most = hub.limits.waiting_per_connection
            self.refuse(
                request_id,
                CODES["TOO_MANY_WAITING"](
                    f"this connection has {most} waiting requests, the limit",
                    details={"limit": most},
                ),
            )
            return
        hub.engine.execute(session, request_id, op, args, now)
        if op == "goodbye":
            self.goodbye_id = request_id
            self._pause()

    def _hello(self, request_id: int, op: str, args: object, now: Now) -> bool:
        """The first request; whether the connection may go on."""
        self.hub.counters.requests["hello"] += op == "hello"
        if op != "hello":
            self.fail("HELLO_REQUIRED", f"the first request must be hello, not {escaped(op, 64)!r}")
            return False
        try:
            result = say_hello(self, args, now)
        except BrokerError as error:
            self.fail(error.code, error.message, error)
            return False
        self.state = OPEN
        self._idle_ms = self.hub.timeouts.idle_ms
        self._decoder.frame_bytes_max = self.hub.limits.frame_bytes_max
        self.answer(request_id, 0, result)
        return True

    # ---- replies -----------------------------------------------------------------------

    def answer(self, request_id: int, status: int, body: object) -> None:
        """Puts a reply into the next write."""
        if self.state == CLOSING:
            return
        data = pack((request_id, status, body))
        self.hub.request_bytes -= self._ledger.settle(request_id, len(data))
        if status:
            self.hub.count_refusal(body)
        if len(data) > self.hub.limits.frame_bytes_max:
            self.hub.log_limited("error", "reply_too_large", bytes=len(data), client=self.name)
            error = InternalError("the reply is longer than a frame may be; ask for less at once")
            data = pack((request_id, 1, error.to_wire()))
        self._put(data)
        if request_id == self.goodbye_id and request_id:
            self._last_words_said = True

    def refuse(self, request_id: int, error: BrokerError) -> None:
        """Puts an error reply into the next write."""
        self.answer(request_id, 1, error.to_wire())

    def notice(self, kind: str, details: dict[str, object]) -> None:
        """Puts an unasked message into the next write."""
        if self.state == OPEN:
            self._put(pack((0, 2, (kind, details))))

    def _put(self, data: bytes) -> None:
        if not self._out:
            self.hub.dirty.append(self)
        self._out.append(len(data).to_bytes(4, "big"))
        self._out.append(data)
        self._out_bytes += len(data)

    def flush(self) -> None:
        """Writes what was put, in one piece. The pump calls it once per turn."""
        if not self._out:
            return
        data = b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        self.hub.counters.bytes_out += len(data)
        self._written += len(data)
        if (transport := self.transport).is_closing():
            return
        transport.write(data)
        if len(data) >= NOTED_BYTES:
            self.hub.note_unread(self)
        if self._last_words_said:
            self.half_close()
        elif self._blocked:
            most = self.hub.limits.outbound_bytes_max * OUTBOUND_FACTOR_MAX
            if transport.get_write_buffer_size() > most:
                self.abort("unread_replies")
        elif self._paused:
            self.resume()

    # ---- back-pressure -----------------------------------------------------------------

    def _full(self) -> bool:
        """Whether more requests would be more than this client may have unanswered."""
        hub, limits = self.hub, self.hub.limits
        # Unwritten answers count too: one chunk of small requests can ask for many times the limit.
        if self._blocked or self._out_bytes >= limits.outbound_bytes_max:
            return True
        if self._ledger.full(limits, self._waits()):
            return True
        if hub.request_bytes >= limits.request_bytes_max:
            hub.starved[self] = None
            return True
        return False

    def _pause(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Goes on with held requests, and reads again, if there is room."""
        if self.state == CLOSING or self.goodbye_id or not self._paused:
            return
        now = self.hub.clock()
        if self._held and not self._full():
            held, self._held = self._held, []
            self._handle(held, now)
        if self.state != CLOSING and not self._held and not self.goodbye_id and not self._full():
            self._paused = False
            # The client's clocks stood still while it was not read.
            self.heard_ms = now.mono_ms
            if self._frame_began_ms:
                self._frame_began_ms = now.mono_ms
            self.transport.resume_reading()

    # ---- the end -----------------------------------------------------------------------

    def fail(self, code: str, message: str, error: BrokerError | None = None) -> None:
        """Tells the client what is wrong and closes."""
        if self.state == CLOSING:
            return
        error = error or CODES[code](message)
        self.hub.counters.refusals[code] += 1
        self.hub.note_closed(self, code.lower(), message)
        self._put(pack((0, 1, error.to_wire())))
        self.flush()
        self.half_close()

    def half_close(self) -> None:
        """Says nothing more, and waits a moment for the client to close."""
        if self.state == CLOSING:
            return
        self.flush()
        self.state = CLOSING
        self.hub.leave(self)
        self._held = []
        transport = self.transport
        if transport.is_closing():
            return
        self.hub.linger(self)
        with contextlib.suppress(OSError):
            # Cut off by its peer, of which the loop has not told yet.
            transport.write_eof()
        if self._paused:
            self._paused = False
            transport.resume_reading()

    def abort(self, reason: str) -> None:
        """Cuts the connection at once."""
        self.hub.note_closed(self, reason, "")
        self.state = CLOSING
        self.hub.leave(self)
        self.transport.abort()

    def forget(self) -> int:
        """Drops what was asked and not answered; how many bytes that was."""
        return self._ledger.clear()

    def _waits(self) -> int:
        """How many of the unanswered requests wait for something to happen."""
        return 0 if self.session is None else len(self.session.waits)

    @property
    def quiet(self) -> bool:
        """Whether everything asked is answered (but for waits) and every answer has left."""
        return (
            len(self._ledger.requests) <= self._waits()
            and not self._held
            and not self._out
            and (self.transport.is_closing() or self.transport.get_write_buffer_size() == 0)
        )

    @property
    def unread_bytes(self) -> int:
        """What was written and has not left for the client."""
        return self.transport.get_write_buffer_size()

    def stalled(self, now_ms: int) -> bool:
        """Whether the client has taken nothing for longer than two looks at it."""
        return now_ms - self._progress_ms >= STALLED_MS

    def check(self, now_ms: int) -> None:
        """Closes the connection if one of its times is over. Called about once a second."""
        timeouts = self.hub.timeouts
        waiting = self.unread_bytes
        drained = self._written - waiting
        if drained != self._drained or not waiting:
            self._drained = drained
            self._progress_ms = now_ms
        elif now_ms - self._progress_ms >= timeouts.send_ms:
            self.abort("send_timeout")
            return
        if self.state == NEW and now_ms - self.began_ms >= timeouts.handshake_ms:
            self.fail("HELLO_REQUIRED", f"no hello within {timeouts.handshake_ms} ms")
        elif self._paused:
            return
        elif self._frame_began_ms and now_ms - self._frame_began_ms >= timeouts.frame_ms:
            self.fail("MALFORMED_FRAME", f"a frame was not finished within {timeouts.frame_ms} ms")
        elif self.state == OPEN and now_ms - self.heard_ms >= self._idle_ms:
            self.hub.note_closed(self, "idle_timeout", "")
            self.half_close()
