"""How many syncs of the disk a job takes: strace beside the broker, in a pass that is not timed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.peers.frameworks.brokers import Broker
from bench.peers.frameworks.processes import PeerError
from bench.peers.frameworks.rounds import (
    Trial,
    await_work,
    fresh_broker,
    produce,
    running_worker,
)
from bench.peers.results import Row
from bench.peers.supervision import descendants

CALLS = "fsync,fdatasync,msync,sync_file_range,syncfs,sync"
SYNC = re.compile(r"\b(?:fsync|fdatasync|msync|sync_file_range|syncfs|sync)\(")
"""The begin of such a call in the output; its end may be on a line of its own."""

JOBS = 50
ATTACH_SECONDS_MAX = 20.0
SETTLE_SECONDS = 0.5
"""After the last task began, until its acknowledgement is on the disk."""


def count_syncs(trial: Trial) -> Iterator[Row]:
    """Syncs per job, enqueued one by one, and processed. Raises `PeerError`."""
    with fresh_broker(trial, "syncs") as broker:
        produce(trial, broker, "enqueue", 1, 0)
        with traced(broker, trial.directory / "enqueue.strace"):
            produce(trial, broker, "enqueue", JOBS - 1, 0)
        yield _row(trial, "syncs-enqueue", JOBS, trial.directory / "enqueue.strace")
        # What is there by now: one each for the first of both orders, and those between.
        waiting = JOBS + 2
        with traced(broker, trial.directory / "process.strace"):
            with running_worker(trial, broker) as worker:
                await_work(trial, broker, worker, waiting)
                time.sleep(SETTLE_SECONDS)
            time.sleep(SETTLE_SECONDS)
        yield _row(trial, "syncs-process", waiting, trial.directory / "process.strace")


def _row(trial: Trial, name: str, jobs: int, output: Path) -> Row:
    calls = count_calls(output.read_text())
    return trial.row(name, calls / jobs, "syncs/job", {"syncs": calls, "jobs": jobs})


def count_calls(output: str) -> int:
    """Calls that begin in the output of strace; one that another thread interrupts has two lines."""
    return sum(1 for line in output.splitlines() if SYNC.search(line))


def can_trace() -> bool:
    """Whether strace is there."""
    return shutil.which("strace") is not None


@contextlib.contextmanager
def traced(broker: Broker, output: Path) -> Iterator[None]:
    """strace on all processes of the broker until the end of the block."""
    command = ["strace", "-f", "-e", f"trace={CALLS}", "-o", str(output)]
    for pid in descendants(broker.pid):
        command += ["-p", str(pid)]
    spy = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _await_attached(spy, broker)
        yield
    finally:
        if spy.poll() is None:
            spy.send_signal(signal.SIGINT)
        spy.communicate()


def _await_attached(spy: subprocess.Popen[bytes], broker: Broker) -> None:
    deadline = time.monotonic() + ATTACH_SECONDS_MAX
    while any(_tracer(pid) != spy.pid for pid in descendants(broker.pid)):
        if spy.poll() is not None or time.monotonic() > deadline:
            raise PeerError("strace may not look at the broker: it needs root, or ptrace_scope 0")
        time.sleep(0.01)


def _tracer(pid: int) -> int:
    """Who traces the last thread of a process; 0: nobody."""
    try:
        threads = sorted(map(int, os.listdir(f"/proc/{pid}/task")))
        status = Path(f"/proc/{pid}/task/{threads[-1]}/status").read_text()
    except OSError:
        return 0
    return int(status.partition("TracerPid:")[2].split(None, 1)[0])
