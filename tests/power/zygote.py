"""Starts parts of the product quickly: a process under the shim that has imported them, and forks.

`Zygote` is the other end of it, for the tests. Each fork records, and fails, as it is told.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.power.launch import BLOCK_BYTES, prepare, run
from tests.power.shim import ROOT, SETTINGS

_POLL_S = 0.002


class Failure(NamedTuple):
    """Which call is to fail: the `number`th of these kinds, and, if `persist`, all after it."""

    kinds: int
    number: int
    error: int
    persist: bool


NEVER = Failure(0, 0, 0, False)


class Zygote:
    """The process, as a context."""

    def __init__(self, library: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.power.zygote", str(library)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **SETTINGS, "LD_PRELOAD": str(library)},
        )

    def _ask(self, **what: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process that starts all others has ended"
        return json.loads(answer)

    def start(
        self,
        *arguments: str,
        trace: Path,
        root: Path,
        log: Path,
        failure: Failure = NEVER,
        journal_blocks: int = 16,
        unsynced: str = "",
        slow_us: int = 0,
        control: str = "",
    ) -> int:
        """Starts `server ...`, `cli ...` or `open ...`; its process id. See `Stage` for the rest."""
        pid: int = self._ask(
            run=arguments,
            trace=str(trace),
            root=str(root),
            log=str(log),
            failure=list(failure),
            journal_bytes=journal_blocks * BLOCK_BYTES,
            unsynced=unsynced,
            slow_us=slow_us,
            control=control,
        )
        return pid

    def wait(self, pid: int, timeout_s: float) -> int | None:
        """Its exit code (negative: the signal that ended it), or None if it goes on."""
        code: int | None = self._ask(wait=pid, timeout_s=timeout_s)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()


class Forked:
    """A process that a zygote started, to be used like one of `subprocess`."""

    def __init__(self, zygote: Zygote, pid: int) -> None:
        self._zygote, self.pid = zygote, pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or None."""
        return self._after(0)

    def wait(self, timeout: float) -> int:
        """Its exit code. Raises `subprocess.TimeoutExpired`."""
        code = self._after(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a fork", timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Sends it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _after(self, timeout_s: float) -> int | None:
        if self._code is None:
            self._code = self._zygote.wait(self.pid, timeout_s)
        return self._code


# ---- in the process -------------------------------------------------------------------------


def main() -> None:
    """Forks on demand until there is no more."""
    for module in ("tenure.cli", "tenure.cli.store", "tenure.cli.backup", "tenure_server.broker"):
        importlib.import_module(module)

    shim = ctypes.CDLL(sys.argv[1])
    running: set[int] = set()
    for line in sys.stdin:
        told = json.loads(line)
        if "run" in told:
            pid = os.fork()
            if pid == 0:
                _child(shim, told)
            running.add(pid)
            answer: object = pid
        else:
            answer = _wait(told["wait"], told["timeout_s"])
            if answer is not None:
                running.discard(told["wait"])
        print(json.dumps(answer), flush=True)
    for pid in running:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _wait(pid: int, timeout_s: float) -> int | None:
    end = time.monotonic() + timeout_s
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(_POLL_S)


def _child(shim: Any, told: dict[str, Any]) -> None:
    code = 1
    try:
        log = os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        prepare(told["journal_bytes"], told["control"])
        kinds, number, error, persist = told["failure"]
        shim.power_syncs(told["unsynced"].encode(), told["slow_us"])
        shim.power_begin(told["trace"].encode(), told["root"].encode())
        shim.power_fail(kinds, ctypes.c_int64(number), error, int(persist))
        code = run(told["run"][0], told["run"][1:])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
