"""What is measured of one framework in one round: enqueuing, a worker, an idle worker."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.peers.frameworks.brokers import KINDS, Broker, running_broker
from bench.peers.frameworks.catalog import OWN, Framework, Jobs
from bench.peers.frameworks.marks import (
    BROKER_VARIABLE,
    MARKS_VARIABLE,
    count_marks,
    read_marks,
)
from bench.peers.frameworks.missing import Homes
from bench.peers.frameworks.processes import (
    ROOT,
    Child,
    Cpu,
    PeerError,
    read_cpu,
    running,
)
from bench.peers.frameworks.producer import PROBE_FIRST
from bench.peers.results import Row
from bench.stats import percentile

SECTION = "frameworks"
PRODUCER = "bench.peers.frameworks.producer"
PRODUCER_SECONDS_MAX = 120.0
BEGIN_SECONDS_MAX = 60.0
PROCESS_SECONDS_MAX = 90.0
LOOK_SECONDS = 0.005
IDLE_LOOK_SECONDS = 0.3
IDLE_LOOKS_MAX = 10
IDLE_CPU_SHARE = 0.05
"""Of one core: a worker that uses less has nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """How many jobs an idle worker gets, and how long that may take."""

    jobs: int = 50
    seconds: float = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One framework in one round: where its files go, and how much work it gets."""

    framework: Framework
    directory: Path
    homes: Homes
    jobs: Jobs
    probes: Probes
    round: int

    @property
    def marks(self) -> Path:
        """Where its tasks say that they began."""
        return self.directory / "marks"

    def row(self, name: str, value: float, unit: str, extra: Mapping[str, Any]) -> Row:
        """A row of this framework."""
        return Row(
            section=SECTION,
            row=name,
            peer=self.framework.peer,
            mode=self.framework.mode,
            durability=KINDS[self.framework.broker].durability,
            round=self.round,
            value=value,
            unit=unit,
            extra=dict(extra),
        )


def measure(trial: Trial) -> Iterator[Row]:
    """The rows of one framework. Raises `PeerError` when something did not work."""
    if trial.framework.enqueues:
        with fresh_broker(trial, "enqueue") as broker:
            yield from _enqueues(trial, broker)
    with fresh_broker(trial, "process") as broker:
        produce(trial, broker, "fill", trial.jobs.run)
        with running_worker(trial, broker) as worker:
            yield _process(trial, broker, worker)
            yield _idle(trial, broker, worker)


@contextlib.contextmanager
def fresh_broker(trial: Trial, name: str) -> Iterator[Broker]:
    """The framework's broker with nothing in it, and its tables made if it needs any."""
    directory = trial.directory / name
    directory.mkdir()
    with running_broker(trial.framework.broker, directory) as broker:
        if trial.framework.before:
            _done(trial, broker, trial.framework.before)
        yield broker


def _enqueues(trial: Trial, broker: Broker) -> Iterator[Row]:
    jobs, before = trial.jobs, read_cpu(broker.pid)
    measured = json.loads(produce(trial, broker, "enqueue", jobs.one, jobs.many))
    used = read_cpu(broker.pid).since(before)
    shared = {"alien_cpu_percent": used.alien_percent}
    yield trial.row("enqueue", measured["one_per_s"], "jobs/s", {"jobs": jobs.one, **shared})
    yield trial.row("enqueue-many", measured["many_per_s"], "jobs/s", {"jobs": jobs.many, **shared})


def _process(trial: Trial, broker: Broker, worker: Child) -> Row:
    """What a worker does with jobs that were there before it."""
    used = await_work(trial, broker, worker, trial.jobs.run)
    return processed(trial, read_marks(trial.marks), used)


def processed(trial: Trial, marks: Sequence[tuple[int, int]], used: Cpu) -> Row:
    """The row of what tasks wrote down: from the first one's begin to the last one's.

    Raises `PeerError` unless every job began.
    """
    moments, distinct = [at_ns for _, at_ns in marks], len({number for number, _ in marks})
    if distinct != trial.jobs.run:
        raise PeerError(f"of {trial.jobs.run} jobs {distinct} began, with {len(marks)} begins")
    seconds = max(max(moments) - min(moments), 1) / 1e9
    extra = {
        "jobs": distinct,
        "begins": len(marks),
        "worker_cpu_us_per_job": 1e6 * used.worker / distinct,
        "broker_cpu_us_per_job": 1e6 * used.broker / distinct,
        "worker_cpu_percent": 100 * used.worker / used.at,
        "broker_cpu_percent": 100 * used.broker / used.at,
        "alien_cpu_percent": used.alien_percent,
    }
    return trial.row("process", (len(marks) - 1) / seconds, "jobs/s", extra)


def await_work(trial: Trial, broker: Broker, worker: Child, jobs: int) -> Cpu:
    """Waits until that many tasks have begun; the CPU time since the first one."""
    _await_marks(trial, worker, 1, BEGIN_SECONDS_MAX)
    before = read_cpu(broker.pid, worker.pid)
    _await_marks(trial, worker, jobs, PROCESS_SECONDS_MAX)
    return read_cpu(broker.pid, worker.pid).since(before)


def _await_marks(trial: Trial, worker: Child, count: int, seconds_max: float) -> None:
    deadline = time.monotonic() + seconds_max
    while (begun := count_marks(trial.marks)) < count:
        worker.check()
        if time.monotonic() > deadline:
            raise PeerError(f"of {count} jobs {begun} began in {seconds_max:.0f} s")
        time.sleep(LOOK_SECONDS)


def _idle(trial: Trial, broker: Broker, worker: Child) -> Row:
    """One job at a time for a worker that has nothing to do: from the call to the task's begin."""
    _await_idle(worker)
    order = ("probe", trial.probes.jobs, trial.probes.seconds)
    before = read_cpu(broker.pid, worker.pid)
    called_ns: list[int] = json.loads(produce(trial, broker, *order))["called_ns"]
    used = read_cpu(broker.pid, worker.pid).since(before)
    latencies_ms = [
        (at_ns - called_ns[number - PROBE_FIRST]) / 1e6
        for number, at_ns in read_marks(trial.marks)
        if number >= PROBE_FIRST
    ]
    if len(latencies_ms) < len(called_ns):
        raise PeerError(f"of {len(called_ns)} jobs for the idle worker {len(latencies_ms)} began")
    extra = {
        "p99_ms": percentile(latencies_ms, 0.99),
        "jobs": len(latencies_ms),
        "alien_cpu_percent": used.alien_percent,
    }
    return trial.row("idle", percentile(latencies_ms, 0.5), "ms", extra)


def _await_idle(worker: Child) -> None:
    for _ in range(IDLE_LOOKS_MAX):
        before = read_cpu(worker=worker.pid)
        time.sleep(IDLE_LOOK_SECONDS)
        used = read_cpu(worker=worker.pid).since(before)
        if used.worker < IDLE_CPU_SHARE * used.at:
            return


def produce(trial: Trial, broker: Broker, *order: str | float) -> str:
    """Runs the framework's producer to its end, and gives the line that it printed."""
    framework = trial.framework
    if framework.home == "node":
        start = [trial.homes.program(framework, "node"), framework.app]
    elif framework.home == OWN:
        start = [framework.worker[0], "-m", PRODUCER, framework.app]
    else:
        start = [trial.homes.program(framework, "python"), "-m", PRODUCER, framework.app]
    return _done(trial, broker, [*start, *map(str, order)])


def _done(trial: Trial, broker: Broker, command: Sequence[str]) -> str:
    program = command[0]
    if not os.path.isabs(program):
        program = trial.homes.program(trial.framework, program)
    done = subprocess.run(
        [program, *command[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **environment(trial, broker)},
        cwd=ROOT,
        timeout=PRODUCER_SECONDS_MAX,
        check=False,
    )
    if done.returncode:
        raise PeerError(f"{' '.join(command)}: code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1] if done.stdout.strip() else ""


@contextlib.contextmanager
def running_worker(trial: Trial, broker: Broker) -> Iterator[Child]:
    """The one command that processes."""
    framework = trial.framework
    command = [word.replace("{broker}", broker.url) for word in framework.worker]
    command[0] = trial.homes.program(framework, command[0])
    log = trial.directory / "worker.log"
    with running(command, log, environment(trial, broker)) as worker:
        yield worker


def environment(trial: Trial, broker: Broker) -> dict[str, str]:
    """What producers and workers find in their environment."""
    return {
        **trial.framework.environment,
        BROKER_VARIABLE: broker.url,
        MARKS_VARIABLE: str(trial.marks),
        "BENCH_NODE_MODULES": str(trial.homes.node),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }
