"""One recording: a directory, and the processes of the product that work in it under the shim."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.power.client import Actor
from tests.power.launch import BLOCK_BYTES
from tests.power.shim import ROOT, environment
from tests.power.trace import Marker
from tests.power.zygote import Forked, Zygote

END_S_MAX = 120.0
_LOOK_S = 0.005


class Stage:
    """Where a workload runs. Everything below `root` is recorded."""

    def __init__(
        self,
        directory: Path,
        runner: Path | Zygote,
        *,
        journal_blocks: int = 64,
        unsynced: str = "",
        slow_us: int = 0,
        control: str = "",
        data: str = "data",
    ) -> None:
        """`runner` is the shim's library, to start processes under it, or forks them.

        `journal_blocks` is the size of a new journal, in blocks; 0: as the product has it.
        Syncs of files whose path contains `unsynced` are left out, the others take `slow_us`
        longer. `control` is for `launch`; `data` is where the data directory is below the root.
        """
        self.root = directory / "root"
        self.root.mkdir(parents=True)
        self.data = self.root / data
        self.trace = directory / "trace"
        self.log_path = directory / "log"
        self.mark = Marker(self.trace)
        self.url = ""
        self._port_file = directory / "port.json"
        self._runner = runner
        self._journal_blocks, self._control = journal_blocks, control
        self._unsynced, self._slow_us = unsynced, slow_us
        self._broker: subprocess.Popen[bytes] | Forked | None = None

    @property
    def log(self) -> str:
        """What the processes wrote."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def _popen(self, *arguments: str) -> subprocess.Popen[bytes] | Forked:
        runner = self._runner
        if isinstance(runner, Zygote):
            pid = runner.start(
                *arguments,
                trace=self.trace,
                root=self.root,
                log=self.log_path,
                journal_blocks=self._journal_blocks,
                unsynced=self._unsynced,
                slow_us=self._slow_us,
                control=self._control,
            )
            return Forked(runner, pid)
        command = [sys.executable, "-m", "tests.power.launch"]
        command += [str(self._journal_blocks * BLOCK_BYTES), self._control, *arguments]
        surroundings = environment(
            runner,
            trace=self.trace,
            root=self.root,
            unsynced=self._unsynced,
            slow_us=self._slow_us,
        )
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=surroundings,
            )

    def run(self, *arguments: str) -> None:
        """Runs `cli ...` or `open DIR` to its end. Raises `AssertionError` unless it ends well."""
        process = self._popen(*arguments)
        assert process.wait(END_S_MAX) == 0, self.log

    def start(self) -> None:
        """Starts the broker, and waits until it listens."""
        self._port_file.unlink(missing_ok=True)
        broker = self._broker = self._popen(
            "server", "--data-dir", str(self.data), "--listen", "127.0.0.1:0", "--http", "off",
            "--port-file", str(self._port_file), "--log-format", "json",
        )  # fmt: skip
        end = time.monotonic() + END_S_MAX
        while not self._port_file.exists():
            assert broker.poll() is None, f"the broker ended at its start:\n{self.log}"
            assert time.monotonic() < end, f"the broker does not listen:\n{self.log}"
            time.sleep(_LOOK_S)
        host, port = json.loads(self._port_file.read_text())["listen"]
        self.url = f"tenure://{host}:{port}"

    def stop(self) -> None:
        """Ends the broker in order."""
        assert self._end(signal.SIGTERM) == 0, self.log

    def kill(self) -> None:
        """Ends the broker with kill -9."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        broker, self._broker = self._broker, None
        if broker is None:
            return 0
        broker.send_signal(number)
        return broker.wait(END_S_MAX)

    @contextmanager
    def actor(self, queue: str = "q") -> Iterator[Actor]:
        """A client on a queue of its own."""
        actor = Actor(self.url, self.mark, queue)
        try:
            yield actor
        finally:
            actor.close()

    def close(self) -> None:
        """Leaves nothing running."""
        self.kill()
        self.mark.close()


def scratch_parent() -> str | None:
    """Where images are best written: memory if the machine has such a place, else the usual one."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and os.access(memory, os.W_OK) else None
