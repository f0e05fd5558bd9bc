"""What the worker and its children say to each other: frames of msgpack over a socket pair.

    length: u32 BE | [[kind, ...], ...]     any number of messages in a frame, of frames in a write

| parent to child                     | meaning                                                |
|-------------------------------------|--------------------------------------------------------|
| [run, [[key, row], ...]]            | run these deliveries; `row` as the broker sent it      |
| [cancel, key, why]                  | stop a job                                             |
| [saved, key, number, error or nil]  | a checkpoint is durable, or why it is not              |
| [event, hook kind, map]             | run the hooks of that kind                             |
| [stacks, token]                     | tell all stacks                                        |
| [stop]                              | no more jobs come: finish, clean up, exit with 0       |

| child to parent                     | meaning                                                |
|-------------------------------------|--------------------------------------------------------|
| [hello, manifest]                   | imported, resources open, ready                        |
| [broken, type, message, traceback]  | the app cannot be imported or started                  |
| [done, key, code, data]             | 0: result bytes or nil; 1: map of a fail item; 2: [delay_ms or nil, reason or nil] |
| [progress, key, n, total, message]  | how far a job is                                       |
| [log, key, [lines]]                 | lines for people                                       |
| [checkpoint, key, number, data]     | keep this durably, answer with `saved`                 |
| [stacks, token, text]               | the stacks that were asked for                         |
| [files, [paths]]                    | the source files that were imported (with --watch)     |

Manifest: `pid`; `app`; `url` (the app's own, or nil); `tasks` {name: {executor, is_async,
timeout_ms, soft_timeout_ms}}; `queues` (of the tasks); `hooks` (the kinds that are hooked).
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgpack

from tenure.packing import pack
from tenure_protocol.frames import FrameDecoder

RUN: Final = "run"
CANCEL: Final = "cancel"
SAVED: Final = "saved"
EVENT: Final = "event"
STACKS: Final = "stacks"
STOP: Final = "stop"

HELLO: Final = "hello"
BROKEN: Final = "broken"
DONE: Final = "done"
PROGRESS: Final = "progress"
LOG: Final = "log"
CHECKPOINT: Final = "checkpoint"
FILES: Final = "files"

SUCCEEDED: Final = 0
FAILED: Final = 1
RELEASED: Final = 2

CANCELLED: Final = "cancelled"
LEASE_LOST: Final = "lease_lost"
TIMEOUT: Final = "timeout"
SHUTDOWN: Final = "shutdown"

Role = Literal["host", "single", "isolated"]
HOST: Final = "host"
SINGLE: Final = "single"
ISOLATED: Final = "isolated"

FRAME_BYTES_MAX = 1 << 31
"""The longest frame. Both ends are ours: it only keeps a torn stream from being believed."""

CHILD_FRAME_BYTES_MAX = 64 * 1024 * 1024
"""The longest frame of a child. User code can reach its descriptor: what it writes there begins
with a far greater length if it is text, which would else be waited for for ever."""

JOINED_BYTES_MAX = 1024 * 1024
"""Messages of more bytes than this together travel in a frame each."""

_HEADER_BYTES = 4

# What an array of msgpack begins with: of one element; of any number, before it, in four bytes.
_ARRAY_1 = b"\x91"
_ARRAY_32 = b"\xdd"


def frame(message: list[Any]) -> bytes:
    """One message as it travels. May be called from any thread."""
    return _frame(pack(message))


def frames(packed: list[bytes]) -> bytes:
    """Packed messages as they travel: joined, which costs whoever reads them a quarter, if short."""
    if len(packed) == 1:
        return _frame(packed[0])
    if sum(map(len, packed)) > JOINED_BYTES_MAX:
        return b"".join(map(_frame, packed))
    body = b"".join([_ARRAY_32, len(packed).to_bytes(4, "big"), *packed])
    return len(body).to_bytes(_HEADER_BYTES, "big") + body


def _frame(packed: bytes) -> bytes:
    return (1 + len(packed)).to_bytes(_HEADER_BYTES, "big") + _ARRAY_1 + packed


def new_decoder(frame_bytes_max: int = FRAME_BYTES_MAX) -> FrameDecoder:
    """Cuts received bytes into the bodies that `unpack` reads."""
    return FrameDecoder(frame_bytes_max)


def unpack(body: bytes) -> list[list[Any]]:
    """The messages in one frame. Raises `ValueError` when it has anything else."""
    messages: Any = msgpack.unpackb(body, strict_map_key=False)
    if type(messages) is not list:
        raise ValueError("a frame of the pipe is an array of messages")
    for message in messages:
        if type(message) is not list or not message:
            raise ValueError("a message of the pipe is an array that begins with its kind")
    return messages
