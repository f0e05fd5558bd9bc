"""Section B: a long line of waiting jobs. Memory, disk, and the time to start again."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence

from bench.peers.catalog import Peer
from bench.peers.clients import client, do, order_for
from bench.peers.stage import Stage, restart
from bench.peers.supervision import Server, disk_bytes, free_port, killed_at_the_end

SECTION = "B"

ROWS = {
    "memory": "memory per waiting job (PSS over the empty server)",
    "private memory": "the same without mapped files, which the kernel takes back at need",
    "disk": "disk per waiting job",
    "restart after SIGTERM": "start of the server to the first job served, after SIGTERM",
    "restart after kill -9": "start of the server to the first job served, after kill -9",
}


def measure(stage: Stage, peers: Sequence[Peer]) -> None:
    """One peer after the other: each has the machine to itself."""
    for peer in peers:
        if "B" in peer.rows and peer.label not in stage.failed:
            with stage.attempt(peer, SECTION, "backlog"):
                _one(stage, peer)


def _one(stage: Stage, peer: Peer) -> None:
    jobs = stage.sizes.backlog_jobs
    with killed_at_the_end(stage.start(peer, peer.fill_launch)) as server:
        empty, disk = server.memory(), disk_bytes(server.directory)
        extra = {"jobs": jobs, "fill_s": _fill(peer, server, jobs)}
        time.sleep(2 * stage.sizes.settle_seconds)
        os.sync()
        full = server.memory()
        on_disk = (disk_bytes(server.directory) - disk) / jobs
        stopped = server.stop()
    total = (full.pss_bytes - empty.pss_bytes) / jobs
    private = (full.anonymous_bytes - empty.anonymous_bytes) / jobs
    stage.row(peer, SECTION, "memory", total, "B/job", empty_MB=empty.pss_bytes / 1e6, **extra)
    stage.row(peer, SECTION, "private memory", private, "B/job", **extra)
    stage.row(peer, SECTION, "disk", on_disk, "B/job", **extra)
    with _started_again(stage, peer, server, "restart after SIGTERM", stop_s=stopped) as server:
        server.kill()
    with _started_again(stage, peer, server, "restart after kill -9"):
        pass


def _fill(peer: Peer, server: Server, jobs: int) -> float:
    outcome = do(peer, order_for(peer, server.port, "put-all", jobs=jobs))
    if outcome.done != jobs:
        raise AssertionError(f"{outcome.done} jobs were put instead of {jobs}")
    return outcome.end - outcome.begin


@contextlib.contextmanager
def _started_again(
    stage: Stage, peer: Peer, old: Server, row: str, **extra: float
) -> Iterator[Server]:
    """From the start of the server's process to its first job, over a new connection."""
    os.sync()
    port = free_port()
    # The client has its libraries loaded by the time the server starts.
    with client(peer, order_for(peer, port, "first")) as process:
        process.await_ready()
        with killed_at_the_end(restart(peer.launch, old.directory, port)) as server:
            process.go()
            outcome = process.outcome()
            extra["memory_MB"] = server.memory().pss_bytes / 1e6
            stage.row(peer, SECTION, row, outcome.end - server.begun, "s", **extra)
            yield server
