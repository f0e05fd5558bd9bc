"""The command as a process, with or without a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

TENURE = [sys.executable, "-m", "tenure.cli"]
TIMEOUT_S = 60


def surroundings(url: str, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
    kept.pop("NO_COLOR", None)
    return {**kept, "TENURE_URL": url, "TERM": "xterm-256color", **more}


def tenure(
    url: str, *words: str, stdin: str | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TENURE, *words],
        env=surroundings(url, **more),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def read_json(url: str, *words: str) -> Any:
    done = tenure(url, *words, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


def on_terminal(url: str, *words: str, typed: bytes = b"", **more: str) -> tuple[int, str]:
    """Run on a pseudo-terminal of 120 columns; the exit code and all it wrote."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*TENURE, *words],
        env=surroundings(url, **{"COLUMNS": "120", "LINES": "40", **more}),
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    os.write(leader, typed)
    written = b""
    deadline = time.monotonic() + TIMEOUT_S
    try:
        while time.monotonic() < deadline:
            if not select.select([leader], [], [], 1)[0]:
                continue
            try:
                written += os.read(leader, 65_536)
            except OSError:
                break  # the other end is closed
        return process.wait(TIMEOUT_S), written.decode(errors="replace")
    finally:
        os.close(leader)
        if process.poll() is None:
            process.kill()
            process.wait()
