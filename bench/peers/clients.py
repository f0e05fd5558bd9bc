"""The parent's side of the client processes: start, hold, let go, read what they did."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import asdict

from bench.peers.catalog import Peer
from bench.peers.launches import ROOT
from bench.peers.load import Order, Outcome
from bench.peers.supervision import descendants, signal_all

END_SECONDS_MAX = 30.0


class ClientError(Exception):
    """A client process ended badly or did not do all of its work."""


class ClientProcess:
    """One client process of a peer."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def await_ready(self) -> None:
        """Until it says that it is ready. Raises `ClientError` if it ends instead."""
        self._line()

    def go(self) -> None:
        """Lets it work."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("go\n")
            self._process.stdin.flush()

    def outcome(self) -> Outcome:
        """Waits for the end of its work. Raises `ClientError`."""
        outcome = Outcome(**json.loads(self._line()))
        if outcome.errors:
            raise ClientError("; ".join(outcome.errors))
        return outcome

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return line
        code, error = self._process.wait(), ""
        if self._process.stderr is not None:
            error = self._process.stderr.read()[-1500:]
        raise ClientError(f"a client process ended with code {code}\n{error}")


def order_for(peer: Peer, port: int, role: str, **work: object) -> Order:
    """An order for a client of `peer`; `work` are the other fields of `Order`."""
    fields = {"role": role, "driver": peer.driver, "mode": peer.mode, "port": port, **work}
    return Order(**fields)  # type: ignore[arg-type]


@contextlib.contextmanager
def client(peer: Peer, order: Order) -> Iterator[ClientProcess]:
    """A client process that has not been let go; it does not outlive the block."""
    command = [str(peer.python), "-m", "bench.peers.load", json.dumps(asdict(order))]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield ClientProcess(process)
        process.wait(END_SECONDS_MAX)
    finally:
        if process.poll() is None:
            signal_all(descendants(process.pid), signal.SIGKILL)
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def do(peer: Peer, order: Order) -> Outcome:
    """One client process from its start to its end, when nobody looks at the clock."""
    with client(peer, order) as process:
        process.await_ready()
        process.go()
        return process.outcome()
