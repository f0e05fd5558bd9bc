"""The broker and the workers as processes: started, killed, and ended whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

QUEUE = "census"
WORKER_ENDS_S = 10


class DemoError(Exception):
    """The demo cannot go on; the message is for the person who runs it."""


class Broker:
    """One broker at one address and one data directory, which may be killed and started again."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._listen = "127.0.0.1:0"
        self._process: subprocess.Popen[bytes] | None = None
        self.log = place / "broker.log"

    @property
    def url(self) -> str:
        """Where clients find it, also after it was started again."""
        return f"tenure://{self._listen}"

    @property
    def pid(self) -> int:
        """The process that runs, or ran last."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts the process and waits until it serves. Raises `DemoError` if it does not."""
        port_file = self._place / "ports.json"
        port_file.unlink(missing_ok=True)
        command = [
            sys.executable, "-m", "tenure_server", "--data-dir", str(self._place / "data"),
            "--listen", self._listen, "--http", "off", "--port-file", str(port_file),
        ]  # fmt: skip
        with self.log.open("ab") as log:
            # A small capacity: the broker sets a share of it aside on the disk.
            self._process = start(command, log, TENURE_STORE_MAX_BYTES="1GiB")
        ends = time.monotonic() + 20
        while not port_file.exists():
            if self._process.poll() is not None or time.monotonic() > ends:
                raise DemoError(f"the broker did not start:\n{self.log.read_text('utf-8')}")
            time.sleep(0.02)
        # The second time it must be where the clients look for it.
        host, port = json.loads(port_file.read_text("utf-8"))["listen"]
        self._listen = f"{host}:{port}"

    def kill(self) -> None:
        """SIGKILL: no farewell, no commit."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, as an operator would. Raises `DemoError` unless it ends with exit code 0."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(30)
        if code != 0:
            raise DemoError(f"the broker ended with exit code {code}; see\n{self.log.read_text()}")


class Workers:
    """Worker processes, by name."""

    def __init__(self, url: str, library: Path, log: Path) -> None:
        self._url = url
        self._library = library
        self._log = log
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started = 0

    def start_one(self) -> str:
        """Starts a worker; its name."""
        self._started += 1
        name = f"census-worker-{self._started}"
        command = [
            sys.executable, "-m", "examples.stdlib_census.worker", "--url", self._url,
            "--queue", QUEUE, "--name", name, "--library", str(self._library),
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self._running[name] = start(command, log)
        return name

    def kill(self, name: str) -> int:
        """SIGKILL for one worker; its pid."""
        process = self._running.pop(name)
        process.kill()
        process.wait()
        return process.pid

    def check(self) -> None:
        """Raises `DemoError` if one ended by itself."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise DemoError(f"{name} ended by itself; see\n{self._log.read_text('utf-8')}")

    def stop(self) -> None:
        """SIGTERM for all: they finish the job in hand and give back the others."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.wait(WORKER_ENDS_S)
        self._running.clear()

    def kill_all(self) -> None:
        """The end of a demo that broke off."""
        for name in list(self._running):
            self.kill(name)


def start(command: list[str], log: IO[bytes], **variables: str) -> subprocess.Popen[bytes]:
    """A process in a session of its own: Ctrl-C reaches us alone, and we end the others."""
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        command,
        cwd=root,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
