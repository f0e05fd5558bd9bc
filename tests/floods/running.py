"""One flood, with neighbours: before it, during it, after it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tests.floods import connecting, sending
from tests.floods.broker import Observed, observed_broker
from tests.floods.connecting import Told
from tests.floods.neighbours import Neighbours, Phase
from tests.floods.stage import Scale, Stage

Flood = Callable[[Stage], Awaitable[Told]]

FLOODS: dict[str, Flood] = {
    "idle": connecting.idle,
    "waiting-1": connecting.waiting_for_one_queue,
    "waiting-1000": connecting.waiting_for_many_queues,
    "storm": connecting.storm,
    "over-limit": connecting.over_the_limit,
    "drip-before-hello": connecting.drip_before_hello,
    "drip-after-hello": connecting.drip_after_hello,
    "never-reads": sending.never_reads,
    "refused": sending.refused_requests,
    "huge-frames": sending.huge_frames,
    "announced": sending.announced_frames,
    "registry": sending.registry,
    "questions": sending.questions,
    "results": sending.results_and_notes,
}
"""By name."""


@dataclass(slots=True)
class Report:
    """What a flood did."""

    name: str
    told: Told
    phases: list[Phase]
    seconds: float
    cpu_s: float
    rss_before: int
    rss_peak: int
    rss_after: int
    files_after: int


def settings_of(name: str, scale: Scale) -> str:
    """The broker's settings for a flood."""
    if name != "over-limit":
        return scale.settings
    limits = f"connections = {scale.connections + 4}\n"
    return scale.settings.replace("[limits]\n", f"[limits]\n{limits}", 1) if "connections =" not in scale.settings else (
        f"[limits]\n{limits}"
    )  # fmt: skip


async def _sampled(broker: Observed) -> None:
    while True:
        _ = broker.rss_bytes
        await asyncio.sleep(0.1)


async def _flood(broker: Observed, scale: Scale, flood: Flood, neighbours: Neighbours) -> Told:
    sampling = asyncio.create_task(_sampled(broker))
    served = asyncio.ensure_future(asyncio.to_thread(neighbours.await_served))
    try:
        told = await flood(Stage(broker, scale, served))
        await served
        return told
    finally:
        sampling.cancel()


def run_flood(name: str, scale: Scale, calm_s: float) -> Report:
    """Runs a flood against a broker of its own. Raises `AssertionError` if anybody was harmed."""
    with (
        tempfile.TemporaryDirectory(prefix="floods-") as directory,
        observed_broker(Path(directory), settings_of(name, scale)) as broker,
    ):
        neighbours = Neighbours(broker.port)
        try:
            time.sleep(calm_s)
            neighbours.await_served()
            before = broker.rss_bytes
            neighbours.mark("during")
            begun_s, cpu_s = time.monotonic(), broker.cpu_s
            told = asyncio.run(_flood(broker, scale, FLOODS[name], neighbours))
            took_s, cpu_s = time.monotonic() - begun_s, broker.cpu_s - cpu_s
            neighbours.mark("after")
            time.sleep(calm_s)
            neighbours.await_served()
        finally:
            phases = neighbours.stop()
        assert broker.server.running, broker.server.log[-2_000:]
        grown = broker.rss_peak_bytes - before
        assert grown <= scale.growth_bytes_max, f"{name}: the broker grew by {grown / 1e6:.0f} MB"
        assert all(phase.jobs_ms for phase in phases), f"{name}: neighbours were not served at all"
        return Report(
            name, told, phases, took_s, cpu_s, before, broker.rss_peak_bytes, broker.rss_bytes, broker.files
        )  # fmt: skip
