"""Chores: mass operations done in slices, with a mark on disk to resume from.

    sweep_line    deletes the jobs of a line that was purged or whose queue was deleted
    sweep_queue   deletes the dead and finished jobs of a deleted queue
    replay        brings dead jobs back, by filter, at a rate
    purge_dead    deletes dead jobs, by filter

What a slice does and how far it came are in one batch, so a crash repeats nothing. The
slices themselves are in `sweeps`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenure_protocol.errors import BadRequest, ChoreNotFound, TooManyWaiting
from tenure_protocol.limits import CHORES_RUNNING_MAX
from tenure_server.engine.fields import args_map, whole
from tenure_server.engine.space import Space
from tenure_server.engine.types import Session
from tenure_storage.keys import slot_key
from tenure_storage.layout import sealed_map
from tenure_storage.store import CHORES

if TYPE_CHECKING:
    from tenure_server.engine.core import Core
    from tenure_server.engine.queues import Queue

FINISHED_CHORES_MAX = 100
"""How many finished chores are remembered until a restart."""


class Chore:
    """A mass operation and how far it has come. `due_ms` is monotonic time."""

    __slots__ = (
        "cursor",
        "done",
        "due_ms",
        "found",
        "kind",
        "limit",
        "line",
        "number",
        "queue_name",
        "queue_number",
        "rate",
        "skipped",
        "space",
        "started_at_ms",
        "state",
        "wanted",
    )

    def __init__(self, number: int, space: Space, fields: dict[str, Any]) -> None:
        self.number = number
        self.space = space
        self.kind: str = fields["kind"]
        self.queue_name: str = fields["queue_name"]
        self.queue_number: int = fields["queue"]
        self.line: int = fields.get("line", 0)
        self.cursor: bytes = fields.get("cursor", b"")
        self.wanted: dict[str, Any] = fields.get("filter") or {}
        self.limit: int | None = fields.get("limit")
        self.rate: float | None = fields.get("rate")
        self.done: int = fields.get("done", 0)
        self.skipped: int = fields.get("skipped", 0)
        self.started_at_ms: int = fields["started_at_ms"]
        self.state = "running"
        self.due_ms = 0
        self.found = False
        """Whether this pass of a sweep has met anything."""

    def to_row(self) -> dict[str, Any]:
        """The chore as it is stored."""
        return {
            "kind": self.kind,
            "queue_name": self.queue_name,
            "queue": self.queue_number,
            "line": self.line,
            "cursor": self.cursor,
            "filter": self.wanted,
            "limit": self.limit,
            "rate": self.rate,
            "done": self.done,
            "skipped": self.skipped,
            "started_at_ms": self.started_at_ms,
        }

    def to_wire(self) -> dict[str, object]:
        """The chore as it travels."""
        return {
            "chore": self.number,
            "kind": self.kind,
            "queue": self.queue_name,
            "done": self.done,
            "skipped": self.skipped,
            "limit": self.limit,
            "rate": self.rate,
            "state": self.state,
            "started_at_ms": self.started_at_ms,
        }


def check_room(core: Core) -> None:
    """Raises `TooManyWaiting` if another replay or purge by filter would be one too many.

    Sweeps do not count: each cleans up behind a purge that is done, and most are short.
    """
    running = sum(not chore.kind.startswith("sweep") for chore in core.chores.values())
    if running >= CHORES_RUNNING_MAX:
        raise TooManyWaiting(
            f"{running} chores are at work, which is the limit; wait until one has finished, or "
            "cancel one of those that chore.list shows",
            details={"limit": CHORES_RUNNING_MAX},
        )


def start(core: Core, queue: Queue, kind: str, **fields: Any) -> Chore:
    """Begins a chore of a queue; its first slice runs with the next tick."""
    number = max([*core.chores, *core.finished_chores], default=0) + 1
    fields |= {
        "kind": kind,
        "queue_name": queue.name,
        "queue": queue.number,
        "started_at_ms": core.now.wall_ms,
    }
    chore = Chore(number, queue.space, fields)
    core.chores[number] = chore
    save(chore)
    return chore


def start_sweep_line(core: Core, queue: Queue) -> None:
    """Begins to delete the jobs of the line that `queue` is about to leave."""
    start(core, queue, "sweep_line", line=queue.line)


def start_sweep_queue(core: Core, queue: Queue) -> None:
    """Begins to delete the dead and finished jobs of a deleted queue."""
    if any(queue.tally):
        start(core, queue, "sweep_queue")


def save(chore: Chore) -> None:
    """Writes how far a chore has come."""
    key = slot_key(chore.number)
    chore.space.put(CHORES, key, sealed_map(key, chore.to_row()))


def end(core: Core, chore: Chore, state: str = "finished") -> None:
    """A chore is over."""
    chore.state = state
    # What is shown of it does not say whom it meant.
    chore.wanted = {}
    del core.chores[chore.number]
    chore.space.put(CHORES, slot_key(chore.number), None)
    if chore.kind == "sweep_line":
        core.free_line(chore.line)
        return
    core.finished_chores[chore.number] = chore
    while len(core.finished_chores) > FINISHED_CHORES_MAX:
        del core.finished_chores[next(iter(core.finished_chores))]
    core.event(
        "info",
        f"chore_{state}",
        chore=chore.number,
        kind=chore.kind,
        queue=chore.queue_name,
        done=chore.done,
        skipped=chore.skipped,
    )


# ---- operations --------------------------------------------------------------------------


def _named(core: Core, op: str, raw: object) -> Chore:
    number = whole(args_map(op, raw).get("chore"), "chore", 1, (1 << 32) - 1)
    chore = core.chores.get(number) or core.finished_chores.get(number)
    if chore is None:
        raise ChoreNotFound(
            f"there is no chore {number}: it ended long ago, or never began",
            details={"chore": number},
        )
    return chore


def get(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """chore.get {chore} -> chore info."""
    return _named(core, "chore.get", raw).to_wire()


def list_chores(core: Core, _session: Session, _request_id: int, _raw: object) -> object:
    """chore.list {} -> {chores}: the running ones and the last finished ones."""
    both = {**core.finished_chores, **core.chores}
    return {"chores": [both[number].to_wire() for number in sorted(both)]}


def cancel(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """chore.cancel {chore} -> chore info. A sweep cannot be cancelled: its jobs are gone."""
    chore = _named(core, "chore.cancel", raw)
    if chore.kind.startswith("sweep"):
        raise BadRequest(f"chore {chore.number} cleans up behind a purge and cannot be cancelled")
    if chore.state == "running":
        end(core, chore, "cancelled")
    return chore.to_wire()
