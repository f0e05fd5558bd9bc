"""Progress, log lines and checkpoints of running jobs, on their way to the broker.

Children say no more than about one thing a second for each job; here all of it that comes
within a moment leaves as one request, and before the ack of its job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tenure.core import work
from tenure.core.call import Call
from tenure.core.command import Command
from tenure.errors import BrokerError, ClientClosed, TenureError
from tenure.worker import pipe
from tenure.worker.held import Held
from tenure.worker.settle import Link
from tenure_protocol.errors import error_from_wire
from tenure_protocol.limits import LOG_LINES_KEPT

JOIN_MS = 100
"""How long progress and log lines wait for others."""

_PAUSE_S = 0.5

_NEVER_MS = 2**62


class _Note:
    __slots__ = ("child", "held", "numbers", "told")

    def __init__(self, held: Held) -> None:
        self.held = held
        # Only this process waits: another, where the job runs again, counts anew.
        self.child = held.child
        self.told: dict[str, Any] = {}
        self.numbers: list[int] = []


class Notes:
    """Joins what is to be noted; answers children whose checkpoints are durable."""

    def __init__(self, link: Link, lost: Callable[[Held], None]) -> None:
        self._link = link
        self._lost = lost
        self._waiting: dict[int, _Note] = {}
        self._urgent = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.alarm_ms = _NEVER_MS
        """When to flush what waits."""

    @property
    def busy(self) -> bool:
        """Whether the broker has still to answer."""
        return bool(self._tasks)

    def progress(self, held: Held, told: list[Any], now_ms: int) -> None:
        """So many, of how many, and a message."""
        self._note(held, now_ms).told["progress"] = told

    def log(self, held: Held, lines: list[str], now_ms: int) -> None:
        """Lines for people."""
        told = self._note(held, now_ms).told
        told["log"] = [*told.get("log", ()), *lines][-LOG_LINES_KEPT:]

    def checkpoint(self, held: Held, number: int, data: bytes, now_ms: int) -> None:
        """Keep `data`; the child waits to hear of it."""
        note = self._note(held, now_ms)
        note.told["checkpoint"] = data
        note.numbers.append(number)
        self._urgent = True

    def _note(self, held: Held, now_ms: int) -> _Note:
        note = self._waiting.get(held.key)
        if note is None or note.child is not held.child:
            note = self._waiting[held.key] = _Note(held)
            self.alarm_ms = min(self.alarm_ms, now_ms + JOIN_MS)
        return note

    def flush(self, now_ms: int, *, all_of_it: bool) -> None:
        """Send what waits, if it is time: always, when jobs are settled in the same turn."""
        if not self._waiting or not (all_of_it or self._urgent or now_ms >= self.alarm_ms):
            return
        notes = list(self._waiting.values())
        self._waiting.clear()
        self._urgent = False
        self.alarm_ms = _NEVER_MS
        command = _command(notes)
        try:
            call = self._link.submit(command)
        except ClientClosed:
            return
        task = asyncio.create_task(self._deliver(notes, command, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, notes: list[_Note], command: Command[list[Any]], call: Call) -> None:
        while True:
            try:
                outcomes = await self._link.wait(call, command)
            except ClientClosed:
                return
            except BrokerError as error:
                if not error.retryable:
                    for note in notes:
                        self._answer(note, str(error))
                    return
            except TenureError:
                pass
            else:
                pairs = zip(notes, outcomes, strict=True)
                notes = [note for note, outcome in pairs if not self._settled(note, outcome)]
                if not notes:
                    return
                command = _command(notes)
            if all(note.held.over for note in notes) or not any(note.numbers for note in notes):
                for note in notes:
                    self._answer(note, "its lease is lost")
                return  # only what would be stale by now
            await asyncio.sleep(_PAUSE_S)
            try:
                call = self._link.submit(command)
            except ClientClosed:
                return

    def _settled(self, note: _Note, outcome: Any) -> bool:
        """Tell the child what became of its note; False if it is to be sent again."""
        if outcome == 0 or outcome[0] == 0:
            self._answer(note, None)
            return True
        error = error_from_wire(outcome[1:])
        if error.retryable and note.numbers and not note.held.over:
            return False  # the store is full: the job waits for room, as its lease is extended
        if outcome[1] == "LEASE_LOST" and not note.held.over:
            self._lost(note.held)
        self._answer(note, str(error))
        return True

    def _answer(self, note: _Note, error: str | None) -> None:
        child = note.child
        if child is not None and note.held.key in child.jobs:
            for number in note.numbers:
                child.send([pipe.SAVED, note.held.key, number, error])


def _command(notes: list[_Note]) -> Command[list[Any]]:
    return work.settle_raw("note", [[n.held.id, n.held.attempt, n.told] for n in notes])
