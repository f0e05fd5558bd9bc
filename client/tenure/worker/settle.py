"""What became of jobs, on its way to the broker: kept and sent again until it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal, NamedTuple, Protocol

from tenure.core import work
from tenure.core.call import Call
from tenure.core.command import Command
from tenure.errors import BrokerError, ClientClosed, FrameTooLarge, ProtocolViolation, TenureError
from tenure.info import ServerInfo
from tenure.worker.held import Held
from tenure.worker.log import Log

Op = Literal["ack", "fail", "release"]
OPS: tuple[Op, ...] = ("ack", "fail", "release")

REQUEST_BYTES = 128 * 1024
"""Results beyond this go into another request, which waits for the answer to the one before.

All at once they would hold up the heartbeats on a slow link, and be sent again and again
because they were not answered in time.
"""

SLOWEST_BYTES_PER_MS = 8
"""Results are waited for as on a link that is so slow."""

REQUEST_MS = 10_000
"""How long the broker may take to answer, besides that."""

REQUEST_ITEMS = 1_000
"""So many jobs are settled by one request."""

PAUSE_S_MIN = 0.1
PAUSE_S_MAX = 2.0

Item = tuple[Held, list[Any]]


class Part(NamedTuple):
    """Jobs that are settled by one request, and how many bytes it carries for them."""

    items: list[Item]
    size: int


class Link(Protocol):
    """What is needed of the connection."""

    @property
    def server(self) -> ServerInfo | None:
        """The broker of the last connection."""
        ...

    def submit(self, command: Command[Any]) -> Call:
        """Send a command."""
        ...

    async def wait(self, call: Call, command: Command[Any]) -> Any:
        """The result of a command that was submitted."""
        ...

    async def call(self, command: Command[Any]) -> Any:
        """Send a command and wait for its result."""
        ...

    def abandon(self, call: Call) -> None:
        """Nobody will wait for a call."""
        ...


Told = Callable[[Op, list[Item], list[Any]], None]
"""Called with the operation, the jobs with what was sent of each, and the broker's outcomes."""


class Settler:
    """Acks, fails and releases that come together leave as one request each.

    While the broker works on a request, what comes next gathers: each request costs it a
    commit, and a commit takes as long for a hundred jobs as for one.
    """

    def __init__(self, link: Link, told: Told, log: Log, *, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._link = link
        self._told = told
        self._log = log
        self._out: dict[Op, list[Item]] = {op: [] for op in OPS}
        self._unanswered: dict[asyncio.Task[None], Part] = {}
        self._bytes_unanswered = 0

    @property
    def idle(self) -> bool:
        """Whether everything is answered."""
        return not self._unanswered and not any(self._out.values())

    @property
    def unsent(self) -> bool:
        """Whether something waits for `flush`."""
        return any(self._out.values())

    @property
    def count(self) -> int:
        """How many jobs wait for the broker's answer."""
        waiting = sum(len(part.items) for part in self._unanswered.values())
        return waiting + sum(map(len, self._out.values()))

    def leases(self) -> list[list[Any]]:
        """[id, attempt] of all that is not answered."""
        batches = [*self._out.values(), *(part.items for part in self._unanswered.values())]
        return [[held.id, held.attempt] for batch in batches for held, _ in batch]

    def ack(self, held: Held, result: bytes | None) -> None:
        """The job is done."""
        item = [held.id, held.attempt] if result is None else [held.id, held.attempt, result]
        self._out["ack"].append((held, item))

    def fail(self, held: Held, told: dict[str, Any]) -> None:
        """The job failed; `told` is the map of the fail item."""
        self._out["fail"].append((held, [held.id, held.attempt, told]))

    def release(self, held: Held, delay_ms: int | None, reason: str | None) -> None:
        """The job goes back unharmed."""
        item: list[Any] = [held.id, held.attempt, delay_ms]
        self._out["release"].append((held, item if reason is None else [*item, reason]))

    def flush(self, *, at_once: bool = True) -> None:
        """Send what has come together; if not `at_once`, then when the last is answered."""
        if self._unanswered and not at_once:
            return
        for op, batch in self._out.items():
            if batch:
                self._out[op] = []
                parts = _parts(batch)
                while parts and not self._must_wait(parts[0]):
                    self._send(op, parts.pop(0))
                for part in parts:
                    self._out[op] += part.items

    def _must_wait(self, part: Part) -> bool:
        """Whether these would be too many results on their way at a time."""
        size, before = part.size, self._bytes_unanswered
        return size > 0 and before > 0 and size + before > REQUEST_BYTES

    def _send(self, op: Op, part: Part) -> None:
        # Submitted here and not in the task: what is reserved in the same turn leaves in
        # the same write, behind it.
        try:
            command = work.settle_raw(op, [item for _, item in part.items])
            command.timeout_ms = REQUEST_MS + part.size // SLOWEST_BYTES_PER_MS
            call = self._link.submit(command)
        except ClientClosed:
            return
        self._start(self._deliver(op, part.items, command, call), part)

    def _start(self, deliver: Coroutine[Any, Any, None], part: Part) -> None:
        task = asyncio.create_task(deliver)
        self._unanswered[task] = part
        self._bytes_unanswered += part.size
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._bytes_unanswered -= self._unanswered.pop(task).size
        if not task.cancelled() and task.exception() is not None:
            self._log.error("settling failed", error=repr(task.exception()))
        self._changed()

    async def _deliver(
        self, op: Op, batch: list[Item], command: Command[list[Any]], call: Call
    ) -> None:
        pause_s = PAUSE_S_MIN
        while True:
            try:
                outcomes = await self._link.wait(call, command)
            except ClientClosed:
                return
            except BrokerError as error:
                if not error.retryable or isinstance(error, FrameTooLarge):
                    self._refused(op, batch, error)
                    return
            except (ProtocolViolation, TenureError):
                pass
            else:
                self._told(op, batch, outcomes)
                return
            await asyncio.sleep(pause_s)
            pause_s = min(PAUSE_S_MAX, 2 * pause_s)
            try:
                call = self._link.submit(command)
            except ClientClosed:
                return

    def _refused(self, op: Op, batch: list[Item], error: BrokerError) -> None:
        """The whole request was refused: find the job that it is about."""
        if len(batch) > 1:
            half = len(batch) // 2
            self._send(op, _part(batch[:half]))
            self._send(op, _part(batch[half:]))
            return
        held, item = batch[0]
        self._log.error("the broker refused", op=op, job=held.name, error=str(error))
        if op == "ack" and len(item) > 2:
            self.fail(held, {"error_type": type(error).__name__, "message": str(error),
                             "dead": True})  # fmt: skip
            self.flush()
        elif op == "fail" and len(item[2]) > 2:
            told = {"error_type": "Unspeakable", "message": str(error), "dead": True}
            self._send(op, _part([(held, [held.id, held.attempt, told])]))


def _part(batch: list[Item]) -> Part:
    return Part(batch, sum(map(_bytes, batch)))


def _parts(batch: list[Item]) -> list[Part]:
    """A batch in requests of bounded length."""
    whole = _part(batch)
    if len(batch) <= REQUEST_ITEMS and whole.size <= REQUEST_BYTES:
        return [whole]
    parts: list[list[Item]] = []
    room = 0
    for item in batch:
        size = _bytes(item)
        if not parts or size > room or len(parts[-1]) >= REQUEST_ITEMS:
            parts.append([])
            room = REQUEST_BYTES
        parts[-1].append(item)
        room -= size
    return [_part(part) for part in parts]


def _bytes(item: Item) -> int:
    rest = item[1]
    if len(rest) < 3:
        return 0
    if type(rest[2]) is bytes:
        return len(rest[2])
    return (
        sum(len(value) for value in rest[2].values() if isinstance(value, str))
        if type(rest[2]) is dict
        else 0
    )
