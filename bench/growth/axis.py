"""How an axis is measured: its brokers are all alive, and its points take turns.

A turn is a tenth of a second of one kind of work at one point, then at the next: a machine whose
speed changes by the second is nearly the same for all of them. Many turns make a round, at whose
end the brokers are weighed and started again.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.broker import Broker, start_broker
from bench.growth.load import Order, Outcome, queue_name
from bench.growth.points import SPEEDS, Point, Scale
from bench.machine import loop_millions_per_s, measure_disk
from bench.procfs import (
    Memory,
    disk_bytes,
    machine_busy_seconds,
    memory_of,
    own_cpu_seconds,
    run_seconds,
)
from bench.rows import Conditions, Row
from bench.stats import median
from bench.wire import wire_to

ROOT = Path(__file__).resolve().parents[2]
MEGABYTE = 1e6
STEADY_LOOK_SECONDS = 0.4
STEADY_SECONDS_MAX = 15.0
FULL_DISK_SHARE = 0.5
"""Of the free disk: what the backlogs may take."""

BYTES_PER_JOB = 450
"""What a waiting job of 100 bytes may take on the disk, for the look whether there is room."""

Say = Callable[[str], None]


class GrowthError(Exception):
    """Something was not done as it should be; the message says what."""


@dataclass(slots=True, kw_only=True)
class Site:
    """A point with its broker, and what that was like when it was empty."""

    point: Point
    broker: Broker
    fresh: Memory
    fresh_disk_bytes: int


@dataclass(slots=True, kw_only=True)
class Loader:
    """The client process, which does what it is told."""

    process: subprocess.Popen[str]

    def do(self, role: str, site: Site, jobs: int) -> tuple[Outcome, float]:
        """Does it; the outcome, and the CPU time of the broker meanwhile."""
        point, broker = site.point, site.broker
        order = Order(
            role=role,
            host=broker.host,
            port=broker.port,
            jobs=jobs,
            queues=point.queues,
            payload_bytes=point.payload_bytes,
            connections=point.connections,
            chunk=point.chunk,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        begun = run_seconds(broker.pid)
        self.process.stdin.write(json.dumps(asdict(order)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise GrowthError(f"the client process ended with code {self.process.wait()}")
        outcome = Outcome(**json.loads(line))
        if outcome.done != jobs:
            raise GrowthError(f"{point.name} {role}: {outcome.done} of {jobs} jobs were done")
        return outcome, run_seconds(broker.pid) - begun


@contextlib.contextmanager
def loader() -> Iterator[Loader]:
    """A client process for the block."""
    command = [sys.executable, "-m", "bench.growth.load"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Loader(process=process)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def measure_axis(
    points: Sequence[Point], scale: Scale, rounds: int, directory: Path, load: Loader, say: Say
) -> list[list[Row]]:
    """The rows of every turn of every round; the last turn of a round has its weights, too."""
    _check_room(points, directory)
    sites: list[Site] = []
    found: list[list[Row]] = []
    try:
        # One by one: those that are there are cleared away if the next one fails.
        sites.extend(_site(point, directory / point.name, load, say) for point in points)
        for number in range(rounds):
            found += [
                _turn(sites, scale, directory, load, backwards=turn % 2 == 1)
                for turn in range(scale.turns)
            ]
            _tell(found[-scale.turns :], f"round {number + 1}/{rounds}", say)
            for site in sites:
                # What went in one by one goes out: every round begins with the same backlog.
                load.do("batch-take", site, scale.turns * scale.singles_of(site.point))
            ending = [row for site in sites for row in _ending(site, scale, directory)]
            _tell([ending], f"round {number + 1}/{rounds}", say)
            found[-1] += ending
    finally:
        for site in sites:
            site.broker.process.kill()
            site.broker.process.wait()
            shutil.rmtree(site.broker.data_dir, ignore_errors=True)
    return found


def _check_room(points: Sequence[Point], directory: Path) -> None:
    wanted = sum(point.backlog for point in points) * BYTES_PER_JOB
    free = shutil.disk_usage(directory).free
    if wanted > FULL_DISK_SHARE * free:
        raise GrowthError(
            f"the backlogs may take {wanted / 1e9:.1f} GB and {directory} has {free / 1e9:.1f} GB "
            "free, of which at most half is used: choose another place with --dir, or --largest"
        )


def _site(point: Point, data_dir: Path, load: Loader, say: Say) -> Site:
    broker = start_broker(data_dir)
    site = Site(
        point=point,
        broker=broker,
        fresh=memory_of(broker.pid),
        fresh_disk_bytes=disk_bytes(data_dir),
    )
    try:
        if point.backlog:
            outcome, cpu = load.do("fill", site, point.backlog)
            seconds = outcome.end - outcome.begin
            say(
                f"{point.name}: filled in {seconds:,.1f} s, {point.backlog / seconds:,.0f} jobs/s,"
                f" {1e6 * cpu / point.backlog:.2f} us of the broker's CPU each"
            )
    except BaseException:
        broker.process.kill()
        broker.process.wait()
        raise
    return site


# ---- one turn, and the end of a round -------------------------------------------------------


def _turn(
    sites: Sequence[Site], scale: Scale, directory: Path, load: Loader, *, backwards: bool
) -> list[Row]:
    """Every kind of work at every point; `backwards`, so that none is always the first."""
    rows: list[Row] = []
    for role in SPEEDS:
        for site in reversed(sites) if backwards else sites:
            point = site.point
            jobs = scale.singles_of(point) if role == "one-by-one" else scale.batch_of(point)
            rows.append(_speed(site, scale, directory, load, role, jobs))
    return rows


def _ending(site: Site, scale: Scale, directory: Path) -> Iterator[Row]:
    if site.point.axis == "backlog":
        yield from _weights(site, scale, directory)
        yield _restart(site, scale, directory)


def _tell(turns: Sequence[Sequence[Row]], begin: str, say: Say) -> None:
    by_name: dict[str, list[Row]] = {}
    for row in (row for rows in turns for row in rows):
        by_name.setdefault(row.name, []).append(row)
    for name, rows in by_name.items():
        say(f"{begin} {name}: {median([row.value for row in rows]):,.1f} {rows[0].unit}")


def _conditions(scale: Scale, directory: Path) -> Conditions:
    return Conditions(
        disk=measure_disk(directory, scale.disk_samples),
        loop_millions_per_s=loop_millions_per_s(),
    )


def _speed(site: Site, scale: Scale, directory: Path, load: Loader, role: str, jobs: int) -> Row:
    before = _conditions(scale, directory)
    busy, own, begin = machine_busy_seconds(), own_cpu_seconds(), time.monotonic()
    outcome, cpu = load.do(role, site, jobs)
    seconds, wall = max(outcome.end - outcome.begin, 1e-9), time.monotonic() - begin
    others = machine_busy_seconds() - busy - (own_cpu_seconds() - own) - cpu - outcome.cpu_seconds
    return Row(
        name=f"{site.point.name} {role}",
        value=jobs / seconds,
        unit="jobs/s",
        jobs=jobs,
        seconds=seconds,
        p50_us=outcome.p50_us,
        p99_us=outcome.p99_us,
        conditions=Conditions(
            disk=before.disk,
            loop_millions_per_s=before.loop_millions_per_s,
            broker_cpu_seconds=cpu,
            clients_cpu_seconds=outcome.cpu_seconds,
            broker_cpu_percent=100 * cpu / seconds,
            clients_cpu_percent=100 * outcome.cpu_seconds / seconds,
            other_cpu_percent=max(0.0, 100 * others / wall),
        ),
    )


def _weights(site: Site, scale: Scale, directory: Path) -> Iterator[Row]:
    """Memory that the jobs take, and disk."""
    _await_steady(site.broker)
    memory, disk = memory_of(site.broker.pid), disk_bytes(site.broker.data_dir)
    conditions, jobs = _conditions(scale, directory), site.point.backlog
    private = memory.anonymous_bytes - site.fresh.anonymous_bytes
    yield Row(
        name=f"{site.point.name} memory",
        value=memory.anonymous_bytes / MEGABYTE,
        unit="MB",
        conditions=conditions,
        jobs=jobs,
        extras={
            "more than at its start MB": private / MEGABYTE,
            "with mapped pages of the store MB": memory.pss_bytes / MEGABYTE,
        },
    )
    yield Row(
        name=f"{site.point.name} disk",
        value=disk / MEGABYTE,
        unit="MB",
        conditions=conditions,
        jobs=jobs,
        extras={"bytes per job": (disk - site.fresh_disk_bytes) / jobs} if jobs else {},
    )


def _await_steady(broker: Broker) -> None:
    """Waits until the broker has nothing left to write: what was acked is freed behind the ack."""
    deadline = time.monotonic() + STEADY_SECONDS_MAX
    before = run_seconds(broker.pid)
    while time.monotonic() < deadline:
        time.sleep(STEADY_LOOK_SECONDS)
        now = run_seconds(broker.pid)
        if now - before <= 0.1 * STEADY_LOOK_SECONDS:
            return
        before = now


def _restart(site: Site, scale: Scale, directory: Path) -> Row:
    """kill -9, and from the start of the next process to the first job in somebody's hands."""
    site.broker.stop(signal.SIGKILL)
    conditions = _conditions(scale, directory)
    broker = site.broker = start_broker(site.broker.data_dir)
    listening = time.monotonic() - broker.begun
    with wire_to(broker.host, broker.port) as wire:
        leased = wire.call("reserve", [[queue_name(0)], 1, 0])
        seconds = time.monotonic() - broker.begun
        if leased:
            wire.call("release", [[[leased[0][0], leased[0][1]]]])
        left = wire.call("stats", {})["jobs"]
    if left != site.point.backlog or bool(leased) != bool(left):
        raise GrowthError(f"{site.point.name}: {left} jobs after the restart")
    return Row(
        name=f"{site.point.name} restart",
        value=1e3 * seconds,
        unit="ms",
        conditions=conditions,
        jobs=site.point.backlog,
        seconds=seconds,
        extras={"listening ms": 1e3 * listening},
    )
