"""Looks inside: what a start recovered, whether counts are contents, and whether bounds hold."""

from __future__ import annotations

from typing import Any

from tenure_storage.layout import IN_DEAD, unpack_record, unpack_state
from tenure_storage.store import JOBS, STATES
from tests.sim.broker import Lives
from tests.sim.known import Job
from tests.sim.ledger import MEMORY_QUEUE, Ledger
from tests.support.store_view import StoreView, verified

REQUEST_JOBS_MAX = 60
"""The most jobs that one request of these histories settles."""


def verify(lives: Lives, ledger: Ledger, when: str) -> None:
    """The store's own verification, over the rows in memory."""
    findings = verified(lives.disk.rows.store)
    lives.history.reach("verifications")
    if findings.errors:
        first = findings.errors[0]
        ledger.blame(
            "counts equal contents",
            f"{when}: {sum(findings.error_counts.values())} findings, the first: {first}",
        )


def recovered(lives: Lives, ledger: Ledger) -> None:
    """Right after a start: everything confirmed is there, and nothing that ended is."""
    verify(lives, ledger, f"life {lives.number}")
    rows = StoreView(lives.disk.rows.store)
    waiting = {unpack_record(row).id or key for key, row in rows.rows(JOBS)}
    states = {key: unpack_state(key, row) for key, row in rows.rows(STATES)}
    kept = {key for key, state in states.items() if state.where != 0}
    dead = {key for key, state in states.items() if state.where == IN_DEAD}
    lives.history.note("audit", "recovered", len(waiting), len(kept))
    for job in ledger.by_id.values():
        if job.queue == MEMORY_QUEUE:
            continue
        if job.ended in ("succeeded", "cancelled") and job.id in waiting and not _again(job):
            ledger.blame("no confirmed end undone", f"{job.key!r} had {job.ended} and is back")
        if job.ended == "dead" and job.id not in dead and not job.asked & {"replay", "purge_dead"}:
            ledger.blame("ends visible", f"{job.key!r} had died, and is no dead letter")
        missing = job.confirmed_us and not job.ended and job.id not in waiting | kept
        if missing and not may_be_gone(job):
            ledger.blame("no confirmed enqueue lost", f"{job.key!r} is gone after a start")
    for job_id in waiting:
        known = ledger.by_id.get(job_id)
        if known is not None and known.refused:
            ledger.blame("nothing from nowhere", f"{known.key!r} was refused and is stored")


def _again(job: Job) -> bool:
    return "purge" in job.asked


def may_be_gone(job: Job) -> bool:
    """Whether somebody asked for something that may have ended it for good."""
    if job.asked & {"purge", "purge_dead", "auto_ack"}:
        return True
    return any("ack" in lease.asked for lease in job.leases)


# ---- bounds ----------------------------------------------------------------------------------


def bounds(lives: Lives, ledger: Ledger) -> None:
    """What the broker may hold at most, it does."""
    hub = lives.hub
    if hub is None or not lives.up:
        return
    lives.history.reach("bounds looked at")
    core: Any = hub.engine._core
    limits, plan = core.limits, lives.plan
    held = {
        "window_bytes": (core.disk.window_bytes, limits.window_bytes_max + 64 * 1024),
        "memory_window_bytes": (core.memory.window_bytes, limits.window_bytes_max + 64 * 1024),
        "leases": (hub.engine.lease_count, limits.leases_max),
        "waiting": (core.waiting, limits.waiting_max),
        "settled": (len(core.settled), plan.settled_kept + REQUEST_JOBS_MAX),
        "settled_before": (len(core.settled_before), plan.settled_kept + REQUEST_JOBS_MAX),
        "sessions": (len(core.sessions), len(hub.connections)),
        "batches in flight": (len(core.disk.flying), 1),
        "events": (len(core.events), 1_000),
    }
    if not plan.has("dead_letters"):  # a replay may go beyond
        for queue in core.queues.values():
            most = queue.settings.max_jobs or 10**9
            held[f"jobs of {queue.name}"] = (queue.jobs, most)
    for name, (value, most) in held.items():
        if value > most:
            ledger.blame("memory bounds", f"{name} is {value}, and at most {most}")
    waits = sum(len(session.waits) for session in core.sessions)
    if waits != core.waiting:
        ledger.blame("memory bounds", f"{core.waiting} wait, and sessions know of {waits}")
    ready = core.disk.window_bytes
    if ready < 0 or hub.request_bytes < 0 or hub.partial_bytes < 0:
        ledger.blame("memory bounds", "a sum of bytes is below nothing")
    open_bytes = sum(each.partial_bytes for each in hub.connections)
    if hub.partial_bytes != open_bytes:
        ledger.blame("memory bounds", f"partial: {hub.partial_bytes}, not {open_bytes}")
