"""A worker as a process, a broker beside it, and what a test waits for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

SECONDS_MAX = 60.0
APP_DIR = Path(__file__).parent
APP = "sample_app:app"


def eventually(condition: Callable[[], object], seconds: float = SECONDS_MAX) -> None:
    """Look until `condition` holds; there is no event to wait for across processes."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.01)


def lines_of(path: Path | str) -> list[str]:
    """What was noted in a file so far."""
    try:
        return Path(path).read_text().splitlines()
    except FileNotFoundError:
        return []


class WorkerProcess:
    """`tenure worker` on an app; killed with all its children when the `with` block is left."""

    def __init__(
        self, url: str, directory: Path, *words: str, app: str = APP, app_dir: Path = APP_DIR,
        name: str = "worker", environment: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.log_path = directory / f"{name}.log"
        self.health_file = directory / f"{name}.ready"
        self.name = name
        command = [sys.executable, "-m", "tenure.worker", app, "--app-dir", str(app_dir)]
        command += ["--name", name, "--health-file", str(self.health_file), *words]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("TENURE_")}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**kept, "TENURE_URL": url, **(environment or {})},
            )

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self.log_path.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The worker's own process."""
        return self.process.pid

    def children(self) -> list[int]:
        """The processes that run user code."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(word) for word in path.read_text().split()]

    def ready(self) -> Self:
        """Wait until it consumes."""
        eventually(lambda: self.health_file.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log
        return self

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = SECONDS_MAX) -> int:
        """Wait for its end. Returns the exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker does not end:\n{self.log}") from None

    def stop(self) -> int:
        """TERM, and wait for the end."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        children = [] if self.process.poll() is not None else self.children()
        self.process.kill()
        self.process.wait()
        for pid in children:
            eventually(lambda pid=pid: is_gone(pid))  # type: ignore[misc]
        if error is not None:
            print(self.log, file=sys.stderr)


def is_gone(pid: int) -> bool:
    """Whether a process has ended (it may wait for its parent to notice)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


@contextmanager
def using_url(url: str) -> Iterator[None]:
    """The apps of this process find the broker there."""
    old = os.environ.get("TENURE_URL")
    os.environ["TENURE_URL"] = url
    try:
        yield
    finally:
        if old is None:
            del os.environ["TENURE_URL"]
        else:
            os.environ["TENURE_URL"] = old
