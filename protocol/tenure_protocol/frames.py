"""Framing: a stream of bytes cut into frames.

+----------------+------------------+
| length: u32 BE | body: msgpack    |    length counts the body only, 1..frame_bytes_max
+----------------+------------------+
"""

from __future__ import annotations

from tenure_protocol.errors import ProtocolViolation
from tenure_protocol.limits import FRAME_BYTES_MAX
from tenure_protocol.wire import pack

HEADER_BYTES = 4
"""The length in front of each body."""


def encode_frame(value: object) -> bytes:
    """`value` as one frame. The sender keeps to the receiver's limit; this does not check it."""
    body = pack(value)
    return len(body).to_bytes(HEADER_BYTES, "big") + body


class FrameDecoder:
    """Cuts received bytes into frame bodies; holds no more than one unfinished frame.

    The announced length is checked before anything is kept, and nothing is allocated in
    advance: a peer that announces 16 MiB and sends one byte costs one byte.
    """

    __slots__ = ("_buffer", "_need", "frame_bytes_max")

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self.frame_bytes_max = frame_bytes_max
        self._buffer = bytearray()
        self._need = HEADER_BYTES

    @property
    def mid_frame(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._buffer)

    @property
    def buffered_bytes(self) -> int:
        """How many bytes of an unfinished frame are held."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Bodies completed by `data`, oldest first.

        Raises `ProtocolViolation` (FRAME_TOO_LARGE or MALFORMED_FRAME) on a length of zero
        or above the limit; the decoder must not be used after that, and bodies completed by
        the same `data` are lost, as if they had come after.
        """
        buffer = self._buffer
        if not buffer:
            # The common case, measured: whole frames in one chunk are sliced without a copy
            # through the buffer.
            bodies, rest = self._cut(data)
            if rest < len(data):
                buffer += data[rest:]
                self._expect(buffer)
            return bodies
        buffer += data
        if len(buffer) < self._need:
            return []
        with memoryview(buffer) as view:
            bodies, rest = self._cut(view)
        del buffer[:rest]
        self._expect(buffer)
        return bodies

    def _cut(self, data: bytes | memoryview) -> tuple[list[bytes], int]:
        bodies: list[bytes] = []
        start, size = 0, len(data)
        while size - start >= HEADER_BYTES:
            length = self._checked(int.from_bytes(data[start : start + HEADER_BYTES], "big"))
            end = start + HEADER_BYTES + length
            if end > size:
                break
            bodies.append(bytes(data[start + HEADER_BYTES : end]))
            start = end
        return bodies, start

    def _expect(self, buffer: bytearray) -> None:
        if len(buffer) < HEADER_BYTES:
            self._need = HEADER_BYTES
        else:
            # `_cut` has checked this length.
            self._need = HEADER_BYTES + int.from_bytes(buffer[:HEADER_BYTES], "big")

    def _checked(self, length: int) -> int:
        if length > self.frame_bytes_max:
            raise ProtocolViolation(
                f"a frame of {length} bytes was announced; the limit is {self.frame_bytes_max}",
                code="FRAME_TOO_LARGE",
            )
        if length == 0:
            raise ProtocolViolation("a frame of no bytes was announced")
        return length
