"""Section S: how many syncs a server really makes per job, counted from its system calls.

A pass of its own, which no clock sees: a tracer makes everything slow. What is counted is
fsync, fdatasync, msync with MS_SYNC, sync, syncfs, and writes to files that are open with
O_SYNC or O_DSYNC.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench.peers.catalog import Peer
from bench.peers.clients import client, order_for
from bench.peers.load import Order
from bench.peers.results import Note
from bench.peers.stage import Stage
from bench.peers.supervision import Server, killed_at_the_end

SECTION = "S"

ROLES = {
    "enqueue": "put-one",
    "reserve + ack": "take-one",
    "enqueue, best batching": "put-all",
    "reserve + ack, best batching": "take-all",
}
"""What a client does, by row; in this order, for a take needs what the put has left."""

TRACER = "strace"
TRACER_NEEDS = "apt-get install strace"
BATCH_SHARE = 40
"""Jobs of the batched rows, for each job of the others."""

ATTACH_SECONDS_MAX = 20.0
SYNC_FLAGS = 0o4010000 | 0o10000
"""O_SYNC and O_DSYNC, as in /proc/PID/fdinfo."""

CALLS = "fsync,fdatasync,msync,sync,syncfs,write,writev,pwrite64,pwritev,pwritev2,openat"
_SYNC = re.compile(r"^\d+ +(fsync|fdatasync|sync|syncfs)\(")
_MSYNC = re.compile(r"^\d+ +msync\(.*MS_SYNC")
_WRITE = re.compile(r"^(\d+) +p?write(?:v|64|v2)?\((\d+),")
_OPEN = re.compile(r"^(\d+) +openat\(.*\bO_D?SYNC\b.*= (\d+)$")

Descriptors = set[tuple[int, int]]
"""(process id, file descriptor) of files whose writes are syncs."""


def measure(stage: Stage, peers: Sequence[Peer]) -> None:
    """Traces every peer, one after the other; says so where there is no tracer."""
    if shutil.which(TRACER) is None:
        stage.record(Note(section=SECTION, kind="missing", text=f"no syncs: {TRACER_NEEDS}"))
        return
    for peer in peers:
        if peer.label not in stage.failed:
            with (
                stage.attempt(peer, SECTION, "count of syncs"),
                killed_at_the_end(stage.start(peer)) as server,
            ):
                _one(stage, peer, server)


def _one(stage: Stage, peer: Peer, server: Server) -> None:
    few, many = stage.sizes.sync_jobs, stage.sizes.sync_jobs * BATCH_SHARE
    for row, role in ROLES.items():
        jobs = many if role.endswith("all") else few
        order = order_for(peer, server.port, role, jobs=jobs)
        counts = _counted(peer, server, order, stage.sizes.settle_seconds)
        scale, unit = (1_000, "syncs/1,000 jobs") if jobs == many else (1, "syncs/job")
        value = scale * sum(counts.values()) / jobs
        stage.row(peer, SECTION, row, value, unit, jobs=jobs, **counts)


def _counted(peer: Peer, server: Server, order: Order, settle_seconds: float) -> dict[str, int]:
    with client(peer, order) as process:
        process.await_ready()
        with tempfile.TemporaryDirectory() as place:
            trace = Path(place) / "trace"
            descriptors = sync_descriptors(server.pids())
            with _traced(server.pids(), trace):
                process.go()
                outcome = process.outcome()
                time.sleep(settle_seconds)
            threads = _process_of_thread(server.pids())
            descriptors |= sync_descriptors(server.pids())
            with trace.open(errors="replace") as lines:
                counts = count(lines, descriptors, threads)
    if outcome.done != order.jobs:
        raise AssertionError(f"{outcome.done} jobs were done instead of {order.jobs}")
    return counts


def count(
    lines: Iterable[str], descriptors: Descriptors, threads: dict[int, int]
) -> dict[str, int]:
    """Syncs in the lines of a trace, by the name of the call ("O_SYNC write" for those)."""
    known = set(descriptors)
    counts: dict[str, int] = {}
    for line in lines:
        name = ""
        if found := _SYNC.match(line):
            name = found[1]
        elif _MSYNC.match(line):
            name = "msync"
        elif found := _OPEN.match(line):
            known.add((threads.get(int(found[1]), int(found[1])), int(found[2])))
        elif found := _WRITE.match(line):
            thread = int(found[1])
            if (threads.get(thread, thread), int(found[2])) in known:
                name = "O_SYNC write"
        if name:
            counts[name] = counts.get(name, 0) + 1
    return counts


def sync_descriptors(pids: Iterable[int]) -> Descriptors:
    """The open files of these processes whose writes are syncs."""
    found: Descriptors = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for info in Path(f"/proc/{pid}/fdinfo").iterdir():
                with contextlib.suppress(OSError):
                    flags = re.search(r"^flags:\s*(\d+)", info.read_text(), re.MULTILINE)
                    if flags and int(flags[1], 8) & SYNC_FLAGS:
                        found.add((pid, int(info.name)))
    return found


def _process_of_thread(pids: Iterable[int]) -> dict[int, int]:
    threads: dict[int, int] = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            threads |= {int(task.name): pid for task in Path(f"/proc/{pid}/task").iterdir()}
    return threads


@contextlib.contextmanager
def _traced(pids: Sequence[int], trace: Path) -> Iterator[None]:
    command = [TRACER, "-f", "-s", "0", "-e", f"trace={CALLS}", "-e", "signal=none"]
    command += ["-o", str(trace), *(f"--attach={pid}" for pid in pids)]
    said = trace.with_suffix(".said")
    with said.open("wb") as log:
        tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _await_attached(tracer, said, len(pids))
        yield
    finally:
        # It lets go of the server and ends.
        tracer.terminate()
        tracer.wait()


def _await_attached(tracer: subprocess.Popen[bytes], said: Path, count: int) -> None:
    deadline = time.monotonic() + ATTACH_SECONDS_MAX
    while said.read_text(errors="replace").count(" attached") < count:
        if tracer.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"{TRACER} did not attach: {said.read_text()[-500:]}")
        time.sleep(0.01)
