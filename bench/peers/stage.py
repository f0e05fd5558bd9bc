"""Where peers take their turns: their servers, started once a round, all but one of them paused."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.machine import loop_millions_per_s, measure_disk
from bench.peers.catalog import Peer
from bench.peers.clients import client, do, order_for
from bench.peers.launches import Launcher
from bench.peers.load import Order, Outcome
from bench.peers.results import Note, Row
from bench.peers.sizes import Sizes
from bench.peers.supervision import (
    Server,
    descendants,
    free_port,
    own,
    start_server,
)
from bench.procfs import cpu_seconds, machine_busy_seconds, own_cpu_seconds
from bench.stage import await_quiet

Record = Callable[[Row | Note], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What one client process (or one crowd) did, and the machine beside it.

    CPU in percent of one core. `alien` is everybody but server and clients; the kernel's own
    threads, which sync, are in it.
    """

    outcome: Outcome
    server_cpu_percent: float
    clients_cpu_percent: float
    alien_cpu_percent: float

    @property
    def seconds(self) -> float:
        """How long the work took."""
        return max(self.outcome.end - self.outcome.begin, 1e-9)

    def extra(self) -> dict[str, Any]:
        """What goes beside a figure of this phase."""
        extra: dict[str, Any] = {
            "jobs": self.outcome.done,
            "seconds": self.seconds,
            "server_cpu_percent": self.server_cpu_percent,
            "clients_cpu_percent": self.clients_cpu_percent,
            "alien_cpu_percent": self.alien_cpu_percent,
        }
        if self.outcome.p50_us is not None:
            extra |= {"p50_us": self.outcome.p50_us, "p99_us": self.outcome.p99_us}
        return extra


@dataclass(slots=True, kw_only=True)
class Stage:
    """One round. `record` takes figures and notes as they come."""

    directory: Path
    sizes: Sizes
    round: int
    record: Record
    failed: set[str] = field(default_factory=set)
    """Labels of peers that broke in this round: they are left out of the rest of it."""
    _made: int = 0

    def start(self, peer: Peer, launcher: Launcher | None = None) -> Server:
        """A server with an empty directory that serves. Raises `ServerError`, `ClientError`."""
        self._made += 1
        directory = self.directory / f"{peer.name}-{self._made}"
        directory.mkdir()
        server = restart(launcher or peer.launch, directory, free_port())
        try:
            do(peer, order_for(peer, server.port, "prepare"))
        except BaseException:
            server.kill()
            raise
        return server

    def run(self, peer: Peer, server: Server, order: Order) -> Phase:
        """Lets one client process work on a server, and looks at the processors meanwhile."""
        os.sync()  # What others left to be written is not this one's.
        with client(peer, order) as process:
            process.await_ready()
            await_quiet(self.sizes.patience_seconds)
            busy, own_cpu = machine_busy_seconds(), own_cpu_seconds()
            cpu, begin = server.cpu_seconds(), time.monotonic()
            clients = _cpu_below(process.pid)
            process.go()
            outcome = process.outcome()
            wall = time.monotonic() - begin
            clients = outcome.cpu_seconds - clients
            cpu = server.cpu_seconds() - cpu
            busy = machine_busy_seconds() - busy - (own_cpu_seconds() - own_cpu)
        return Phase(
            outcome=outcome,
            server_cpu_percent=100 * cpu / wall,
            clients_cpu_percent=100 * clients / wall,
            alien_cpu_percent=max(0.0, 100 * (busy - cpu - clients) / wall),
        )

    def row(
        self, peer: Peer, section: str, row: str, value: float, unit: str, **extra: Any
    ) -> None:
        """Records one figure of this round."""
        self.record(
            Row(
                section=section,
                row=row,
                peer=peer.name,
                mode=peer.mode,
                durability=peer.durability,
                round=self.round,
                value=value,
                unit=unit,
                extra=extra,
            )
        )

    @contextlib.contextmanager
    def attempt(self, peer: Peer, section: str, what: str) -> Iterator[None]:
        """A peer that breaks is told of and left out; the others go on."""
        try:
            yield
        except Exception as error:
            # Whatever it is: one peer less is better than no comparison.
            self.failed.add(peer.label)
            text = f"round {self.round}, {what}: {type(error).__name__}: {error}"
            self.record(
                Note(section=section, kind="failed", text=text, peer=peer.name, mode=peer.mode)
            )

    def calibrate(self) -> None:
        """What the machine itself does at this moment: disk and loop, as a figure of the round."""
        disk = measure_disk(self.directory, self.sizes.disk_samples)
        figures = {
            "fdatasync append p50": disk.append_p50_us,
            "fdatasync append p99": disk.append_p99_us,
            "fdatasync overwrite p50": disk.overwrite_p50_us,
            "fdatasync overwrite p99": disk.overwrite_p99_us,
            "python loop": loop_millions_per_s() * 1e6,
        }
        for name, value in figures.items():
            unit = "turns/s" if name == "python loop" else "us"
            self.record(
                Row(
                    section="machine",
                    row=name,
                    peer="",
                    mode="",
                    durability="",
                    round=self.round,
                    value=value,
                    unit=unit,
                )
            )


def restart(launcher: Launcher, directory: Path, port: int) -> Server:
    """A server with the data that is in `directory`. Raises `ServerError`."""
    launch = launcher(directory, port)
    own(directory, launch.user)
    return start_server(launch, directory, port)


@contextlib.contextmanager
def servers_of(stage: Stage, peers: Sequence[Peer], section: str) -> Iterator[dict[str, Server]]:
    """The servers of all these peers that start, paused, by label. All are killed at the end."""
    running: dict[str, Server] = {}
    try:
        for peer in peers:
            with stage.attempt(peer, section, "start"):
                running[peer.label] = stage.start(peer)
                running[peer.label].pause()
        yield running
    finally:
        for server in running.values():
            server.kill()


@contextlib.contextmanager
def awake(server: Server) -> Iterator[Server]:
    """A paused server's turn."""
    server.resume()
    try:
        yield server
    finally:
        server.pause()


def _cpu_below(pid: int) -> float:
    """CPU time so far of a client process; a crowd has forked by now."""
    return sum(cpu_seconds(one) for one in descendants(pid))
