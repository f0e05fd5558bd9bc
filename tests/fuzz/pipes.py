"""The pipe between a worker and its children: user code can reach it, and write anything there."""

from __future__ import annotations

import asyncio
from typing import Any

from tenure.packing import pack
from tenure.worker import pipe
from tenure.worker.children import Child
from tests.fuzz.choices import Choices
from tests.fuzz.values import damaged, damaged_bytes, odd
from tests.fuzz.world import Fault

MESSAGES: list[list[Any]] = [
    [pipe.HELLO, {"pid": 1, "app": "a", "url": None, "tasks": {"t": {"executor": "loop"}}, "queues": ["q"], "hooks": []}],
    [pipe.BROKEN, "E", "message", "traceback"],
    [pipe.DONE, 1, pipe.SUCCEEDED, b"\x01\xc0"],
    [pipe.DONE, 1, pipe.FAILED, {"error_type": "E", "message": "m"}],
    [pipe.PROGRESS, 1, 2, 3, "m"],
    [pipe.LOG, 1, ["line"]],
    [pipe.CHECKPOINT, 1, 2, b"c"],
    [pipe.STACKS, 1, "text"],
    [pipe.FILES, ["a.py"]],
]  # fmt: skip


class _Owner:
    def __init__(self) -> None:
        self.messages: list[list[Any]] = []

    def said(self, child: Child, messages: list[list[Any]]) -> None:
        self.messages += messages

    def hung_up(self, child: Child) -> None: ...

    def ended(self, child: Child) -> None: ...


_loop: asyncio.AbstractEventLoop | None = None


def pipes(data: bytes) -> None:
    """The parent takes messages, or gives the child up; nothing it hears breaks the parent."""
    global _loop
    if _loop is None or _loop.is_closed():
        _loop = asyncio.new_event_loop()
    _loop.run_until_complete(_listen(Choices(data)))


def close() -> None:
    """Lets go of the loop that the inputs run on."""
    global _loop
    if _loop is not None:
        _loop.close()
        _loop = None


async def _listen(choices: Choices) -> None:
    owner = _Owner()
    child = Child(pipe.HOST, owner, lambda data: None)
    right: list[list[Any]] = []
    stream = b""
    for _ in range(1 + choices.below(8)):
        message: Any = choices.pick(MESSAGES)
        if choices.chance(40):
            message = damaged(choices, message) if choices.chance(70) else odd(choices)
        right.append(message)
        stream += pipe.frame(message)
        if choices.chance(30):
            joined = [choices.pick(MESSAGES) for _ in range(choices.below(40))]
            right += joined
            stream += pipe.frames([pack(each) for each in joined])
    whole = choices.chance(50)
    if not whole:
        stream = damaged_bytes(choices, stream)
    while stream:
        step = 1 + choices.pick([3, 0, 10, 100_000])
        child.received(stream[:step])
        stream = stream[step:]
        if child._decoder.buffered_bytes > pipe.CHILD_FRAME_BYTES_MAX + 4:
            raise Fault("more is held of a message than may be")
    if not all(type(message) is list and message for message in owner.messages):
        raise Fault(f"no messages: {owner.messages!r:.200}")
    fit = [message for message in right if type(message) is list and message]
    if whole and len(fit) == len(right) and repr(owner.messages) != repr(right):
        raise Fault(f"{owner.messages!r:.200} was heard, {right!r:.200} was said")
    child.wrote(choices.rest())


def seeds() -> list[bytes]:
    """Inputs to begin with."""
    return [b"", bytes(60), bytes(range(120)), b"\x05\x02\x63" * 40]
