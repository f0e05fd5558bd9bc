"""The end of a history: faults off, everything is worked off, and then every job is accounted for."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import groupby, pairwise
from typing import Any

from tenure import AsyncClient
from tenure.errors import JobNotFound
from tenure.info import JobInfo
from tenure_storage.store import StoreError
from tests.sim.actors import World
from tests.sim.audit import bounds, may_be_gone, verify
from tests.sim.known import Job
from tests.sim.ledger import MEMORY_QUEUE, Ledger

DRAIN_MS_MAX = 900_000
"""So long it may take at most until every job has ended, faults being off."""

UNFINISHED = ("ready", "scheduled", "retrying", "leased")
ENDED = ("succeeded", "dead", "cancelled", "expired")


async def drain(world: World, client: AsyncClient) -> None:
    """Waits until no queue has an unfinished job."""
    loop, until_ms = world.lives.loop, world.lives.loop.now_ms + DRAIN_MS_MAX
    while True:
        infos = await client.queues()
        left = {info.name: info.jobs for info in infos if info.jobs}
        if not left:
            return
        if loop.now_ms > until_ms:
            counts = {info.name: dict(info.counts) for info in infos if info.jobs}
            world.ledger.blame("ends visible", f"these never ended: {counts}")
            return
        for info in infos:
            if info.paused:
                await client.resume_queue(info.name)
        if world.lives.hub is not None and world.lives.hub.engine.draining:
            await client.drain(off=True)
        await asyncio.sleep(1)


async def account(world: World, client: AsyncClient) -> None:
    """Every job that was confirmed is somewhere; everything that is somewhere was sent."""
    ledger = world.ledger
    listed: dict[bytes, list[JobInfo]] = defaultdict(list)
    for info in await client.queues():
        for state in (*UNFINISHED, *ENDED):
            jobs = await _all(client, info.name, state)
            if len(jobs) != info.counts[state]:
                ledger.blame(
                    "counts equal contents",
                    f"{info.name} counts {info.counts[state]} {state} and lists {len(jobs)}",
                )
            for each in jobs:
                listed[_key(each)].append(each)
        dead = await _all_dead(client, info.name)
        if len(dead) != info.counts["dead"] or len(set(dead)) != len(dead):
            ledger.blame("counts equal contents", f"{info.name}: dead letters {len(dead)}")
    for key, infos in listed.items():
        _check_listed(ledger, key, infos)
    for job in list(ledger.by_key.values()):
        if job.id:
            await _check_one(world, client, job)
    check_order(ledger, world.plan.faults & {"clock_steps", "clock_jumps"})
    world.over = True
    for _ in range(60):
        hub = world.lives.hub
        if hub is not None and len(hub.connections) <= 1:
            break
        await asyncio.sleep(1)
    _check_at_rest(world)


def _check_at_rest(world: World) -> None:
    hub = world.lives.hub
    if hub is None:
        return
    bounds(world.lives, world.ledger)
    # Everything is in LMDB after this, so its rows can be looked at alone.
    store: Any = hub.capacity._store
    try:
        store.flush()
    except StoreError:
        if "commit_errors" not in world.plan.faults:
            raise
        # LMDB had failed behind the journal, and nobody had asked for anything since.
        world.history.reach("a failed commit found at rest")
        return
    verify(world.lives, world.ledger, "at rest")
    if hub.request_bytes and len(hub.connections) <= 1:
        world.ledger.blame("memory bounds", f"{hub.request_bytes} bytes of requests at rest")


async def _all(client: AsyncClient, queue: str, state: Any) -> list[JobInfo]:
    found: list[JobInfo] = []
    cursor: bytes | None = None
    while True:
        page = await client.peek(queue, state, limit=500, cursor=cursor)
        found += page.jobs
        cursor = page.cursor
        if cursor is None:
            return found


async def _all_dead(client: AsyncClient, queue: str) -> list[str]:
    found: list[str] = []
    cursor: bytes | None = None
    while True:
        page = await client.dead_jobs(queue, limit=500, cursor=cursor)
        found += [job.id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            return found


def _key(info: JobInfo) -> bytes:
    payload: bytes = info.payload
    return payload.partition(b"|")[0]


def _check_listed(ledger: Ledger, key: bytes, infos: list[JobInfo]) -> None:
    job = ledger.by_key.get(key)
    if job is None:
        ledger.blame("nothing from nowhere", f"{key!r} is listed and was never sent")
        return
    if len(infos) > 1:
        ledger.blame("idempotent retries", f"{key!r} is there as {[i.id for i in infos]}")
    if infos[0].body_bytes != job.body:
        ledger.blame("nothing from nowhere", f"{key!r} has another body")
    if job.refused or job.joined:
        ledger.blame("nothing from nowhere", f"{key!r} was not to be stored, and is there")


async def _check_one(world: World, client: AsyncClient, job: Job) -> None:
    from tenure_protocol.ids import encode_id

    ledger = world.ledger
    try:
        info = await client.get(encode_id(job.id))
    except JobNotFound:
        if job.confirmed_us and not _may_vanish(world, job):
            ledger.blame("no confirmed enqueue lost", f"{job.key!r} is gone; {job}")
        return
    ledger.history.reach(f"ended {info.state}")
    if info.state not in ENDED:
        ledger.blame("ends visible", f"{job.key!r} is {info.state} at the end")
    if job.ended and info.state != job.ended and not job.asked & {"replay", "cancel"}:
        ledger.blame("no confirmed end undone", f"{job.key!r} had {job.ended}, is {info.state}")
    _check_reason(ledger, job, info)
    _check_counters(ledger, job, info)


def _may_vanish(world: World, job: Job) -> bool:
    kept = not world.ledger.settings[job.queue].get("kept")
    memory = job.queue == MEMORY_QUEUE and world.lives.number > 1
    return memory or (kept and may_be_gone(job)) or bool(job.asked & {"purge", "purge_dead"})


def _check_reason(ledger: Ledger, job: Job, info: JobInfo) -> None:
    acked = any("ack" in lease.asked for lease in job.leases) or "auto_ack" in job.asked
    reasons = {
        "succeeded": acked,
        "cancelled": "cancel" in job.asked,
        "expired": bool(job.options.get("expires_in_ms")),
        "dead": info.failures + info.timeouts + info.lost > 0,
    }
    if not reasons.get(info.state, True):
        ledger.blame("ends visible", f"{job.key!r} is {info.state}, and nobody did that")


def _check_counters(ledger: Ledger, job: Job, info: JobInfo) -> None:
    if "replay" in job.asked or info.state not in ("dead", "succeeded"):
        return
    ends = info.failures + info.timeouts + info.lost + info.released
    wanted = info.attempt - (info.state == "succeeded")
    ledger.history.reach("counters compared")
    if ends != wanted:
        ledger.blame(
            "attempts counted",
            f"{job.key!r} is {info.state} after {info.attempt} attempts: failures {info.failures},"
            f" timeouts {info.timeouts}, lost {info.lost}, released {info.released}",
        )
    if job.leases and info.attempt < job.leases[-1].attempt:
        ledger.blame("attempts counted", f"{job.key!r} was attempt {job.leases[-1].attempt}")


def check_order(ledger: Ledger, clock_faults: frozenset[str]) -> None:
    """First deliveries follow confirmations, within a queue where nothing waits.

    A job may overtake those of less urgent priorities, and no others.
    """
    if "clock_jumps" in clock_faults or ledger.set_back:
        return
    jobs = [
        job
        for job in ledger.by_id.values()
        if job.plain and job.confirmed_us and job.leases and job.leases[0].attempt == 1
    ]
    jobs.sort(key=_lane)
    for queue, of_queue in groupby(jobs, key=lambda job: job.queue):
        ahead: list[Job] = []
        for _, lane in groupby(of_queue, key=_lane):
            members = list(lane)
            ledger.history.reach("order compared", len(members))
            # A clock that is set back makes jobs of another lane wait longer, or shorter.
            ahead = members if clock_faults else ahead + members
            _check_lane(ledger, queue, members, ahead, by_arrival=not clock_faults)
            _check_requests(ledger, queue, members)


def _check_requests(ledger: Ledger, queue: str, jobs: list[Job]) -> None:
    """The jobs of one request come in its order."""
    numbers = {id(job): n for n, job in enumerate(ledger.by_key.values())}
    jobs = sorted(jobs, key=lambda job: numbers[id(job)])
    for earlier, later in pairwise(jobs):
        if earlier.request != later.request:
            continue
        ledger.history.reach("order within a request compared")
        first, second = earlier.leases[0], later.leases[0]
        together = (first.left_us, first.session) == (second.left_us, second.session)
        if first.left_us > second.left_us or (together and first.row > second.row):
            ledger.blame("order", f"{queue}: {later.key!r} came before {earlier.key!r}")


def _lane(job: Job) -> tuple[str, int]:
    priority = job.options.get("priority")
    return job.queue, 128 if priority is None else priority


def _check_lane(
    ledger: Ledger, queue: str, jobs: list[Job], ahead: list[Job], *, by_arrival: bool
) -> None:
    def there_us(job: Job) -> int:
        return job.sent_us if by_arrival else job.confirmed_us

    in_order = sorted(ahead, key=there_us)
    latest: Job | None = None
    index = 0
    for job in sorted(jobs, key=lambda job: job.sent_us):
        while index < len(in_order) and there_us(in_order[index]) < job.sent_us:
            earlier = in_order[index]
            index += 1
            if latest is None or earlier.leases[0].left_us > latest.leases[0].left_us:
                latest = earlier
        if latest is not None and latest.leases[0].left_us > job.leases[0].left_us:
            # It may have been leased to a reply that nobody got: only what was seen counts.
            ledger.blame(
                "order", f"{queue}: {job.key!r} came before {latest.key!r}, which was there before"
            )
