"""One child process: started, spoken to, listened to, and reaped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

from tenure.settings import mono_ms
from tenure.worker import pipe
from tenure.worker.held import Held
from tenure.worker.pipe import Role

TAIL_BYTES_MAX = 8 * 1024
"""How much of what a child wrote to stderr is kept for the history of a job that killed it."""

_DRAIN_S_MAX = 1.0
"""How long after a child's end what it had written is waited for: a process that it started
may hold the other ends open."""

_EOF_S_MAX = 5.0
"""How long a child may live on without its pipe."""

State = Literal["starting", "ready", "leaving", "dead"]


class Owner(Protocol):
    """Who is told what a child says."""

    def said(self, child: Child, messages: list[list[Any]]) -> None:
        """Messages of the child, oldest first."""
        ...

    def hung_up(self, child: Child) -> None:
        """Its end of the pipe is closed: it takes nothing more."""
        ...

    def ended(self, child: Child) -> None:
        """The process is gone, and everything that it said was told."""
        ...


class Child:
    """A process that runs jobs.

    - `jobs`: what it was given and has not ended, oldest first.
    - `stuck`: those of them that do not end, and were settled without it.
    - `doomed`: why we ended it ourselves; its death is nobody's fault then.
    """

    def __init__(self, role: Role, owner: Owner, stderr: Callable[[bytes], None]) -> None:
        self.role: Role = role
        self.state: State = "starting"
        self.jobs: dict[int, Held] = {}
        self.stuck: set[int] = set()
        self.manifest: dict[str, Any] = {}
        self.served = 0
        self.started_ms = mono_ms()
        self.turn_ms = 0
        self.quick = False
        self.doomed: str | None = None
        self.broken = False
        self.written = 0
        self.successor: Child | None = None
        self.returncode: int | None = None
        self._owner = owner
        self._stderr = stderr
        self._tail = bytearray()
        self._torn = False
        self._decoder = pipe.new_decoder(pipe.CHILD_FRAME_BYTES_MAX)
        self._process: subprocess.Popen[bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self._errors: asyncio.ReadTransport | None = None
        self._unsent: list[bytes] = []
        self._watch: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[None] = loop.create_future()
        self._closed: asyncio.Future[None] = loop.create_future()
        self._drained: asyncio.Future[None] = loop.create_future()

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    @property
    def fit(self) -> bool:
        """Whether what is sent to it can still be done: it is not dead, nor about to be."""
        return self.doomed is None and not self._closed.done()

    @property
    def last_lines(self) -> str:
        """The end of what it wrote to stderr."""
        return self._tail.decode("utf-8", "replace")

    def start(self, arguments: Iterable[str]) -> None:
        """Start the process. It says hello once it can run jobs."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        read_fd, write_fd = os.pipe()
        command = [sys.executable, "-m", "tenure.worker.child", "--fd", str(theirs.fileno())]
        command += ["--role", self.role, *arguments]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stderr=write_fd,
                pass_fds=[theirs.fileno()],
                # A group of its own: Ctrl-C is for the worker, which then decides; and
                # what the child has started ends with it.
                process_group=0,
            )
        except BaseException:
            ours.close()
            os.close(read_fd)
            raise
        finally:
            theirs.close()
            os.close(write_fd)
        self._watch = asyncio.create_task(self._follow(ours, read_fd))

    async def _follow(self, ours: socket.socket, read_fd: int) -> None:
        loop = asyncio.get_running_loop()
        assert self._process is not None
        _watch_exit(self._process, loop, self._exited)
        # Closed in the end, for what has left the group may keep the other end for ever.
        self._errors, _ = await loop.connect_read_pipe(
            lambda: _Errors(self), os.fdopen(read_fd, "rb", 0)
        )
        await loop.create_unix_connection(lambda: _Pipe(self), sock=ours)
        done, _ = await asyncio.wait(
            (self._exited, self._closed), return_when=asyncio.FIRST_COMPLETED
        )
        if self._exited not in done:
            await asyncio.wait((self._exited,), timeout=_EOF_S_MAX)
            self.kill(self.doomed)
            await self._exited
        await asyncio.wait((self._closed, self._drained), timeout=_DRAIN_S_MAX,
                           return_when=asyncio.ALL_COMPLETED)  # fmt: skip
        # What it started and left behind would hold its memory, files and ports. Before it is
        # waited for: as long as it is a zombie, nobody else has its number.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.returncode = self._process.wait()
        self.state = "dead"
        if self._transport is not None:
            self._transport.abort()
        if self._errors is not None:
            self._errors.close()
        self._owner.ended(self)

    async def wait(self) -> None:
        """Wait until it is gone and its owner knows."""
        if self._watch is not None:
            await asyncio.wait((self._watch,))

    # -- to the child -------------------------------------------------------------------

    def send(self, message: list[Any]) -> None:
        """Tell the child; what is told to a child that is gone is dropped."""
        data = pipe.frame(message)
        if self._transport is None:
            self._unsent.append(data)
        elif not self._transport.is_closing():
            self._transport.write(data)

    def run(self, jobs: list[Held]) -> None:
        """Give it jobs."""
        for held in jobs:
            held.child = self
            self.jobs[held.key] = held
        self.send([pipe.RUN, [[held.key, held.row] for held in jobs]])

    def leave(self) -> None:
        """Let it finish what it has, and end."""
        if self.state != "dead":
            self.state = "leaving"
            self.send([pipe.STOP])

    def kill(self, why: str | None) -> None:
        """End it at once, with all that it started. `why`: None if it is not our doing."""
        self.doomed = self.doomed or why
        if self._process is not None and not self._exited.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def dump_stacks(self) -> None:
        """Have it write its stacks to stderr, even if it holds the interpreter lock."""
        if self._process is not None and self.state in ("ready", "leaving"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGUSR2)

    # -- from the child -----------------------------------------------------------------

    def connected(self, transport: asyncio.Transport) -> None:
        """The pipe is there."""
        self._transport = transport
        if self._unsent:
            transport.write(b"".join(self._unsent))
            self._unsent.clear()

    def received(self, data: bytes) -> None:
        """Bytes of any number of messages."""
        if self._torn:
            return
        try:
            bodies = self._decoder.feed(data)
            messages = [message for body in bodies for message in pipe.unpack(body)]
        except Exception:
            # User code can reach the descriptor; what comes out of it then is no message, and
            # where the next one begins is unknown.
            self._torn = True
            self.kill(None)
            return
        self._owner.said(self, messages)

    def closed(self) -> None:
        """Its end of the pipe is closed."""
        if not self._closed.done():
            self._closed.set_result(None)
            self._owner.hung_up(self)

    def wrote(self, data: bytes) -> None:
        """Bytes that it wrote to stderr."""
        self.written += len(data)
        self._tail += data
        del self._tail[:-TAIL_BYTES_MAX]
        self._stderr(data)

    def drained(self) -> None:
        """Its stderr is closed."""
        if not self._drained.done():
            self._drained.set_result(None)


def _watch_exit(
    process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop, exited: asyncio.Future[None]
) -> None:
    def gone() -> None:
        if not exited.done():
            exited.set_result(None)

    if hasattr(os, "pidfd_open"):
        try:
            fd = os.pidfd_open(process.pid)
        except OSError:
            pass
        else:

            def readable() -> None:
                loop.remove_reader(fd)
                os.close(fd)
                gone()

            loop.add_reader(fd, readable)
            return

    def wait() -> None:
        process.wait()
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(gone)

    threading.Thread(target=wait, daemon=True).start()


class _Pipe(asyncio.Protocol):
    def __init__(self, child: Child) -> None:
        self._child = child

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._child.connected(transport)  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        self._child.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._child.closed()


class _Errors(asyncio.Protocol):
    def __init__(self, child: Child) -> None:
        self._child = child

    def data_received(self, data: bytes) -> None:
        self._child.wrote(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._child.drained()
