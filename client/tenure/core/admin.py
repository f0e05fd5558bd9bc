"""Queues, dead letters, chores and the broker itself as commands."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

from tenure.core.command import Command
from tenure.core.work import lease_key, leases_of, read_outcomes
from tenure.errors import ProtocolViolation
from tenure.info import (
    Backup,
    Chore,
    DeadGroups,
    JobPage,
    QueueInfo,
    chore_info,
    dead_group,
    job_info,
    queue_info,
)
from tenure.jobs import Lease, Outcome
from tenure.options import DeadFilter, QueueSettings, encode_filter, encode_settings
from tenure.packing import pack
from tenure_protocol.durations import Duration, duration_ms
from tenure_protocol.ids import decode_id
from tenure_protocol.limits import PAGE_ITEMS_MAX
from tenure_protocol.names import check_queue_name

STATES = (
    "ready",
    "scheduled",
    "retrying",
    "leased",
    "dead",
    "succeeded",
    "cancelled",
    "expired",
)
"""The states that jobs can be listed by."""


def _check_limit(limit: int) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= PAGE_ITEMS_MAX:
        raise ValueError(f"limit must be 1 to {PAGE_ITEMS_MAX}, not {limit!r}")
    return limit


def _read_page(result: Any) -> JobPage:
    return JobPage([job_info(info) for info in result["jobs"]], result.get("cursor"))


def peek(
    queue: str, state: str, *, limit: int, cursor: bytes | None, bodies: bool
) -> Command[JobPage]:
    """A page of the jobs of a queue in one state."""
    if state not in STATES:
        raise ValueError(f"state must be one of {', '.join(STATES)}, not {state!r}")
    args = {
        "queue": check_queue_name(queue),
        "state": state,
        "limit": _check_limit(limit),
        "cursor": cursor,
        "bodies": bodies,
    }
    return Command("peek", pack(args), _read_page, repeat=True)


# -- queues ---------------------------------------------------------------------------


def create_queue(queue: str, settings: QueueSettings) -> Command[QueueInfo]:
    """Make a queue."""
    args = {"queue": check_queue_name(queue), "settings": encode_settings(settings)}
    return Command("queue.create", pack(args), queue_info)


def configure_queue(queue: str, settings: QueueSettings) -> Command[QueueInfo]:
    """Change settings of a queue."""
    args = {"queue": check_queue_name(queue), "settings": encode_settings(settings)}
    return Command("queue.configure", pack(args), queue_info)


def all_queues(prefix: str | None) -> Generator[Command[Any], Any, list[QueueInfo]]:
    """Every queue whose name begins with `prefix`, page by page: yields commands, takes results."""
    found: list[QueueInfo] = []
    cursor: str | None = None
    while True:
        args = {"prefix": prefix, "limit": PAGE_ITEMS_MAX, "cursor": cursor}
        page = yield Command("queue.list", pack(args), _read_queues, repeat=True)
        found += page[0]
        if page[1] is None:
            return found
        if page[1] == cursor:
            raise ProtocolViolation("the broker's list of queues does not end")
        cursor = page[1]


def _read_queues(result: Any) -> tuple[list[QueueInfo], str | None]:
    return [queue_info(info) for info in result["queues"]], result.get("cursor")


def queue(name: str) -> Command[QueueInfo]:
    """A queue by its name."""
    return Command("queue.get", pack({"queue": check_queue_name(name)}), queue_info, repeat=True)


def pause_queue(name: str) -> Command[QueueInfo]:
    """Deliver nothing from a queue."""
    return Command("queue.pause", pack({"queue": check_queue_name(name)}), queue_info)


def resume_queue(name: str) -> Command[QueueInfo]:
    """Deliver from a queue again."""
    return Command("queue.resume", pack({"queue": check_queue_name(name)}), queue_info)


def purge_queue(name: str) -> Command[int]:
    """Drop the waiting jobs of a queue."""
    args = pack({"queue": check_queue_name(name)})
    return Command("queue.purge", args, lambda result: int(result["purged"]))


def delete_queue(name: str, *, force: bool) -> Command[int]:
    """Delete a queue."""
    args = pack({"queue": check_queue_name(name), "force": force})
    return Command("queue.delete", args, lambda result: int(result["jobs"]))


# -- dead letters ---------------------------------------------------------------------


def dead_jobs(
    queue: str, matching: DeadFilter, *, limit: int, cursor: bytes | None, bodies: bool
) -> Command[JobPage]:
    """A page of the dead jobs of a queue."""
    args = {
        "queue": check_queue_name(queue),
        "limit": _check_limit(limit),
        "cursor": cursor,
        "bodies": bodies,
        **encode_filter(matching),
    }
    return Command("dlq.list", pack(args), _read_page, repeat=True)


def dead_groups(queue: str) -> Command[DeadGroups]:
    """The dead jobs of a queue by what they died of."""

    def read(result: Any) -> DeadGroups:
        groups = [dead_group(group) for group in result["groups"]]
        return DeadGroups(groups, result.get("complete") is True)

    return Command("dlq.groups", pack({"queue": check_queue_name(queue)}), read, repeat=True)


def replay(
    queue: str,
    ids: Iterable[str] | None,
    matching: DeadFilter,
    *,
    limit: int | None,
    rate: float | None,
) -> Command[list[Outcome] | int]:
    """Send dead jobs back: by id at once (outcomes), or in the background (a chore's number)."""
    if ids is not None:
        if matching or limit is not None or rate is not None:
            raise TypeError("give ids, or what tells the jobs apart and how fast, not both")
        return _by_id("dlq.replay", queue, ids)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"limit must be 1 or more, not {limit!r}")
    if rate is not None and not rate > 0:
        raise ValueError(f"rate must be more than 0 jobs per second, not {rate!r}")
    args = {
        "queue": check_queue_name(queue),
        "filter": encode_filter(matching),
        "limit": limit,
        "rate": None if rate is None else float(rate),
    }
    return Command("dlq.replay", pack(args), _read_chore)


def purge_dead(
    queue: str, ids: Iterable[str] | None, matching: DeadFilter
) -> Command[list[Outcome] | int]:
    """Delete dead jobs: by id at once (outcomes), or in the background (a chore's number)."""
    if ids is not None:
        if matching:
            raise TypeError("give ids, or what tells the jobs apart, not both")
        return _by_id("dlq.purge", queue, ids)
    args = {"queue": check_queue_name(queue), "filter": encode_filter(matching)}
    return Command("dlq.purge", pack(args), _read_chore)


def _by_id(op: str, queue: str, ids: Iterable[str]) -> Command[list[Outcome] | int]:
    if isinstance(ids, str):
        raise TypeError("ids must be several ids, not one text: write [id]")
    raws = [decode_id(job_id) for job_id in ids]
    args = pack({"queue": check_queue_name(queue), "ids": raws})

    def read(result: Any) -> list[Outcome] | int:
        return read_outcomes(result["outcomes"], len(raws))

    return Command(op, args, read)


def _read_chore(result: Any) -> list[Outcome] | int:
    return int(result["chore"])


def chore(number: int) -> Command[Chore]:
    """A chore by its number."""
    return Command("chore.get", pack({"chore": number}), chore_info, repeat=True)


def chores() -> Command[list[Chore]]:
    """The running and the last finished chores."""

    def read(result: Any) -> list[Chore]:
        return [chore_info(info) for info in result["chores"]]

    return Command("chore.list", pack({}), read, repeat=True)


def cancel_chore(number: int) -> Command[Chore]:
    """Stop a chore."""
    return Command("chore.cancel", pack({"chore": number}), chore_info)


# -- the broker -----------------------------------------------------------------------


def stats() -> Command[dict[str, Any]]:
    """The broker's own figures."""
    return Command("stats", pack({}), dict, repeat=True)


def drain(*, off: bool) -> Command[bool]:
    """Take no new work, or take it again."""
    args = pack({"off": True} if off else {})
    return Command("drain", args, lambda result: bool(result["draining"]))


def backup(name: str | None, timeout: Duration) -> Command[Backup]:
    """Write a copy of the store."""

    def read(result: Any) -> Backup:
        return Backup(result["path"], result["bytes"], result["ms"])

    timeout_ms = duration_ms(timeout, "timeout")
    return Command("backup.create", pack({"name": name}), read, timeout_ms=timeout_ms)


def goodbye(keep: Lease | Iterable[Lease] | None) -> Command[int]:
    """Give back the leases but `keep`, and end the session."""
    kept = None if keep is None else [lease_key(lease) for lease in leases_of(keep)]
    return Command("goodbye", pack([kept]), lambda result: int(result["released"]))
