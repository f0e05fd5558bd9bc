"""A client of the fuzzed broker that remembers what it is owed: one reply for every request."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import msgpack

from tenure_protocol.errors import CODES
from tenure_protocol.wire import pack
from tests.fuzz.line import Line
from tests.fuzz.requests import Known
from tests.fuzz.world import Fault, Room

REQUEST_ID_MAX = 2**32 - 1


class Peer:
    """One connection, right or wrong, and what came back over it."""

    def __init__(self, room: Room, known: Known) -> None:
        self._room = room
        self._known = known
        self._stream = bytearray()
        self._torn = False
        self._received = bytearray()
        self._last_id = 0
        self.owed: Counter[int] = Counter()
        self.refused: Counter[str] = Counter()
        self.last: Any = None
        """The last reply's content."""
        self.fatal: list[Any] | None = None
        self.line: Line = room.connect()

    # ---- saying ------------------------------------------------------------------------

    def next_id(self) -> int:
        """A request id that was not used before."""
        self._last_id += 1
        return self._last_id

    def say(self, op: str, args: Any) -> int:
        """Sends a request as it should be; its id."""
        request_id = self.next_id()
        self.send(framed(pack([request_id, op, args])))
        return request_id

    def send(self, data: bytes) -> None:
        """Sends bytes, whatever they are."""
        self._note(data)
        self.line.send(data)

    def _note(self, data: bytes) -> None:
        """Which requests are in what was sent, up to the first thing that is none."""
        self._stream += data
        while not self._torn and len(self._stream) >= 4:
            length = int.from_bytes(self._stream[:4], "big")
            if not 0 < length <= self._room.limits.frame_bytes_max:
                self._torn = True
            elif len(self._stream) < 4 + length:
                return
            else:
                self._note_body(bytes(self._stream[4 : 4 + length]))
                del self._stream[: 4 + length]

    def _note_body(self, body: bytes) -> None:
        try:
            value = msgpack.unpackb(body, strict_map_key=False)
        except Exception:
            self._torn = True
            return
        match value:
            case [int(request_id), str(), *_] if 0 < request_id <= REQUEST_ID_MAX:
                self.owed[request_id] += 1
            case _:
                self._torn = True

    # ---- hearing -----------------------------------------------------------------------

    def hear(self) -> None:
        """Reads what is there, and holds it against what may come."""
        self._received += self.line.read()
        while len(self._received) >= 4:
            length = int.from_bytes(self._received[:4], "big")
            if not 0 < length <= self._room.limits.frame_bytes_max:
                raise Fault(f"the broker sent a frame of {length} bytes")
            if len(self._received) < 4 + length:
                return
            body = bytes(self._received[4 : 4 + length])
            del self._received[: 4 + length]
            self._take(msgpack.unpackb(body))

    def _take(self, message: Any) -> None:
        if self.fatal is not None:
            raise Fault(f"after its last words the broker said {message!r:.200}")
        match message:
            case [0, 1, [str(code), str(), bool(), dict()]] if code in CODES:
                self.fatal = message[2]
                self.refused[code] += 1
            case [0, 2, [str(), dict(details)]]:
                self._known.learn(details)
            case [int(request_id), 0 | 1 as status, content] if request_id > 0:
                self._reply(request_id, status, content)
            case _:
                raise Fault(f"the broker sent {message!r:.200}")

    def _reply(self, request_id: int, status: int, content: Any) -> None:
        if not self.owed[request_id]:
            raise Fault(f"a reply to {request_id}, which nobody asked: {content!r:.200}")
        self.owed[request_id] -= 1
        self.last = content
        if endless(content):
            raise Fault(f"a number that is none in a reply: {content!r:.300}")
        if status == 0:
            self._known.learn(content)
            return
        match content:
            case [str(code), str(message), bool(), dict()] if code in CODES:
                self.refused[code] += 1
                if code == "INTERNAL" and "longer than a frame" not in message:
                    raise Fault(f"the broker says that it has a fault: {content!r:.300}")
            case _:
                raise Fault(f"an error reply that is none: {content!r:.200}")

    # ---- the end -----------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the broker has ended it."""
        return self.line.eof or self.line.gone

    def check_answered(self) -> None:
        """Once all waits are over: everything was answered, or the connection has ended."""
        self.hear()
        if self.fatal is not None and not self.closed:
            raise Fault(f"a fatal error and no close: {self.fatal!r:.200}")
        if self._torn and not self.closed:
            raise Fault("bytes that are no request, and the connection goes on")
        owed = +self.owed
        if owed and not self.closed:
            raise Fault(f"requests {dict(owed)} were never answered; paused={self.line.paused}")


def framed(body: bytes) -> bytes:
    """A body with its length in front."""
    return len(body).to_bytes(4, "big") + body


def endless(value: Any) -> bool:
    """Whether a float in it is no finite number."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(endless, value.values()))
    return isinstance(value, list) and any(map(endless, value))
