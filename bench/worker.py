"""The worker under test: `tenure worker bench.tasks_app:app` in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.broker import Broker
from bench.procfs import children_of, cpu_seconds, run_seconds
from bench.tasks_app import MOMENTS_VARIABLE
from bench.wire import wire_to

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 60.0
POLL_SECONDS = 0.01
STILL_LOOK_SECONDS = 0.3
STILL_CPU_SHARE = 0.02
"""Of one core: a worker that uses less has nothing to do."""


class WorkerError(Exception):
    """The worker did not start or stop as it should; the message has the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerCpu:
    """CPU time of a worker, in seconds."""

    parent_seconds: float
    children_seconds: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.parent_seconds + self.children_seconds

    def since(self, before: WorkerCpu) -> WorkerCpu:
        """What came after `before`."""
        return WorkerCpu(
            parent_seconds=self.parent_seconds - before.parent_seconds,
            children_seconds=self.children_seconds - before.children_seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A running worker."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """The process id of the parent."""
        return self.process.pid

    @property
    def children(self) -> list[int]:
        """The process ids of its children, where user code runs."""
        return children_of(self.pid)

    def cpu(self) -> WorkerCpu:
        """CPU time so far, as the kernel accounts for it: in ticks."""
        return WorkerCpu(
            parent_seconds=cpu_seconds(self.pid),
            children_seconds=sum(map(cpu_seconds, self.children)),
        )

    def exact_cpu(self) -> WorkerCpu:
        """CPU time so far to the microsecond, of the threads that there are now."""
        return WorkerCpu(
            parent_seconds=run_seconds(self.pid),
            children_seconds=sum(map(run_seconds, self.children)),
        )

    def stop(self) -> None:
        """Ends it as an operator would. Raises `WorkerError` if it does not end well."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise WorkerError(
                f"the worker did not stop in {STOP_SECONDS_MAX:.0f} s\n{_end(self.log)}"
            ) from None
        if code:
            raise WorkerError(f"the worker ended with code {code}\n{_end(self.log)}")


@contextlib.contextmanager
def running_worker(
    broker: Broker, options: Sequence[str], queues: Sequence[str], moments: Path | None = None
) -> Iterator[Worker]:
    """A worker that waits for jobs of all `queues`, all its children started.

    It is stopped at the end of the block.
    """
    worker = _start(broker, options, moments)
    try:
        for queue in queues:
            _await_reserve(broker, worker, queue)
        _await_still(worker)
        yield worker
    except BaseException:
        # Its children see that it is gone, and end.
        worker.process.kill()
        worker.process.wait()
        raise
    worker.stop()


def _start(broker: Broker, options: Sequence[str], moments: Path | None) -> Worker:
    log = broker.data_dir.with_name(f"{broker.data_dir.name}.worker.log")
    command = [sys.executable, "-m", "tenure.worker", "bench.tasks_app:app", *options]
    environment = {**os.environ, "TENURE_URL": broker.url}
    if moments is not None:
        environment[MOMENTS_VARIABLE] = str(moments)
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    return Worker(process=process, log=log)


def _await_reserve(broker: Broker, worker: Worker, queue: str) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    with wire_to(broker.host, broker.port) as wire:
        while not wire.call("queue.get", {"queue": queue})["waiting_reserves"]:
            if worker.process.poll() is not None:
                raise WorkerError(
                    f"the worker ended with code {worker.process.returncode}\n{_end(worker.log)}"
                )
            if time.monotonic() > deadline:
                raise WorkerError(
                    f"the worker asked for no jobs in {START_SECONDS_MAX:.0f} s\n{_end(worker.log)}"
                )
            time.sleep(POLL_SECONDS)


def _await_still(worker: Worker) -> None:
    """Wait until no child starts any more: the first one that is ready asks for jobs."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        before = worker.exact_cpu()
        time.sleep(STILL_LOOK_SECONDS)
        if worker.exact_cpu().since(before).seconds < STILL_CPU_SHARE * STILL_LOOK_SECONDS:
            return


def _end(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]
