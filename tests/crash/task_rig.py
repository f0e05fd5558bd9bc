"""Workers with a task app, to be killed: `tenure worker` processes, a producer, a broker.

with working(figures, place, rng) as rig:
    rig.progress(); rig.kill_worker(); ...
                                 producer ended, queue empty, every job asked for, checked
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenure import Client, Retry
from tests.acceptance.journal import Journal, read_journals
from tests.crash.figures import Figures
from tests.crash.rig import verified
from tests.crash.tally import Tally
from tests.crash.task_checker import check_tasks
from tests.support.broker_process import BrokerProcess
from tests.worker.processes import WorkerProcess, eventually

ROOT = Path(__file__).resolve().parents[2]
QUEUE = "tasks"
KINDS = (("-c", "6"), ("--pool", "process", "-c", "2"), ("-c", "4", "--prefetch", "1"))
"""What the workers are started with, in turn: one host, processes, jobs that wait in the worker."""
EMPTY_S_MAX = 240.0
PROGRESS_S_MAX = 120.0
GRACE = ("--grace", "5s")


class TaskRig:
    """One broker, its workers, and the journal of who killed what when."""

    def __init__(
        self, figures: Figures, place: Path, rng: random.Random, broker: BrokerProcess
    ) -> None:
        self.figures, self.place, self.rng, self.broker = figures, place, rng, broker
        self.journal = Journal(place / "killer.journal")
        self.workers: list[WorkerProcess] = []
        self.producer: subprocess.Popen[bytes] | None = None
        self._tally = Tally(place)
        self._started = 0

    # ---- the load ----------------------------------------------------------------------

    def produce(self) -> None:
        """Starts the producer."""
        self._started += 1
        name = f"p{self._started}"
        command = [sys.executable, "-m", "tests.crash.task_producer", self.broker.url]
        command += [str(self.place / f"{name}.journal"), name, str(self._started)]
        with (self.place / "load.log").open("ab") as log:
            self.producer = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def add_worker(self) -> None:
        """Starts a worker of the next kind, and does not wait."""
        self._started += 1
        name = f"w{self._started}"
        self.workers.append(
            WorkerProcess(
                self.broker.url, self.place, *KINDS[self._started % len(KINDS)], *GRACE,
                app="tests.crash.task_app:app", app_dir=ROOT, name=name,
                environment={
                    "TENURE_CRASH_JOURNALS": str(self.place),
                    "TENURE_CRASH_WORKER": name,
                },
            )
        )  # fmt: skip

    def progress(self) -> None:
        """Waits until a random number of tasks were done."""
        done, goal = 0, self.rng.randrange(1, 40)
        end = time.monotonic() + PROGRESS_S_MAX
        while done < goal:
            if time.monotonic() > end:
                raise AssertionError(f"no progress; see the logs in {self.place}")
            time.sleep(0.02)
            done += self.new()["done"]

    def new(self) -> dict[str, int]:
        """What the journals say since this was last asked."""
        counts = self._tally.new()
        self.figures.counts["seen done"] += counts["done"]
        return counts

    # ---- the harm ----------------------------------------------------------------------

    def kill_worker(self) -> None:
        """kill -9 of a worker's own process; another takes its place."""
        worker = self.workers.pop(self.rng.randrange(len(self.workers)))
        self.journal.write("worker killed", worker=worker.name)
        with worker:  # Waits until its children have noticed.
            worker.process.kill()
        self.figures.kills += 1
        self.add_worker()

    def kill_child(self) -> None:
        """kill -9 of a process that runs user code."""
        worker = self.rng.choice(self.workers)
        children = worker.children()
        if not children:
            return
        self.journal.write("child killed", worker=worker.name)
        os.kill(self.rng.choice(children), signal.SIGKILL)
        self.figures.kills += 1

    def kill_broker(self) -> None:
        """kill -9 of the broker."""
        self.journal.write("broker killed")
        self.broker.kill()
        self.figures.kills += 1
        verified(self.broker.data_dir, self.figures)

    def broker_back(self) -> None:
        """The broker again, and how long that took."""
        began = time.monotonic()
        self.broker.start()
        self.figures.recovered_s.append(time.monotonic() - began)

    def stop_worker(self, seconds: float) -> None:
        """A worker's own process stands still for a while; its children do not."""
        worker = self.rng.choice(self.workers)
        self.journal.write("worker stopped", worker=worker.name)
        worker.signal(signal.SIGSTOP)
        time.sleep(seconds)
        # Written first: what it does from now on it does after that line.
        self.journal.write("worker goes on", worker=worker.name)
        worker.signal(signal.SIGCONT)
        self.figures.counts["workers stopped"] += 1

    # ---- the end -----------------------------------------------------------------------

    def drain(self) -> None:
        """Ends the producer, waits until the queue is empty, and asks what became of every job."""
        self.end_producer(signal.SIGTERM)
        with Client(self.broker.url, timeout="30s") as client:
            eventually(lambda: client.queue(QUEUE).jobs == 0, EMPTY_S_MAX)
            for worker in self.workers:
                if worker.stop():
                    self.figures.blame("workers", f"{worker.name} did not end in order")
            for job_id in sorted(self._ids()):
                info = client.get(job_id)
                history = [
                    {"attempt": each.attempt, "worker": each.worker, "outcome": each.outcome}
                    for each in info.history
                ]
                counts = {
                    name: getattr(info, name)
                    for name in ("failures", "timeouts", "lost", "released")
                }
                self.journal.write(
                    "final", id=job_id, state=info.state, attempt=info.attempt, history=history,
                    **counts,
                )  # fmt: skip

    def _ids(self) -> set[str]:
        ids: set[str] = set()
        for line in read_journals(self.place):
            if line["event"] == "enqueued":
                ids.update(line["jobs"].values())
            elif line["event"] == "begun":
                ids.add(line["id"])
        return ids

    def end_producer(self, number: signal.Signals) -> None:
        """Ends it."""
        if self.producer is not None:
            self.producer.send_signal(number)
            self.producer.wait(60)
            self.producer = None

    def end(self) -> None:
        """Nothing is left running."""
        self.end_producer(signal.SIGKILL)
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.signal(signal.SIGCONT)
            with worker:
                pass


@contextmanager
def working(
    figures: Figures, place: Path, rng: random.Random, *, workers: int = 2
) -> Iterator[TaskRig]:
    """A broker with workers and a producer; what they did is checked at the end of the block."""
    place.mkdir(parents=True, exist_ok=True)
    with BrokerProcess(place) as broker:
        with Client(broker.url) as client:
            client.create_queue(
                QUEUE, max_jobs=150, max_attempts=1_000, poison_after=0, retry=Retry.fixed("50ms")
            )
        rig = TaskRig(figures, place, rng, broker)
        try:
            rig.produce()
            for _ in range(workers):
                rig.add_worker()
            for worker in rig.workers:
                worker.ready()
            yield rig
            rig.drain()
        finally:
            rig.end()
    verified(broker.data_dir, figures)
    verdict = check_tasks(read_journals(place))
    figures.counts += verdict.counts
    figures.violations += verdict.violations
