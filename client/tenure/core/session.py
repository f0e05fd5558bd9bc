"""One client's conversation with the broker, across connections, without I/O.

The shell brings bytes and time, and carries away bytes and finished calls:

    begin ─► receive* ─► lost ─► begin ─► …      submit, abandon, tick at any time
    take_out: what to write        take_done: calls that have ended
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from tenure.core.call import PING, Call, frame_of, ghost_of, reply_of
from tenure.core.command import Command
from tenure.core.endings import broken_error, late_error, too_long_error
from tenure.core.greeting import HELLO_ID, hello_frame, idle_share_ms, server_info
from tenure.core.reconnect import cannot_connect
from tenure.errors import BrokerError, ProtocolViolation
from tenure.info import ServerInfo
from tenure_protocol.errors import error_from_wire
from tenure_protocol.frames import HEADER_BYTES, FrameDecoder
from tenure_protocol.limits import ENQUEUES_UNANSWERED_MAX, FRAME_BYTES_MAX

FRAME_BYTES_ACCEPTED_MAX = 4 * FRAME_BYTES_MAX
"""The longest frame taken from a broker, whatever limit it claims to have."""

_FRAME_BYTES_BEFORE_HELLO_MAX = 16 * 1024
_REQUEST_ID_MAX = 2**32 - 1
_NEVER = 2**62


class Session:
    """Request ids, pending calls, deadlines, repeats and keep-alive of one client.

    Not thread-safe: the shell sees to it that one caller at a time is inside.
    """

    def __init__(
        self,
        *,
        name: str,
        timeout_ms: int,
        repeats: bool,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.name = name
        self.state: Literal["closed", "greeting", "open"] = "closed"
        self.server: ServerInfo | None = None
        """The broker of the last open connection."""
        self.draining = False
        """Whether the broker said that it is stopping."""
        self.on_notice: Callable[[str, dict[str, Any]], None] | None = None
        """Called with the kind and the details of every notice, inside `receive`."""
        self.dead: str | None = None
        """Why the connection has to be given up, found out by `tick`."""
        self.address = ""
        """Where the connection goes to, for messages."""
        self.trouble: Exception | None = None
        """Why there is no connection, for messages."""
        self._timeout_ms = timeout_ms
        self._repeats = repeats
        self._producer = b"\xc4\x10" + random_bytes(16)
        self._resume: bytes | None = None
        self._decoder = FrameDecoder()
        self._pending: dict[int, Call] = {}
        self._held: deque[Call] = deque()
        self._unanswered: dict[int, None] = {}
        self._out: list[bytes] = []
        self._untaken: list[Call] = []
        self._done: list[Call] = []
        self._next_id = HELLO_ID + 1
        self._next_sequence = 1
        self._soonest_ms = _NEVER
        self._handshake_until_ms = _NEVER
        self._ping_every_ms = _NEVER
        self._ping: Call | None = None
        self._sent_ms = 0
        self._received_ms = 0

    # -- what the shell carries away ------------------------------------------------

    @property
    def frames_out(self) -> int:
        """How many frames wait to be written."""
        return len(self._out)

    def take_out(self) -> bytes:
        """The bytes to write now, empty when there are none."""
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._untaken.clear()
        return data

    def take_done(self) -> list[Call]:
        """The calls that ended since the last time."""
        if not self._done:
            return []
        done, self._done = self._done, []
        return done

    @property
    def waiting(self) -> bool:
        """Whether anybody waits for a reply."""
        return any(not call.abandoned for call in self._pending.values())

    @property
    def pinging(self) -> bool:
        """Whether a ping waits for its answer."""
        return self._ping is not None

    @property
    def alarm_ms(self) -> int:
        """When `tick` next has something to do; far away when there is nothing."""
        if self.state == "greeting":
            return min(self._soonest_ms, self._handshake_until_ms)
        if self.state != "open":
            return self._soonest_ms
        if self._ping is not None:
            return min(self._soonest_ms, self._ping.deadline_ms)
        quiet_ms = min(self._sent_ms, self._received_ms)
        return min(self._soonest_ms, quiet_ms + self._ping_every_ms)

    # -- calls ----------------------------------------------------------------------

    def submit(self, command: Command[Any], now_ms: int, waiter: object = None) -> Call:
        """Take a command; its frame leaves when the connection and the enqueue window allow."""
        timeout_ms = self._timeout_ms if command.timeout_ms is None else command.timeout_ms
        wait_until_ms = now_ms + command.wait_ms
        deadline_ms = wait_until_ms + timeout_ms
        call = Call(self._new_id(), command, deadline_ms, wait_until_ms, waiter)
        self._pending[call.id] = call
        if deadline_ms < self._soonest_ms:
            self._soonest_ms = deadline_ms
        if command.tail is not None:
            self._held.append(call)
            self._admit(now_ms)
        elif self.state == "open":
            self._send(call, now_ms)
        return call

    def abandon(self, call: Call, now_ms: int) -> None:
        """Nobody waits for `call` any more. A reply that still comes is put right or ignored."""
        if call.abandoned:
            return
        call.abandoned = True
        call.waiter = None
        if call.done:
            # The reply was there when its reader left: in time for nobody.
            if call.error is None and call.command.late is not None:
                self._put_right(call, now_ms)
            return
        if call.sent_ms < 0:
            self._drop(call)
        else:
            # A reserve may still wait in the broker, and its jobs are to be given back then.
            call.deadline_ms = max(now_ms, call.wait_until_ms) + self._timeout_ms
            self._soonest_ms = min(self._soonest_ms, call.deadline_ms)

    def _new_id(self) -> int:
        number = self._next_id
        while number in self._pending:
            number = number + 1 if number < _REQUEST_ID_MAX else HELLO_ID + 1
        self._next_id = number + 1 if number < _REQUEST_ID_MAX else HELLO_ID + 1
        return number

    def _admit(self, now_ms: int) -> None:
        """Give held enqueues their sequences, as far as the window is open."""
        while self._held:
            oldest = next(iter(self._unanswered), self._next_sequence)
            if self._next_sequence - oldest >= ENQUEUES_UNANSWERED_MAX:
                return
            call = self._held.popleft()
            if self._pending.get(call.id) is not call:
                continue
            call.sequence = self._next_sequence
            self._next_sequence += 1
            self._unanswered[call.sequence] = None
            if self.state == "open":
                self._send(call, now_ms)

    def _send(self, call: Call, now_ms: int) -> None:
        assert self.server is not None, "requests leave only after the hello"
        frame = frame_of(call, self._producer, now_ms)
        length, limit = len(frame) - HEADER_BYTES, self.server.frame_bytes_max
        if length > limit:
            call.error = too_long_error(length, limit)
            self._finish(call)
            self._drop(call)
            return
        self._out.append(frame)
        self._untaken.append(call)
        call.sent_ms = now_ms
        self._sent_ms = now_ms

    def _drop(self, call: Call) -> None:
        self._pending.pop(call.id, None)
        if call.sequence:
            self._unanswered.pop(call.sequence, None)

    def _finish(self, call: Call) -> None:
        call.done = True
        if not call.abandoned:
            self._done.append(call)

    # -- the connection -------------------------------------------------------------

    def begin(self, address: str, now_ms: int, handshake_ms: int) -> None:
        """A connection to `address` was made: say hello. The answer has `handshake_ms`."""
        assert self.state == "closed", "the last connection was not given up"
        self.state = "greeting"
        self.address = address
        self.dead = None
        self.draining = False
        self._decoder = FrameDecoder(_FRAME_BYTES_BEFORE_HELLO_MAX)
        self._handshake_until_ms = now_ms + handshake_ms
        self._sent_ms = self._received_ms = now_ms
        self._out.append(hello_frame(self.name, self._resume))

    def receive(self, data: bytes, now_ms: int) -> None:
        """Take what came from the broker.

        Raises `ProtocolViolation` or the broker's own last words (a `BrokerError`): the shell
        then closes the connection and calls `lost`.
        """
        self._received_ms = now_ms
        for body in self._decoder.feed(data):
            request_id, status, content = reply_of(body)
            if self.state == "open" and request_id:
                self._reply(request_id, status, content, now_ms)
            else:
                self._unusual(request_id, status, content, now_ms)

    def _reply(self, request_id: int, status: int, content: Any, now_ms: int) -> None:
        error = error_from_wire(content) if status == 1 else None
        if status not in (0, 1):
            raise ProtocolViolation(f"a reply has status 0 or 1, not {status}")
        call = self._pending.get(request_id)
        if call is None:
            return
        if call is self._ping:
            self._ping = None
        call.error = error
        call.result = content
        if call.abandoned and error is None and call.command.late is not None:
            self._put_right(call, now_ms)
        self._finish(call)
        self._drop(call)
        if self._held:
            self._admit(now_ms)

    def _put_right(self, call: Call, now_ms: int) -> None:
        assert call.command.late is not None
        try:
            command = call.command.late(call.result)
        except (TypeError, ValueError, LookupError) as error:
            raise ProtocolViolation(f"the reply to {call.command.op} cannot be read") from error
        if command is not None:
            self.submit(command, now_ms).abandoned = True

    def _unusual(self, request_id: int, status: int, content: Any, now_ms: int) -> None:
        match request_id, status, content:
            case 0, 2, [str(kind), dict(details), *_]:
                self.draining = self.draining or kind == "draining"
                if self.on_notice is not None:
                    self.on_notice(kind, details)
            case ((0 | 1), 1, _) if request_id == 0 or self.state == "greeting":
                raise error_from_wire(content)
            case 1, 0, dict() if self.state == "greeting":
                self._open(content, now_ms)
            case _:
                raise ProtocolViolation("the broker sent a reply that belongs to no request")

    def _open(self, greeting: dict[str, Any], now_ms: int) -> None:
        self.server = server_info(greeting)
        self._resume = greeting["session"]
        self._decoder.frame_bytes_max = min(
            FRAME_BYTES_ACCEPTED_MAX, max(FRAME_BYTES_MAX, self.server.frame_bytes_max)
        )
        self._ping_every_ms = idle_share_ms(self.server)
        self.state = "open"
        for call in list(self._pending.values()):
            if call.command.tail is None or call.sequence:
                self._send(call, now_ms)

    def lost(self, error: Exception, now_ms: int) -> None:
        """The connection is gone. What is safe to repeat waits for the next one."""
        self.state = "closed"
        self.trouble = error
        self._ping = None
        for call in self._untaken:
            call.sent_ms = -1
        self._untaken.clear()
        self._out.clear()
        self._sent_ms = now_ms
        # A fatal error is about the connection: it does not say which request is to blame, nor
        # that nothing was carried out. A request that meets a second one is not sent again.
        fatal = isinstance(error, BrokerError) and not error.retryable
        for call in list(self._pending.values()):
            if call.abandoned:
                self._drop(call)
            elif call.sent_ms < 0:
                continue
            elif not (self._repeats and call.command.repeat) or (fatal and call.suspect):
                call.error = broken_error(call.command, self.address, error)
                self._finish(call)
                self._drop(call)
            else:
                call.sent_ms = -1
                call.suspect = fatal
        self._admit(now_ms)

    def mend(self) -> None:
        """Put in order what a step that an exception ended half done has left.

        The shell gives the connection up then. A call leaves `_pending` after it is done, never
        before, so that none can have been forgotten.
        """
        for call in [call for call in self._pending.values() if call.done]:
            self._drop(call)
        calls = list(self._pending.values())
        given = sorted(call.sequence for call in calls if call.sequence)
        self._unanswered = dict.fromkeys(given)
        # A sequence that was given to a call and not yet counted would else be given to a second.
        self._next_sequence = max([self._next_sequence, *(number + 1 for number in given)])
        self._held = deque(
            call for call in calls if call.command.tail is not None and not call.sequence
        )
        self._soonest_ms = 0

    def fail_all(self, error: Exception) -> None:
        """End every call with `error`: the client was closed, or there is no broker."""
        for call in list(self._pending.values()):
            call.error = error
            self._finish(call)
            self._drop(call)
        self._held.clear()
        self._soonest_ms = _NEVER

    # -- time -----------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """What time brings: calls that run out, a ping that is due, a silent peer (`dead`)."""
        if self.state == "greeting" and now_ms >= self._handshake_until_ms:
            self.dead = "no answer to the hello"
        if now_ms >= self._soonest_ms:
            self._expire(now_ms)
        if self.state != "open" or self.dead:
            return
        if self._ping is not None:
            if now_ms < self._ping.deadline_ms:
                return
            if self._received_ms < self._ping.sent_ms:
                self.dead = "no answer to a ping"
            self._drop(self._ping)
            self._ping = None
        elif now_ms - min(self._sent_ms, self._received_ms) >= self._ping_every_ms:
            # Also when only we are heard: requests whose callers lose patience before their time
            # would else keep a dead connection in use.
            self._ping = self.submit(PING, now_ms)
            self._ping.abandoned = True

    def _expire(self, now_ms: int) -> None:
        self._soonest_ms = _NEVER
        for call in list(self._pending.values()):
            if call.deadline_ms > now_ms:
                self._soonest_ms = min(self._soonest_ms, call.deadline_ms)
            elif call is self._ping:
                continue
            elif call.abandoned:
                self._drop(call)
            else:
                self._time_out(call, now_ms)
        self._admit(now_ms)

    def _time_out(self, call: Call, now_ms: int) -> None:
        call.error = self._late_error(call)
        call.done = True
        self._done.append(call)
        if call.sent_ms < 0:
            self._drop(call)
            return
        if self.state == "open" and self._received_ms <= call.sent_ms and self.dead is None:
            self.dead = f"nothing was received since {call.command.op} was sent"
        # A late reply may still bring leases to give back: the entry stays for a while.
        ghost = self._pending[call.id] = ghost_of(call, now_ms + self._timeout_ms)
        self._soonest_ms = min(self._soonest_ms, ghost.deadline_ms)

    def _late_error(self, call: Call) -> Exception:
        command = call.command
        timeout_ms = self._timeout_ms if command.timeout_ms is None else command.timeout_ms
        if self.state == "open" or call.sent_ms >= 0:
            return late_error(command, self.address, timeout_ms, None)
        if self.server is None:
            return cannot_connect(self.address, self.trouble)
        return late_error(command, self.address, timeout_ms, self.trouble)
