"""A real broker in a process of its own, for tests: started, stopped, killed, always reaped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

START_S_MAX = 30.0
"""How long a broker may take to write its port file."""

STOP_S_MAX = 30.0
"""How long a broker may take to stop after SIGTERM."""

_LOOK_S = 0.01


class BrokerProcess:
    """`python -m tenure_server` on a free port of 127.0.0.1, with its data below `directory`.

    Leaving the `with` block stops it. After `kill` or `stop`, `start` runs it again with the
    same data on the same port. What it writes to stderr is in `log_path`.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        http: str = "off",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = directory / "data"
        self.log_path = directory / "broker.log"
        self._port_file = directory / "port.json"
        self._arguments: Sequence[str] = arguments
        self._http = http
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.host = "127.0.0.1"
        self.port = 0
        self.http: tuple[str, int] | None = None

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"tenure://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """The process that runs now."""
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it wrote to stderr so far, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def start(self) -> Self:
        """Run it, and wait until it listens."""
        assert self._process is None, "the broker is running"
        self._port_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tenure_server"]
        command += ["--data-dir", str(self.data_dir), "--listen", f"{self.host}:{self.port}"]
        command += ["--http", self._http, "--port-file", str(self._port_file), *self._arguments]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        try:
            told = self._wait_for_port_file()
        except BaseException:
            self.kill()
            raise
        self.host, self.port = told["listen"]
        self.http = None if told["http"] is None else (told["http"][0], told["http"][1])
        return self

    def _wait_for_port_file(self) -> dict[str, Any]:
        # A file has no event to wait for; looked at until it is whole, and for a bounded time.
        assert self._process is not None
        end = time.monotonic() + START_S_MAX
        while time.monotonic() < end:
            try:
                told: dict[str, Any] = json.loads(self._port_file.read_text())
            except (FileNotFoundError, json.JSONDecodeError):
                pass
            else:
                return told
            try:
                code = self._process.wait(_LOOK_S)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"the broker ended with {code} at its start:\n{self.log}")
        raise AssertionError(f"the broker does not listen after {START_S_MAX} s:\n{self.log}")

    def stop(self) -> int:
        """SIGTERM, and wait for the end. Returns the exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL, and wait for the end. Returns the exit code."""
        return self._end(signal.SIGKILL)

    def restart(self, *, kill: bool = False) -> Self:
        """End it, by SIGTERM or SIGKILL, and run it again with the same data and port."""
        if kill:
            self.kill()
        else:
            self.stop()
        return self.start()

    def wait(self, timeout_s: float = STOP_S_MAX) -> int:
        """Wait until it ends by itself. Returns the exit code."""
        assert self._process is not None, "the broker is not running"
        code = self._process.wait(timeout_s)
        self._process = None
        return code

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the broker did not stop:\n{self.log}") from None

    def __enter__(self) -> Self:
        return self if self._process is not None else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()
