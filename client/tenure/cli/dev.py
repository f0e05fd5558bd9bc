"""`tenure dev`: a broker and a worker with reload, in one terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import click

from tenure.cli.errors import CliError, Exit
from tenure.cli.server import need_extra
from tenure.cli.worker import check_app, check_app_dir

_NEEDED = ("lmdb", "structlog", "starlette", "uvicorn", "prometheus_client")
_START_S_MAX = 30.0
_LOOK_S = 0.02
_STOP_S_MAX = 45.0

_COLOURS = {"broker": "\x1b[35m", "worker": "\x1b[36m", "dev": "\x1b[2m"}
_PLAIN = "\x1b[0m"

_EPILOG = """\
\b
Examples:
  tenure dev shop.tasks:app
  tenure dev shop.tasks:app --data-dir ./data --listen 127.0.0.1:7733
"""


@click.command(epilog=_EPILOG)
@click.argument("app", metavar="MODULE:APP")
@click.option("--data-dir", metavar="DIR", help="Where jobs are kept.  [a temporary directory]")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:7733",
    show_default=True,
    help="Where clients connect; port 0 for a free one.",
)
@click.option("-q", "--queues", metavar="QUEUES", help="What to work on.  [the app's queues]")
@click.option("-c", "--concurrency", type=int, metavar="N", help="Jobs at a time.")
@click.option("--pool", "pools", multiple=True, metavar="POOL", help="As for tenure worker.")
@click.option(
    "--app-dir", metavar="DIR", default=".", help="Where MODULE is looked for first.  [.]"
)
def dev(
    app: str,
    data_dir: str | None,
    listen: str,
    queues: str | None,
    concurrency: int | None,
    pools: tuple[str, ...],
    app_dir: str,
) -> None:
    """Run a broker and a worker for MODULE:APP; the worker starts again when a file changes.

    Ctrl-C ends both, the worker first.
    """
    need_extra(_NEEDED, "tenure dev")
    check_app(app)
    check_app_dir(app_dir)
    words = [app, "--reload", "--app-dir", app_dir]
    words += [] if queues is None else ["--queues", queues]
    words += [] if concurrency is None else ["--concurrency", str(concurrency)]
    words += [word for pool in pools for word in ("--pool", pool)]
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tenure-dev-")))
        sys.exit(_run(words, Path(data_dir) if data_dir else scratch / "data", listen, scratch))


def _run(words: list[str], data_dir: Path, listen: str, scratch: Path) -> int:
    say = _Printer()
    with _interruptible() as interrupted:
        port_file = scratch / "port.json"
        broker = _Process(
            "broker",
            ["-m", "tenure_server", "--data-dir", str(data_dir), "--listen", listen,
             "--http", "off", "--port-file", str(port_file), "--log-format", "console"],
            say, {},
        )  # fmt: skip
        try:
            url = _wait_for_broker(broker, port_file, interrupted)
            if url is None:
                return Exit.OK
            kept = "" if data_dir.parent != scratch else " (temporary: gone when this ends)"
            say("dev", f"broker at {url}, data in {data_dir}{kept}; Ctrl-C ends both")
            say("dev", f"enqueue from another terminal with  TENURE_URL={url}")
            # Said outright: an app with a broker of its own must not reach it from here.
            command = ["-m", "tenure.worker", *words, "--url", url]
            worker = _Process("worker", command, say, {"TENURE_URL": url})
            try:
                return _watch(broker, worker, interrupted, say)
            finally:
                worker.stop()
        finally:
            broker.stop()


def _wait_for_broker(
    broker: _Process, port_file: Path, interrupted: Callable[[], int]
) -> str | None:
    end = time.monotonic() + _START_S_MAX
    while time.monotonic() < end and not interrupted():
        try:
            host, port = json.loads(port_file.read_text())["listen"]
        except (OSError, ValueError):
            pass
        else:
            return f"tenure://{host}:{port}"
        if broker.wait(_LOOK_S) is not None:
            raise CliError("the broker did not start; what it said is above", Exit.FAILED)
    if interrupted():
        return None
    raise CliError(f"the broker does not listen after {_START_S_MAX:.0f} s", Exit.FAILED)


def _watch(
    broker: _Process, worker: _Process, interrupted: Callable[[], int], say: _Printer
) -> int:
    """Until Ctrl-C, or until one of the two ends by itself."""
    while not interrupted():
        code = worker.wait(0.2)
        if code is not None:
            say("dev", f"the worker ended with {code}")
            return code or Exit.OK
        if broker.wait(0) is not None:
            say("dev", "the broker ended")
            return Exit.FAILED
    say("dev", "stopping; Ctrl-C again stops at once")
    worker.signal(signal.SIGTERM)
    end = time.monotonic() + _STOP_S_MAX
    told = interrupted()
    while worker.wait(0.1) is None and time.monotonic() < end:
        if interrupted() > told:
            told = interrupted()
            worker.signal(signal.SIGTERM)
    return Exit.OK


@contextmanager
def _interruptible() -> Iterator[Callable[[], int]]:
    """Counts INT and TERM instead of ending by them."""
    count = 0

    def caught(number: int, frame: object) -> None:
        nonlocal count
        count += 1

    old = {number: signal.signal(number, caught) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: count
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


class _Printer:
    """Lines of several sources on one terminal, each with its name in front."""

    def __init__(self) -> None:
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._lock = threading.Lock()

    def __call__(self, source: str, line: str) -> None:
        mark, plain = (_COLOURS[source], _PLAIN) if self._colour else ("", "")
        with self._lock:
            print(f"{mark}{source:<6} |{plain} {line}", flush=True)


class _Process:
    """One of the two: its output goes to the printer line by line."""

    def __init__(self, name: str, words: list[str], say: _Printer, more: dict[str, str]) -> None:
        self._name = name
        self._say = say
        self._process = subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **more},
            # Ctrl-C reaches this process alone, which then ends the two in order.
            process_group=0,
        )
        assert self._process.stdout is not None
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), daemon=True
        )
        self._reader.start()

    def _read(self, out: IO[bytes]) -> None:
        for line in out:
            self._say(self._name, line.decode("utf-8", "replace").rstrip())

    def wait(self, timeout_s: float) -> int | None:
        """The exit code, or None if it runs on."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing if it is gone."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """TERM, and KILL if that does not help."""
        self.signal(signal.SIGTERM)
        if self.wait(_STOP_S_MAX) is None:
            self._process.kill()
            self._process.wait()
        self._reader.join(2)
