"""What the worker and its children say to each other: frames of msgpack over a socket pair.

    length: u32 BE | [kind, ...]        any number of frames in one write

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

_HEADER_BYTES = 4


def frame(message: list[Any]) -> bytes:
    """One message as it travels. May be called from any thread."""
    body = pack(message)
    return len(body).to_bytes(_HEADER_BYTES, "big") + body


def new_decoder(frame_bytes_max: int = FRAME_BYTES_MAX) -> FrameDecoder:
    """Cuts received bytes into the bodies that `unpack` reads."""
    return FrameDecoder(frame_bytes_max)


def unpack(body: bytes) -> list[Any]:
    """The message in one frame. Raises `ValueError` when it is none."""
    message = msgpack.unpackb(body, strict_map_key=False)
    if type(message) is not list or not message:
        raise ValueError("a message of the pipe is an array that begins with its kind")
    return message
