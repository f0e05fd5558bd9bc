"""How a row is measured: client processes that start together, and the machine beside them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.broker import Broker, running_broker
from bench.load import Order, Outcome
from bench.machine import loop_millions_per_s, measure_disk
from bench.procfs import cpu_seconds, machine_busy_seconds, own_cpu_seconds
from bench.profiler import Profiler
from bench.rows import Conditions, Row
from bench.sizes import Sizes
from bench.wire import wire_to
from bench.worker import Worker, WorkerCpu

ROOT = Path(__file__).resolve().parent.parent
QUIET_LOOK_SECONDS = 0.3
QUIET_CPU_SHARE = 0.15
"""Of one core."""


class LoadError(Exception):
    """A client process ended badly, or did not do all of its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What the client processes of one row did together."""

    outcomes: list[Outcome]
    seconds: float
    commits: int
    conditions: Conditions
    worker_cpu: WorkerCpu | None = None

    @property
    def done(self) -> int:
        """Jobs of all processes."""
        return sum(outcome.done for outcome in self.outcomes)

    def latency_us(self, name: str) -> tuple[float, float]:
        """p50 and p99 of a latency, which one of the processes took."""
        for outcome in self.outcomes:
            if name in outcome.latencies_us:
                p50, p99 = outcome.latencies_us[name]
                return p50, p99
        raise LoadError(f"nobody measured {name!r}")

    def speed(self, row: str, latency: str = "", *, jobs: int) -> Row:
        """Jobs per second, with the percentiles of a latency if one is named.

        Raises `LoadError` if not exactly `jobs` jobs were done.
        """
        self._check_done(row, jobs)
        p50, p99 = self.latency_us(latency) if latency else (None, None)
        return Row(
            name=row,
            value=self.done / self.seconds,
            unit="jobs/s",
            conditions=self.conditions,
            jobs=self.done,
            seconds=self.seconds,
            p50_us=p50,
            p99_us=p99,
            extras=self.commit_extras(),
        )

    def latency(self, row: str, name: str, *others: str, jobs: int) -> Row:
        """The p50 of a latency in us; further ones as extras. Raises `LoadError` as `speed`."""
        self._check_done(row, jobs)
        p50, p99 = self.latency_us(name)
        extras = {"jobs/s": self.done / self.seconds, **self.commit_extras()}
        for other in others:
            extras[f"{other} p50 us"], extras[f"{other} p99 us"] = self.latency_us(other)
        return Row(
            name=row,
            value=p50,
            unit="us",
            conditions=self.conditions,
            jobs=self.done,
            seconds=self.seconds,
            p50_us=p50,
            p99_us=p99,
            extras=extras,
        )

    def commit_extras(self) -> dict[str, float]:
        """How the broker committed meanwhile."""
        return {"commits": self.commits, "commits/s": self.commits / self.seconds}

    def _check_done(self, row: str, jobs: int) -> None:
        if self.done != jobs:
            raise LoadError(f"{row}: {self.done} jobs were done instead of {jobs}")


@dataclass(slots=True, kw_only=True)
class Stage:
    """Where the rows are measured. Data directories are made below `directory`."""

    directory: Path
    sizes: Sizes
    patience_seconds: float = 0.0
    profiler: Profiler | None = None
    _made: int = 0

    @contextlib.contextmanager
    def broker(self) -> Iterator[Broker]:
        """A broker with an empty data directory."""
        with running_broker(self.new_data_dir()) as broker:
            yield broker

    def new_data_dir(self) -> Path:
        """A data directory that nobody has used."""
        self._made += 1
        return self.directory / f"data-{self._made}"

    def conditions(self) -> Conditions:
        """Disk and loop as they are now; for rows that are not phases."""
        return Conditions(
            disk=measure_disk(self.directory, self.sizes.disk_samples),
            loop_millions_per_s=loop_millions_per_s(),
        )

    def run(
        self, row: str, broker: Broker, orders: Sequence[Order], worker: Worker | None = None
    ) -> Phase:
        """Starts one process per order, lets them go together and waits for all.

        The CPU time of `worker` counts as that of the clients. Raises `LoadError` when one of
        them fails.
        """
        before = self.conditions()
        with contextlib.ExitStack() as stack:
            loads = [stack.enter_context(_load_process(order)) for order in orders]
            for load in loads:
                _line(load)
            await_quiet(self.patience_seconds)
            if self.profiler:
                targets = _targets(broker, loads[0].pid, worker)
                stack.enter_context(self.profiler.during(row, targets))
            commits = _commits(broker)
            busy, own = machine_busy_seconds(), own_cpu_seconds()
            used = worker.cpu() if worker else None
            server, begin = cpu_seconds(broker.pid), time.monotonic()
            for load in loads:
                _go(load)
            outcomes = [Outcome(**json.loads(_line(load))) for load in loads]
            wall = time.monotonic() - begin
            server = cpu_seconds(broker.pid) - server
            used = worker.cpu().since(used) if worker and used else None
            busy = machine_busy_seconds() - busy
            own = own_cpu_seconds() - own
            commits = _commits(broker) - commits
        clients = sum(outcome.cpu_seconds for outcome in outcomes)
        clients += used.seconds if used else 0.0
        # `wall` has the consumers' last, empty wait in it; the work ended before that.
        first, last = min(one.begin for one in outcomes), max(one.end for one in outcomes)
        seconds = max(last - first, 1e-9)
        return Phase(
            outcomes=outcomes,
            seconds=seconds,
            commits=commits,
            worker_cpu=used,
            conditions=Conditions(
                disk=before.disk,
                loop_millions_per_s=before.loop_millions_per_s,
                broker_cpu_seconds=server,
                clients_cpu_seconds=clients,
                broker_cpu_percent=100 * server / seconds,
                clients_cpu_percent=100 * clients / seconds,
                other_cpu_percent=max(0.0, 100 * (busy - own - server - clients) / wall),
            ),
        )


def _targets(broker: Broker, client_pid: int, worker: Worker | None) -> dict[str, int]:
    """What to profile: who -> process id."""
    targets = {"broker": broker.pid}
    if worker is None:
        return {**targets, "client": client_pid}
    return {**targets, "worker": worker.pid, "child": worker.children[0]}


def _commits(broker: Broker) -> int:
    with wire_to(broker.host, broker.port) as wire:
        return int(wire.call("stats", {})["commit"]["batches"])


def await_quiet(patience_seconds: float) -> None:
    """Waits until nobody uses much CPU, at most `patience_seconds`."""
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        busy, own, begin = machine_busy_seconds(), own_cpu_seconds(), time.monotonic()
        time.sleep(QUIET_LOOK_SECONDS)
        used = machine_busy_seconds() - busy - (own_cpu_seconds() - own)
        if used < QUIET_CPU_SHARE * (time.monotonic() - begin):
            return


@contextlib.contextmanager
def _load_process(order: Order) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "bench.load", json.dumps(asdict(order))]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
        process.wait(30)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _line(load: subprocess.Popen[str]) -> str:
    assert load.stdout is not None
    line = load.stdout.readline()
    if not line:
        raise LoadError(f"a client process ended with code {load.wait()}; its error is above")
    return line


def _go(load: subprocess.Popen[str]) -> None:
    assert load.stdin is not None
    load.stdin.write("go\n")
    load.stdin.flush()
