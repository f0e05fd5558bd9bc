"""`tenure status`: the broker on one screen, and what somebody should look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from tenure.cli.commands import Command, session_of
from tenure.cli.fields import plain, queue_fields
from tenure.cli.human import NOTHING, count, duration, many, size
from tenure.cli.queue import queues_table
from tenure.cli.render import note, pairs, put, show, styled
from tenure.cli.settings import MEMORY_NOTE

if TYPE_CHECKING:
    from rich.console import Console

    from tenure.info import QueueInfo

QUEUES_SHOWN_MAX = 15
STORE_WARNING_SHARE = 0.8
OLD_MS = 300_000
"""A ready job older than this, with nobody asking for it, is worth a warning."""

Stats = Mapping[str, Any]


@click.command(cls=Command)
@click.pass_context
def status(context: click.Context) -> None:
    """The broker on one screen: server, store, busiest queues, warnings."""
    session = session_of(context)
    with session.broker() as client:
        stats = client.stats()
        infos = client.queues()
    found = list(warnings(stats, infos))
    record = {
        "url": session.broker_url,
        "stats": plain(stats),
        "queues": [queue_fields(info) for info in infos],
        "warnings": found,
    }

    def draw(screen: Console) -> None:
        put(screen, pairs(overview(session.broker_url, stats)))
        if infos:
            put(screen, styled(""))
            put(screen, queues_table(screen, busiest(infos, QUEUES_SHOWN_MAX)))
        if len(infos) > QUEUES_SHOWN_MAX:
            note(session, f"{many(len(infos), 'queue')} in all: tenure queue ls")
        if found:
            put(screen, styled(""))
        for warning in found:
            put(screen, styled(f"! {warning}", "yellow"))

    show(session, record, draw)


def busiest(infos: Sequence[QueueInfo], most: int) -> list[QueueInfo]:
    """The queues with the most to do, then by name."""
    return sorted(infos, key=lambda info: (-info.jobs, info.name))[:most]


def overview(url: str, stats: Stats) -> list[tuple[str, str]]:
    """The broker in four lines."""
    up_ms = stats["now_ms"] - stats["started_at_ms"]
    mode = "draining: takes no new work" if stats.get("draining") else "serving"
    return [
        ("Broker", f"{stats['server']} at {url}, up {duration(up_ms)}, {mode}"),
        (
            "Clients",
            f"{many(stats['connections'], 'connection')}, {many(stats['sessions'], 'session')},"
            f" {many(stats['leases'], 'lease')},"
            f" {many(stats['waiting_reserves'], 'waiting reserve')}",
        ),
        ("Store", _store_line(stats)),
        ("Jobs", f"{count(stats['jobs'])} unfinished in {many(stats['queues'], 'queue')}"),
    ]


def _store_line(stats: Stats) -> str:
    store, commit = stats.get("store") or {}, stats.get("commit") or {}
    used, most = store.get("used_bytes"), store.get("max_bytes")
    text = NOTHING if used is None else size(used)
    if used is not None and most:
        text += f" of {size(most)} ({used / most:.0%})"
    if commit.get("p50_us") is not None and commit.get("batches"):
        p50, p99 = commit["p50_us"] / 1000, commit["p99_us"] / 1000
        text += f", commits: {p50:.2f} ms median, {p99:.2f} ms p99"
    return text


def warnings(stats: Stats, infos: Sequence[QueueInfo]) -> Iterator[str]:
    """What somebody should look at, worst first, each with what to do."""
    store = stats.get("store") or {}
    used, most = store.get("used_bytes"), store.get("max_bytes")
    if store.get("full"):
        yield "the store is full: enqueues are refused; purge, or raise store.max_bytes"
    elif used and most and used / most >= STORE_WARNING_SHARE:
        yield f"the store is {used / most:.0%} full: at 100% enqueues are refused"
    if stats.get("damaged"):
        yield (
            f"{many(stats['damaged'], 'damaged record')} set aside: stop the broker and run"
            " tenure store verify"
        )
    if stats.get("draining"):
        yield "the broker is draining: tenure drain --off ends it"
    for info in infos:
        yield from _queue_warnings(info)


def _queue_warnings(info: QueueInfo) -> Iterator[str]:
    ready, dead = info.counts.get("ready", 0), info.counts.get("dead", 0)
    name = f'queue "{info.name}"'
    if info.paused and ready:
        yield f"{name} is paused with {many(ready, 'ready job')}: tenure queue resume {info.name}"
    elif ready and not info.waiting_reserves and (info.oldest_ready_age_ms or 0) > OLD_MS:
        yield (
            f"{name}: {many(ready, 'job')} ready, the oldest for"
            f" {duration(info.oldest_ready_age_ms)}, and no worker is waiting"
        )
    if dead:
        yield f"{name} has {many(dead, 'dead job')}: tenure dlq groups {info.name}"
    for limit, value in (("max_jobs", info.jobs), ("max_bytes", info.bytes)):
        most = info.settings.get(limit) or 0
        if most and value / most >= STORE_WARNING_SHARE:
            yield f"{name} is at {value / most:.0%} of its {limit}: at 100% enqueues are refused"
    if info.durability == "memory" and info.jobs:
        yield f"{name} holds {many(info.jobs, 'job')} in {MEMORY_NOTE}"
