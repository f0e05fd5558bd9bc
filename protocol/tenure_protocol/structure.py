"""A walk over msgpack bytes that builds nothing, to know what decoding them would build."""

from __future__ import annotations

from tenure_protocol.errors import ProtocolViolation
from tenure_protocol.limits import FRAME_KEYS_MAX, FRAME_VALUES_MAX, NESTING_MAX

CONTAINER_VALUES = 16
"""An empty array or map costs the memory of about so many small values."""


def _fixed_bytes(head: int) -> int:
    """How many bytes a value takes that begins with `head`; 0 if it depends on what follows."""
    if head < 0x80 or head >= 0xE0 or head in (0xC0, 0xC2, 0xC3):
        return 1
    if 0xA0 <= head < 0xC0:
        return 1 + (head & 31)
    numbers = {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9}
    return numbers.get(head, 0) or {0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}.get(head, 0)


_FIXED = bytes(_fixed_bytes(head) for head in range(256))
_BIN8 = 0xC4
# How many bytes say how long a text or bin is, or how many items an array (or, 2, map) has.
_LENGTH = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_OPENER = {0xDC: (1, 2), 0xDD: (1, 4), 0xDE: (2, 2), 0xDF: (2, 4)}


def check_structure(data: bytes) -> None:
    """Refuse bytes that are cut, followed by more, too deep, or of too many values or keys.

    Looks at structure only: whether text is UTF-8 and keys are text is not its business.
    Raises `ProtocolViolation`, after `FRAME_VALUES_MAX` values at the latest.
    """
    at, room, keys_room = 0, FRAME_VALUES_MAX, FRAME_KEYS_MAX
    left = 1
    around: list[int] = []  # values still to come at the levels around this one
    try:
        while True:
            while left:
                left -= 1
                head = data[at]
                if step := _FIXED[head]:
                    at += step
                elif head == _BIN8:
                    at += 2 + data[at + 1]
                elif length := _LENGTH.get(head):
                    start = at + 1 + length
                    at = start + int.from_bytes(data[at + 1 : start], "big")
                else:
                    count, keys, at = _opened(data, at, head)
                    room -= CONTAINER_VALUES + count
                    keys_room -= keys
                    around.append(left)
                    if room < 0 or keys_room < 0 or len(around) > NESTING_MAX:
                        raise ProtocolViolation(too_much(room, keys_room))
                    left = count
            if not around:
                break
            left = around.pop()
    except IndexError as error:
        raise ProtocolViolation("a frame ends in the middle of a value") from error
    if at != len(data):
        raise ProtocolViolation("a frame must be one msgpack value, whole and nothing more")


def too_much(room: int, keys_room: int) -> str:
    """Which limit a frame has passed: that of values or keys if no room is left, else of depth."""
    if room < 0:
        return f"more than {FRAME_VALUES_MAX} values in one frame"
    if keys_room < 0:
        return f"more than {FRAME_KEYS_MAX} keys of maps in one frame"
    return f"arrays and maps nested deeper than {NESTING_MAX} levels"


def _opened(data: bytes, at: int, head: int) -> tuple[int, int, int]:
    """How many values an array or map holds, how many are keys, and where they begin."""
    if 0x90 <= head < 0xA0:
        return head & 15, 0, at + 1
    if 0x80 <= head < 0x90:
        return 2 * (head & 15), head & 15, at + 1
    if head not in _OPENER:
        raise ProtocolViolation(f"byte 0x{head:02x} begins no value of this protocol")
    values, length = _OPENER[head]
    start = at + 1 + length
    if start > len(data):
        raise ProtocolViolation("a frame ends in the middle of a value")
    count = int.from_bytes(data[at + 1 : start], "big")
    return values * count, (values - 1) * count, start
