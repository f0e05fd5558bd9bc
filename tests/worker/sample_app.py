"""The app that the workers of these tests run. It is imported by their children only."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from tenure import App, current_job

app = App(queue="work", result_ttl="1h")


def note(path: str, text: str) -> None:
    """A line of a file, whole whatever happens to this process."""
    with open(path, "a") as file:
        file.write(text + "\n")


def wait_for(path: str) -> None:
    """Until somebody makes the file."""
    while not Path(path).exists():
        time.sleep(0.01)


@app.task
async def on_loop(n: int) -> list[object]:
    return [n, os.getpid(), threading.current_thread() is threading.main_thread()]


@app.task
def in_thread(n: int) -> list[object]:
    return [n, os.getpid(), threading.current_thread() is threading.main_thread()]


@app.task(executor="process")
def in_process(n: int) -> list[object]:
    return [n, os.getpid(), threading.current_thread() is threading.main_thread()]


@app.task(executor="isolated")
def isolated(n: int) -> list[object]:
    return [n, os.getpid(), threading.current_thread() is threading.main_thread()]


@app.task
def count(path: str, text: str, seconds: float = 0.0) -> None:
    time.sleep(seconds)
    note(path, text)


@app.task
async def acount(path: str, text: str, seconds: float = 0.0) -> None:
    await asyncio.sleep(seconds)
    note(path, text)


@app.task
def gate(path: str) -> str:
    """Tells that it began, and waits for its gate."""
    note(path + ".begun", str(current_job().attempt))
    wait_for(path)
    return "through"


@app.task(executor="process")
def process_gate(path: str) -> str:
    note(path + ".begun", str(current_job().attempt))
    wait_for(path)
    return "through"


@app.task
async def agate(path: str) -> str:
    note(path + ".begun", str(current_job().attempt))
    try:
        while not os.path.exists(path):  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        note(path + ".cancelled", str(current_job().attempt))
        raise
    return "through"


@app.task
def watches(path: str) -> str:
    """A sync task that looks whether it is cancelled."""
    note(path + ".begun", str(current_job().attempt))
    try:
        while not current_job().cancelled:
            time.sleep(0.01)
        current_job().raise_if_cancelled()
    finally:
        note(path + ".cancelled", str(current_job().attempt))
    return "not cancelled"


@app.task(lease="1s")
def holds_the_gil(path: str, seconds: float) -> str:
    note(path + ".begun", str(current_job().attempt))
    ctypes.PyDLL(None).usleep(ctypes.c_uint(int(seconds * 1_000_000)))
    return "held"


@app.task(executor="process", lease="1s")
def process_holds_the_gil(path: str, seconds: float) -> str:
    note(path + ".begun", str(current_job().attempt))
    ctypes.PyDLL(None).usleep(ctypes.c_uint(int(seconds * 1_000_000)))
    return "held"


def _die(how: str) -> None:
    print("these are my last lines", file=sys.stderr, flush=True)
    if how == "exit":
        os._exit(3)
    elif how == "segfault":
        ctypes.string_at(0)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


@app.task(executor="process")
def dies(how: str) -> None:
    _die(how)


@app.task
def dies_in_thread(how: str, path: str = "") -> None:
    if path:
        note(path + ".begun", "dies")
        wait_for(path)
    _die(how)


@app.task(timeout="500ms", max_attempts=1)
def too_long(path: str) -> None:
    note(path + ".begun", "x")
    wait_for(path)


@app.task(timeout="500ms", max_attempts=1)
def stuck(path: str) -> None:
    """Waits where no exception reaches it."""
    note(path + ".begun", "x")
    threading.Event().wait(3600)


@app.task(timeout="500ms", max_attempts=1)
async def too_long_async(path: str) -> None:
    note(path + ".begun", "x")
    await asyncio.sleep(3600)


@app.task(timeout="500ms", max_attempts=1, executor="process")
def too_long_process(path: str) -> None:
    note(path + ".begun", "x")
    wait_for(path)


@app.task(timeout="500ms", max_attempts=1, executor="isolated")
def too_long_isolated(path: str) -> None:
    note(path + ".begun", "x")
    wait_for(path)


@app.task(soft_timeout="300ms", max_attempts=1)
async def soft_async() -> None:
    await asyncio.sleep(3600)


@app.task(soft_timeout="300ms", max_attempts=1)
def soft_thread() -> None:
    while True:
        time.sleep(0.01)


@app.task(soft_timeout="300ms", max_attempts=1, executor="process")
def soft_process() -> None:
    time.sleep(3600)


_hoard: list[bytes] = []


@app.task
def eats(mib: int) -> int:
    _hoard.append(b"x" * (mib * 1024 * 1024))
    return os.getpid()


@app.task
def big(count_bytes: int) -> bytes:
    return os.urandom(count_bytes)  # nothing makes it shorter


@app.task
async def enqueues(n: int) -> None:
    if n:
        await enqueues.aenqueue(n - 1)


@app.task
def tells(lines: int) -> None:
    job = current_job()
    for number in range(lines):
        job.progress(number + 1, lines, "telling")
        job.log.info(f"line {number}")


@app.on("job.dead")
def buried(event: object) -> None:
    path = os.environ.get("TENURE_TEST_HOOKS")
    if path:
        note(path, f"{getattr(event, 'kind', '')} {getattr(event, 'task', '')}")


@app.task
def writes_into_the_pipe() -> None:
    os.write(int(sys.argv[sys.argv.index("--fd") + 1]), b"hello\n")


@app.task
def starts_a_program(path: str) -> None:
    with subprocess.Popen(["sleep", "3600"]) as program:
        note(path, str(program.pid))
