"""The processes around an example: its own broker, its workers, and their certain end.

    def story() -> int:
        with stage("mail", "examples.mail.tasks:app", "-c", "4") as on:
            on.workers.start_one()
            ...  # enqueue, wait, check
            on.workers.stop()
            on.broker.stop()
        return 0

    sys.exit(play(story))

Everything listens on free ports of 127.0.0.1 and lives in a temporary directory. An example
ends only processes that it started itself, and it ends all of them, whatever ends it itself
(but for kill -9).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

from tenure import JobHandle, ResultTimeout, TaskFailed

R = TypeVar("R")

ROOT = Path(__file__).resolve().parents[1]
STARTS_S = 20
ENDS_S = 30
LOOK_S = 0.02
WAITS_S = 2
"""How long to wait for a result before looking whether somebody works on it."""


class ExampleError(Exception):
    """The example cannot go on; the message is for the person who runs it."""


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
        """Starts the process and waits until it serves. Raises `ExampleError` if it does not."""
        port_file = self._place / "ports.json"
        port_file.unlink(missing_ok=True)
        command = [
            sys.executable, "-m", "tenure_server", "--data-dir", str(self._place / "data"),
            "--listen", self._listen, "--http", "off", "--port-file", str(port_file),
        ]  # fmt: skip
        with self.log.open("ab") as log:
            # A small capacity: the broker sets a share of it aside on the disk.
            self._process = start(command, log, {"TENURE_STORE_MAX_BYTES": "1GiB"})
        ends = time.monotonic() + STARTS_S
        while not port_file.exists():
            if self._process.poll() is not None or time.monotonic() > ends:
                raise ExampleError(f"the broker did not start:\n{self.log.read_text('utf-8')}")
            time.sleep(LOOK_S)
        # The second time it must be where the clients look for it.
        host, port = json.loads(port_file.read_text("utf-8"))["listen"]
        self._listen = f"{host}:{port}"

    def kill(self) -> None:
        """SIGKILL: no farewell, no commit."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, as an operator would. Raises `ExampleError` unless it ends with exit code 0."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(ENDS_S)
        if code != 0:
            text = self.log.read_text("utf-8")
            raise ExampleError(f"the broker ended with exit code {code}; see\n{text}")


class Workers:
    """`tenure worker` processes for one app, by name."""

    def __init__(
        self,
        name: str,
        app: str,
        arguments: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
    ) -> None:
        self._name = name
        self._command = [sys.executable, "-m", "tenure.cli", "worker", app, *arguments]
        self._environment = environment
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started = 0
        self.log = log

    def start_one(self) -> str:
        """Starts a worker and does not wait for it; its name."""
        self._started += 1
        name = f"{self._name}-worker-{self._started}"
        with self.log.open("ab") as log:
            command = [*self._command, "--name", name]
            self._running[name] = start(command, log, self._environment)
        return name

    def kill(self, name: str) -> int:
        """SIGKILL for one worker; its pid. The processes that it had started end by themselves."""
        process = self._running.pop(name)
        process.kill()
        process.wait()
        return process.pid

    def check(self) -> None:
        """Raises `ExampleError` if one ended by itself."""
        for name, process in self._running.items():
            if process.poll() is not None:
                text = self.log.read_text("utf-8")
                raise ExampleError(
                    f"{name} ended by itself, code {process.returncode}; see\n{text}"
                )

    def stop(self) -> None:
        """SIGTERM for all: they finish the jobs in hand. Raises `ExampleError` if one cannot."""
        for process in self._running.values():
            process.terminate()
        for name, process in self._running.items():
            code = process.wait(ENDS_S)
            if code != 0:
                text = self.log.read_text("utf-8")
                raise ExampleError(f"{name} ended with exit code {code}; see\n{text}")
        self._running.clear()

    def kill_all(self) -> None:
        """The end of an example that broke off."""
        for name in list(self._running):
            self.kill(name)


class Stage(NamedTuple):
    """What `stage` sets up."""

    broker: Broker
    workers: Workers
    place: Path
    """A directory for whatever the example needs; removed at the end."""
    environment: dict[str, str]
    """What the workers that are started from now on find in their environment."""

    def variables(self) -> dict[str, str]:
        """The whole environment for a program of the example."""
        return surroundings(self.environment)


@contextmanager
def stage(name: str, app: str, *arguments: str) -> Iterator[Stage]:
    """A broker that serves and no worker yet; everything is gone afterwards.

    `app` is "module:app" and `arguments` are further ones of `tenure worker`. TENURE_URL is
    set, so that the app of this process and those of the workers find the broker.
    """
    with tempfile.TemporaryDirectory(prefix=f"tenure-{name}-") as directory:
        place = Path(directory)
        broker = Broker(place)
        try:
            broker.start()
            os.environ["TENURE_URL"] = broker.url
            environment = {"TENURE_URL": broker.url}
            workers = Workers(name, app, arguments, place / "workers.log", environment)
            try:
                yield Stage(broker, workers, place, environment)
            finally:
                workers.kill_all()
        finally:
            broker.kill()


def start(
    command: Sequence[str], log: IO[bytes], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """A process in a session of its own: Ctrl-C reaches us alone, and we end the others."""
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=surroundings(environment),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def surroundings(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` in that of this process, without what the user's shell sets for Tenure."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
    return {**kept, **environment}


def wait_until(condition: Callable[[], bool], workers: Workers, within_s: float, what: str) -> None:
    """Looks again and again. Raises `ExampleError`, saying `what`, if it does not come about."""
    ends = time.monotonic() + within_s
    while not condition():
        workers.check()
        if time.monotonic() > ends:
            text = workers.log.read_text("utf-8")
            raise ExampleError(f"after {within_s:g} s still not: {what}; the workers say\n{text}")
        time.sleep(LOOK_S)


def end_of(job: JobHandle[R], workers: Workers, within_s: float = 60) -> R | TaskFailed:
    """Waits for the end of a job: its result, or why it has none.

    Raises `ExampleError` if it does not end in time, or if a worker ends by itself.
    """
    ends = time.monotonic() + within_s
    while True:
        try:
            return job.result(timeout=WAITS_S)
        except TaskFailed as failure:
            return failure
        except ResultTimeout as error:
            workers.check()
            if time.monotonic() > ends:
                text = workers.log.read_text("utf-8")
                raise ExampleError(f"{error}; the workers say\n{text}") from error


def play(story: Callable[[], int]) -> int:
    """Runs an example so that it tidies up whatever ends it; its exit code."""
    # A supervisor's SIGTERM must clean up like Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return story()
    except ExampleError as error:
        print(f"failed: {error}")
        return 1
    except KeyboardInterrupt:
        print("stopped; every process is ended and every file removed")
        return 130
