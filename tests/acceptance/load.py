"""Load for a broker that is killed: producers and workers, each a process that keeps a journal."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEASE_S = 2.0
PROGRESS_S_MAX = 60.0
END_S_MAX = 60.0


class Load:
    """Producers and workers, and their journals."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory, self.url = directory, url
        self.started = 0
        self.processes: dict[str, list[subprocess.Popen[bytes]]] = {"producer": [], "worker": []}

    def start(self, kind: str, *more: str) -> subprocess.Popen[bytes]:
        """Starts one, under a name and a seed that nobody had."""
        self.started += 1
        name = f"{kind[0]}{self.started}"
        command = [sys.executable, "-m", f"tests.acceptance.load_{kind}", self.url]
        command += [str(self.directory / f"{name}.journal"), name, str(self.started)]
        command += [str(LEASE_S), *more] if kind == "worker" else []
        log = (self.directory / "load.log").open("ab")
        with log:
            return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def add(self, kind: str, count: int = 1) -> None:
        """Adds processes to the load."""
        self.processes[kind] += [self.start(kind) for _ in range(count)]

    def replace(self, kind: str, index: int) -> None:
        """kill -9 of one, and another in its place."""
        process = self.processes[kind].pop(index % len(self.processes[kind]))
        process.kill()
        process.wait()
        self.add(kind)

    def written(self) -> int:
        """Bytes in all journals."""
        return sum(path.stat().st_size for path in self.directory.glob("*.journal"))

    def end(self, number: signal.Signals) -> list[int]:
        """Ends all processes; their exit codes."""
        everybody = [process for some in self.processes.values() for process in some]
        for process in everybody:
            if process.poll() is None:
                process.send_signal(number)
        codes = [self._code(process) for process in everybody]
        self.processes = {"producer": [], "worker": []}
        return codes

    def _code(self, process: subprocess.Popen[bytes]) -> int:
        try:
            code = process.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGUSR1)  # Where does it hang? It writes that down.
            threading.Event().wait(1)
            raise AssertionError(f"{process.args!r} does not end:\n{self.log()}") from None
        # One that was told to end before it had come so far as to listen to that.
        return 0 if code == -signal.SIGTERM else code

    def log(self) -> str:
        """What they wrote to stderr."""
        return (self.directory / "load.log").read_text(errors="replace")


def wait_for_progress(load: Load, more_bytes: int) -> None:
    """Waits until the journals have grown: the load is at work."""
    goal, end = load.written() + more_bytes, time.monotonic() + PROGRESS_S_MAX
    pause = threading.Event()
    while load.written() < goal:
        assert time.monotonic() < end, f"the load makes no progress:\n{load.log()}"
        pause.wait(0.01)
