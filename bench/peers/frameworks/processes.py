"""Workers as processes: starting them, their CPU time and that of everybody else, ending them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers.supervision import descendants, signal_all
from bench.procfs import cpu_seconds, machine_busy_seconds

ROOT = Path(__file__).resolve().parents[3]
STOP_SECONDS_MAX = 15.0
LOG_END_CHARACTERS = 2000


class PeerError(Exception):
    """A framework or its broker did not do what it should; the message has the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A running process of ours, in a session of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def check(self) -> None:
        """Raises `PeerError` if it has ended."""
        if self.process.poll() is not None:
            end = self.log.read_text(errors="replace")[-LOG_END_CHARACTERS:]
            raise PeerError(f"the worker ended with code {self.process.returncode}\n{end}")

    def stop(self) -> None:
        """Asks it to end, and kills what is left of it and its children after a while."""
        pids = descendants(self.pid)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS_MAX)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        # The session is asked for, as the number may be somebody else's by now.
        signal_all([pid for pid in pids[1:] if _session(pid) == self.pid], signal.SIGKILL)


@contextlib.contextmanager
def running(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Iterator[Child]:
    """A process until the end of the block, whatever happens in it."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **environment},
            cwd=ROOT,
            start_new_session=True,
        )
    child = Child(process=process, log=log)
    try:
        yield child
    finally:
        child.stop()


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """CPU seconds so far, and when they were read (monotonic)."""

    at: float
    machine: float
    own: float
    broker: float
    worker: float

    def since(self, before: Cpu) -> Cpu:
        """What came after `before`; `at` is how long that took."""
        return Cpu(
            at=self.at - before.at,
            machine=self.machine - before.machine,
            own=self.own - before.own,
            broker=self.broker - before.broker,
            worker=self.worker - before.worker,
        )

    @property
    def alien_percent(self) -> float:
        """What nobody of ours used, in percent of one core."""
        alien = self.machine - self.own - self.broker - self.worker
        return max(0.0, 100 * alien / self.at)


def read_cpu(broker: int | None = None, worker: int | None = None) -> Cpu:
    """The clocks of the machine, of this program with its ended children, and of these trees."""
    times = os.times()
    return Cpu(
        at=time.monotonic(),
        machine=machine_busy_seconds(),
        own=times.user + times.system + times.children_user + times.children_system,
        broker=_cpu_of(broker),
        worker=_cpu_of(worker),
    )


def _cpu_of(root: int | None) -> float:
    return sum(map(cpu_seconds, descendants(root))) if root is not None else 0.0
