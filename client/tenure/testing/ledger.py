"""Every job that was enqueued while the fixture lived, also those the broker has forgotten.

A broker deletes what has ended and is not to be kept. A test asks afterwards; so what the
broker told of each job is kept here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tenure.core import work
from tenure.core.call import Call
from tenure.errors import JobNotFound
from tenure.info import JobInfo
from tenure.testing.links import LoopbackLink
from tenure_protocol.ids import encode_id
from tenure_protocol.wire import unpack

GONE = "gone"
"""The state of a job that neither ended nor is there: its queue was purged or deleted."""


@dataclass(slots=True, eq=False)
class Entry:
    """One job: as it was enqueued, and as it was seen last."""

    first: JobInfo
    last: JobInfo = field(repr=False)
    acked: bool = False

    @property
    def delay_ms(self) -> int:
        """How long after its enqueue the job was to run first."""
        return max(0, self.first.ready_at_ms - self.first.enqueued_at_ms)


class Ledger:
    """The jobs by their ids, in the order of their enqueues."""

    def __init__(self, link: LoopbackLink) -> None:
        self._link = link
        self.entries: dict[str, Entry] = {}

    def note(self, call: Call, now_ms: int) -> None:
        """A call was answered: keep what must not be lost. `now_ms` is the wall clock."""
        if call.command.op == "enqueue":
            for raw in _ids(call.result):
                self._enqueued(raw)
        elif call.command.op == "ack":
            self._acked(call, now_ms)

    def refreshed(self, job_id: str) -> Entry | None:
        """The entry of a job, with what the broker knows now; None for a job of nobody here."""
        entry = self.entries.get(job_id)
        if entry is None:
            return None
        try:
            entry.last = self._link.call(work.get(job_id))
        except JobNotFound:
            if not entry.last.ended:
                entry.last = replace(entry.last, state=GONE)
        return entry

    def _enqueued(self, job_id: str) -> None:
        if job_id in self.entries:
            return
        try:
            info = self._link.call(work.get(job_id))
        except JobNotFound:
            return
        self.entries[job_id] = Entry(info, info)

    def _acked(self, call: Call, now_ms: int) -> None:
        assert isinstance(call.command.args, bytes)
        args: Any = unpack(call.command.args)
        for item, outcome in zip(args[0], call.result, strict=True):
            entry = self.entries.get(encode_id(item[0]))
            done = outcome == 0 or outcome[0] == 0
            if entry is not None and done and not entry.last.ended:
                entry.last = replace(
                    entry.last,
                    state="succeeded",
                    attempt=item[1],
                    result_bytes=item[2] if len(item) > 2 else None,
                    ended_at_ms=now_ms,
                    worker=None,
                    leased_until_ms=None,
                )


def _ids(result: Any) -> list[str]:
    return [encode_id(raw) for raw in result[0]]
