"""A command on its way, the frame it becomes, and the reply."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from tenure.core.command import Command
from tenure.errors import ProtocolViolation
from tenure.packing import pack
from tenure_protocol.wire import unpack

_HEAD = struct.Struct(">IBBI")
_SEQUENCE = struct.Struct(">BQ")
_UINT32, _UINT64, _ARRAY3 = 0xCE, 0xCF, 0x93
_HEAD_BYTES_COUNTED = 6

_ops: dict[str, bytes] = {}


def _packed_op(op: str) -> bytes:
    packed = _ops.get(op)
    if packed is None:
        packed = _ops[op] = pack(op)
    return packed


@dataclass(slots=True, eq=False)
class Call:
    """A command on its way. Once `done`, it has an `error` or a `result`.

    `suspect`: it was in flight when the broker called the connection's requests malformed.
    """

    id: int
    command: Command[Any]
    deadline_ms: int
    wait_until_ms: int
    waiter: Any
    sequence: int = 0
    sent_ms: int = -1
    done: bool = False
    abandoned: bool = False
    suspect: bool = False
    result: Any = None
    error: Exception | None = None


PING: Command[Any] = Command("ping", pack([]), lambda result: result, repeat=True)


def frame_of(call: Call, producer: bytes, now_ms: int) -> bytes:
    """The frame of a call: length, request id, operation, arguments.

    The arguments were packed where the call was made; here is only put together what is
    known late: the id, the time left to wait, an enqueue's producer (packed) and sequence.
    """
    command = call.command
    args = command.args
    if not isinstance(args, bytes):
        args = args(max(0, min(command.wait_ms, call.wait_until_ms - now_ms)))
    op = _packed_op(command.op)
    if command.tail is None:
        length = _HEAD_BYTES_COUNTED + len(op) + len(args)
        return _HEAD.pack(length, _ARRAY3, _UINT32, call.id) + op + args
    rest = (op, args, producer, _SEQUENCE.pack(_UINT64, call.sequence), command.tail)
    length = _HEAD_BYTES_COUNTED + sum(map(len, rest))
    return b"".join((_HEAD.pack(length, _ARRAY3, _UINT32, call.id), *rest))


def ghost_of(call: Call, deadline_ms: int) -> Call:
    """What stands in for a call that ran out of time: `call` itself belongs to its waiter."""
    ghost = Call(call.id, call.command, deadline_ms, 0, None, call.sequence)
    ghost.sent_ms, ghost.abandoned = call.sent_ms, True
    return ghost


def reply_of(body: bytes) -> tuple[int, int, Any]:
    """Id, status and content of a frame of the broker. Raises `ProtocolViolation`."""
    frame = unpack(body)
    if type(frame) is list and len(frame) >= 3 and type(frame[0]) is type(frame[1]) is int:
        return frame[0], frame[1], frame[2]
    raise ProtocolViolation("a frame of the broker must be [id, status, content]")
