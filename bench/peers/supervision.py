"""A server process with everything below it: started, paused, measured, ended by its ids."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.peers.contract import HOST
from bench.procfs import DISK_BLOCK_BYTES, Memory, cpu_seconds, memory_of

PORT_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 60.0
POLL_SECONDS = 0.002


class ServerError(Exception):
    """A server did not start or stop as it should; the message has the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start a server.

    `user` is whom it runs as when we are root. `before` are commands to run to their end
    first, `beside` is one that has to run as long as the server does.
    """

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    stop_signal: signal.Signals = signal.SIGTERM
    before: Sequence[Sequence[str]] = ()
    beside: Sequence[str] = ()


@dataclass(slots=True, kw_only=True)
class Server:
    """A running server. `begun` is when its process was started (`time.monotonic`)."""

    launch: Launch
    directory: Path
    port: int
    process: subprocess.Popen[bytes]
    begun: float
    helper: subprocess.Popen[bytes] | None = None

    def pids(self) -> list[int]:
        """The server's process and all below it."""
        return descendants(self.process.pid)

    def stop(self) -> float:
        """Asks the server to end; kills what does not. Returns the seconds that took."""
        begin = time.monotonic()
        pids = self.pids()
        signal_all(pids, signal.SIGCONT)
        if self.process.poll() is None:
            self.process.send_signal(self.launch.stop_signal)
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerError(f"it did not end in {STOP_SECONDS_MAX:.0f} s") from None
        seconds = time.monotonic() - begin
        _await_end(pids)
        self._end_helper()
        return seconds

    def kill(self) -> None:
        """SIGKILL to the server and to everything below it."""
        pids = self.pids()
        signal_all(pids, signal.SIGKILL)
        self.process.wait()
        _await_end(pids)
        self._end_helper()

    def pause(self) -> None:
        """Keeps an idle server from disturbing the one that is measured."""
        signal_all(self.pids(), signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it run again."""
        signal_all(self.pids(), signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """CPU time of all its processes so far."""
        return sum(cpu_seconds(pid) for pid in self.pids())

    def memory(self) -> Memory:
        """Memory of all its processes; pages that they share are counted once."""
        pss = anonymous = 0
        for pid in self.pids():
            with contextlib.suppress(OSError, KeyError):
                one = memory_of(pid)
                pss += one.pss_bytes
                anonymous += one.anonymous_bytes
        return Memory(pss_bytes=pss, anonymous_bytes=anonymous)

    def _end_helper(self) -> None:
        if self.helper is not None:
            self.helper.kill()
            self.helper.wait()


def start_server(launch: Launch, directory: Path, port: int) -> Server:
    """Starts a server in `directory` and returns once its port is open.

    Raises `ServerError` when it ends or takes too long; nothing is left running then.
    """
    log_path = directory.with_name(f"{directory.name}.log")
    with log_path.open("ab") as log:
        for command in launch.before:
            done = _spawn(launch, command, directory, log.fileno()).wait()
            if done:
                raise ServerError(f"{command[0]} ended with code {done}\n{_end_of(log_path)}")
        helper = None
        if launch.beside:
            helper = _spawn(launch, launch.beside, directory, log.fileno())
        begun = time.monotonic()
        try:
            process = _spawn(launch, launch.argv, directory, log.fileno())
        except BaseException:
            if helper is not None:
                helper.kill()
                helper.wait()
            raise
    server = Server(
        launch=launch, directory=directory, port=port, process=process, begun=begun, helper=helper
    )
    try:
        _await_port(server, log_path)
    except BaseException:
        server.kill()
        raise
    return server


def own(path: Path, user: str) -> None:
    """Gives a directory to the user that a server runs as, if we are root."""
    if user and os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def descendants(pid: int) -> list[int]:
    """A process and everything below it, itself first."""
    below: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
            below.setdefault(parent, []).append(int(stat.parent.name))
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += below.get(one, [])
    return found


def disk_bytes(directory: Path) -> int:
    """Space that the files below `directory` take on the disk, while they come and go."""
    total = 0
    for where, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(where, name)).st_blocks * DISK_BLOCK_BYTES
    return total


@contextlib.contextmanager
def killed_at_the_end(server: Server) -> Iterator[Server]:
    """A server that does not outlive the block, whatever happens."""
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()


def _spawn(
    launch: Launch, command: Sequence[str], directory: Path, log: int
) -> subprocess.Popen[bytes]:
    user = launch.user if os.geteuid() == 0 else ""
    entry = pwd.getpwnam(user) if user else None
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, **launch.environment},
        cwd=directory,
        start_new_session=True,
        user=entry.pw_uid if entry else None,
        group=entry.pw_gid if entry else None,
        extra_groups=[] if entry else None,
    )


def _await_port(server: Server, log_path: Path) -> None:
    deadline = time.monotonic() + PORT_SECONDS_MAX
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((HOST, server.port), 0.5):
            return
        if server.process.poll() is not None:
            code = server.process.returncode
            raise ServerError(f"it ended with code {code}\n{_end_of(log_path)}")
        time.sleep(POLL_SECONDS)
    raise ServerError(f"no port in {PORT_SECONDS_MAX:.0f} s\n{_end_of(log_path)}")


def signal_all(pids: Iterable[int], what: signal.Signals) -> None:
    """A signal to each of these processes that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)


def _await_end(pids: Sequence[int]) -> None:
    """Children of an ended server end by themselves, or are helped to."""
    deadline = time.monotonic() + STOP_SECONDS_MAX / 10
    while any(map(lives, pids)):
        if time.monotonic() > deadline:
            signal_all(pids, signal.SIGKILL)
            return
        time.sleep(POLL_SECONDS)


def lives(pid: int) -> bool:
    """Whether a process is there and has not ended (an orphan may wait for its burial)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def _end_of(log_path: Path) -> str:
    return log_path.read_text(errors="replace")[-2000:]
