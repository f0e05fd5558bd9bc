"""A real broker in a process of its own: started on a free port, stopped, killed, always reaped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

START_S_MAX = 30.0
"""How long a broker may take until it listens."""

STOP_S_MAX = 30.0
"""How long a broker may take to stop after SIGTERM."""

STORE_BYTES_MAX = 4 << 30
"""What its store may hold, unless told otherwise: it reserves 64 MiB of disk then, the least."""

_LOOK_S = 0.01


class ServerProcess:
    """`python -m tenure_server` on a free port of 127.0.0.1, with its data below `directory`.

    After `stop` or `kill`, `start` runs it again with the same data on the same port; `with`
    starts and stops it. What it writes to stderr is in `log`. `http` is where it shall serve
    metrics, `environment` is added to its own, and `launcher` is put before its command line.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        http: str = "off",
        environment: Mapping[str, str] | None = None,
        launcher: Sequence[str] = (),
    ) -> None:
        self.data_dir = directory / "data"
        self.log_path = directory / "broker.log"
        self.http: tuple[str, int] | None = None
        """Where it serves metrics, if it does."""
        self._port_file = directory / "port.json"
        self._http = http
        self._arguments = arguments
        self._environment = environment or {}
        self._launcher = launcher
        self._process: subprocess.Popen[bytes] | None = None
        self._listen = "127.0.0.1:0"

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"tenure://{self._listen}"

    @property
    def pid(self) -> int:
        """The process that runs now. Raises `RuntimeError` when none does."""
        if self._process is None:
            raise RuntimeError("the broker does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def listening(self) -> bool:
        """Whether it has said where it listens, since it was last started."""
        return self._port_file.exists()

    @property
    def log(self) -> str:
        """What it wrote to stderr so far, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def start(self) -> Self:
        """Run it, and wait until it listens. Raises `RuntimeError` with its log if it does not."""
        self.spawn()
        try:
            return self.wait_until_it_listens()
        except BaseException:
            self.kill()
            raise

    def spawn(self) -> Self:
        """Run it, and do not wait. Raises `RuntimeError` if it runs already."""
        if self._process is not None:
            raise RuntimeError("the broker runs already")
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self._port_file.unlink(missing_ok=True)
        command = [*self._launcher, sys.executable, "-m", "tenure_server"]
        command += ["--data-dir", str(self.data_dir), "--listen", self._listen]
        command += ["--http", self._http, "--port-file", str(self._port_file), *self._arguments]
        environment = {**_environment(), **self._environment}
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        return self

    def wait_until_it_listens(self) -> Self:
        """Wait until it does, after `spawn`. Raises `RuntimeError` with its log if it does not."""
        told = self._read_port_file()
        host, port = told["listen"]
        self._listen = f"{host}:{port}"
        self.http = None if told["http"] is None else (told["http"][0], told["http"][1])
        return self

    def wait(self, timeout_s: float = STOP_S_MAX) -> int:
        """Wait until it ends by itself. Returns the exit code."""
        if self._process is None:
            raise RuntimeError("the broker does not run")
        code = self._process.wait(timeout_s)
        self._process = None
        return code

    def stop(self) -> int:
        """End it as a service manager does, and wait. Returns the exit code, 0 if it did not run."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """Kill it (SIGKILL), and wait. Returns the exit code, 0 if it did not run."""
        return self._end(signal.SIGKILL)

    def restart(self, *, kill: bool = False) -> Self:
        """Stop or kill it, and run it again with the same data and port."""
        if kill:
            self.kill()
        else:
            self.stop()
        return self.start()

    def __enter__(self) -> Self:
        return self if self._process is not None else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()

    @contextmanager
    def serving_apps(self) -> Iterator[Self]:
        """Within the block every `App` of this process is connected to this broker."""
        from tenure.tasks.connections import using
        from tenure.testing.sources import ServerSource

        source = ServerSource(self.url)
        try:
            with using(source):
                yield self
        finally:
            source.close()

    def _read_port_file(self) -> dict[str, Any]:
        # A file has no event to wait for; looked at until it is whole, and for a bounded time.
        if self._process is None:
            raise RuntimeError("the broker does not run")
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
            raise RuntimeError(f"the broker ended with {code} at its start:\n{self.log}")
        raise RuntimeError(f"the broker does not listen after {START_S_MAX} s:\n{self.log}")

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
            raise RuntimeError(f"the broker did not stop:\n{self.log}") from None


def _environment() -> dict[str, str]:
    # Settings of the developer's own broker are not meant for this one.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
    return {**kept, "TENURE_STORE_MAX_BYTES": str(STORE_BYTES_MAX)}
