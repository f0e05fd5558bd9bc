"""The broker under test: `python -m tenure_server` in a process of its own."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 60.0
POLL_SECONDS = 0.001


class BrokerError(Exception):
    """The broker did not start or stop as it should; the message has the end of its log."""


@dataclass(slots=True, kw_only=True)
class Broker:
    """A running broker. `begun` is when its process was started (`time.monotonic`)."""

    process: subprocess.Popen[bytes]
    host: str
    port: int
    data_dir: Path
    begun: float

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def url(self) -> str:
        """What a client connects to."""
        return f"tenure://{self.host}:{self.port}"

    def stop(self, how: signal.Signals = signal.SIGTERM) -> float:
        """Ends the process and returns how many seconds that took."""
        begin = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise BrokerError(
                f"the broker did not stop in {STOP_SECONDS_MAX:.0f} s\n{_log_end(self.data_dir)}"
            ) from None
        return time.monotonic() - begin


def start_broker(data_dir: Path) -> Broker:
    """Starts a broker on a free loopback port and returns once it says where it listens."""
    data_dir.mkdir(parents=True, exist_ok=True)
    port_file = _beside(data_dir, "port.json")
    port_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tenure_server", "--data-dir", str(data_dir)]
    command += ["--listen", "127.0.0.1:0", "--http", "off", "--port-file", str(port_file)]
    with _beside(data_dir, "log").open("ab") as log:
        begun = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        host, port = _await_port(process, port_file, data_dir)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return Broker(process=process, host=host, port=port, data_dir=data_dir, begun=begun)


def _beside(data_dir: Path, what: str) -> Path:
    return data_dir.with_name(f"{data_dir.name}.{what}")


def _await_port(
    process: subprocess.Popen[bytes], port_file: Path, data_dir: Path
) -> tuple[str, int]:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            host, port = json.loads(port_file.read_text())["listen"]
            return str(host), int(port)
        if process.poll() is not None:
            raise BrokerError(
                f"the broker ended with code {process.returncode}\n{_log_end(data_dir)}"
            )
        time.sleep(POLL_SECONDS)
    raise BrokerError(f"the broker did not start in {START_SECONDS_MAX:.0f} s")


def _log_end(data_dir: Path) -> str:
    return _beside(data_dir, "log").read_text(errors="replace")[-2000:]


@contextlib.contextmanager
def running_broker(data_dir: Path) -> Iterator[Broker]:
    """A broker that is stopped at the end of the block, killed if the block raised."""
    broker = start_broker(data_dir)
    try:
        yield broker
    except BaseException:
        broker.process.kill()
        broker.process.wait()
        raise
    broker.stop()
