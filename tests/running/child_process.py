"""A real child of a worker, and this test as its parent: messages over a socket pair."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tenure.worker.pipe import frame, new_decoder, unpack
from tests.running.jobs import row

PATIENCE_S = 30


class Child:
    """A child process. Whatever happens to the test, it is gone when the block is left."""

    def __init__(
        self, directory: Path, source: str, role: str = "host", *options: str, app: str = "jobs:app"
    ) -> None:
        (directory / "jobs.py").write_text(source)
        self._ours, theirs = socket.socketpair()
        self._ours.settimeout(PATIENCE_S)
        self._decoder = new_decoder()
        self._came: deque[list[Any]] = deque()
        self._key = 0
        self._lines: list[str] = []
        self._told = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tenure.worker.child", f"--fd={theirs.fileno()}",
             f"--app={app}", f"--role={role}", "--slots=8", *options],
            cwd=directory, pass_fds=[theirs.fileno()], stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        self._fd = theirs.fileno()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._listener.join()
        self._ours.close()

    # -- messages ---------------------------------------------------------------------------

    def send(self, *messages: list[Any]) -> None:
        """Write messages, in one piece."""
        self._ours.sendall(b"".join(frame(message) for message in messages))

    def next(self) -> list[Any]:
        """The next message. Raises `EOFError` when the child has closed its end."""
        while not self._came:
            try:
                data = self._ours.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                raise EOFError(f"the child has closed its end: {self.errors()}")
            for body in self._decoder.feed(data):
                self._came += unpack(body)
        return self._came.popleft()

    def expect(self, kind: str) -> list[Any]:
        """The next message, which must be of this kind; what comes after the kind."""
        message = self.next()
        assert message[0] == kind, (message, self.errors())
        return message[1:]

    def ready(self) -> dict[str, Any]:
        """The manifest of the hello."""
        (manifest,) = self.expect("hello")
        return dict(manifest)

    def run(self, task: str, **arguments: Any) -> int:
        """Send one job; its key."""
        return self.run_all([(task, arguments)])[0]

    def run_all(self, jobs: list[tuple[str, dict[str, Any]]]) -> list[int]:
        """Send jobs in one message; their keys."""
        keys = []
        items = []
        for task, arguments in jobs:
            self._key += 1
            keys.append(self._key)
            items.append([self._key, row(task, **arguments)])
        self.send(["run", items])
        return keys

    def done(self, key: int) -> tuple[int, Any]:
        """The end of a job, which must be the next message: code and data."""
        said, code, data = self.expect("done")
        assert said == key
        return code, data

    # -- the process ----------------------------------------------------------------------------

    def hang_up(self) -> None:
        """Close our end, as a parent that dies does."""
        self._ours.close()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.process.pid, number)

    def pipe_flags(self) -> int:
        """The flags of the child's end of the pipe, as `fcntl` tells them."""
        told = Path(f"/proc/{self.process.pid}/fdinfo/{self._fd}").read_text()
        return int(told.partition("flags:")[2].split()[0], 8)

    def exit_status(self) -> int:
        """Wait for its end."""
        return self.process.wait(PATIENCE_S)

    def errors(self) -> str:
        """What it has written to stderr so far."""
        with self._told:
            return "".join(self._lines)

    def wait_for_errors(self, text: str, times: int = 1) -> str:
        """Wait until it has written `text` so many times; all it has written."""
        with self._told:
            assert self._told.wait_for(
                lambda: "".join(self._lines).count(text) >= times, PATIENCE_S
            ), self._lines
        return self.errors()

    def _listen(self) -> None:
        assert self.process.stderr is not None, "stderr is a pipe"
        with self.process.stderr as stderr:
            for line in stderr:
                with self._told:
                    self._lines.append(line.decode())
                    self._told.notify_all()
