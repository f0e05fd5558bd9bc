"""beanstalkd through a socket: its protocol is lines of text."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence

from bench.peers.contract import HOST, Driver, Target, chunks, take_in_batches

IN_FLIGHT = 100
LEASE_SECONDS = 60
POLL_SECONDS = 0.001


class BeanstalkdError(Exception):
    """The server said something else than what was expected."""


class BeanstalkdText:
    """The default tube."""

    def __init__(self, target: Target) -> None:
        self._port = target.port

    async def connect(self) -> None:
        """Opens the connection; tubes need no making."""
        self._socket = socket.create_connection((HOST, self._port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self._socket.makefile("rb")

    async def put(self, body: bytes) -> None:
        """put."""
        self._socket.sendall(_put(body))
        self._expect(b"INSERTED")

    async def put_many(self, bodies: Sequence[bytes]) -> None:
        """A hundred puts in flight."""
        for chunk in chunks(bodies, IN_FLIGHT):
            self._socket.sendall(b"".join(map(_put, chunk)))
            for _ in chunk:
                self._expect(b"INSERTED")

    async def put_all(self, bodies: Iterator[bytes]) -> None:
        """A hundred puts in flight: more bring no more."""
        for chunk in chunks(bodies, IN_FLIGHT):
            await self.put_many(chunk)

    async def take(self) -> int:
        """reserve-with-timeout, delete."""
        self._socket.sendall(b"reserve-with-timeout 1\r\n")
        job = self._reserved()
        if job is None:
            return 0
        self._socket.sendall(b"delete %b\r\n" % job)
        self._expect(b"DELETED")
        return 1

    async def take_many(self, count: int) -> int:
        """A hundred reserves in flight, then as many deletes."""
        count = min(count, IN_FLIGHT)
        self._socket.sendall(b"reserve-with-timeout 0\r\n" * count)
        jobs = [job for job in [self._reserved() for _ in range(count)] if job is not None]
        if not jobs:
            await asyncio.sleep(POLL_SECONDS)
            return 0
        self._socket.sendall(b"".join(b"delete %b\r\n" % job for job in jobs))
        for _ in jobs:
            self._expect(b"DELETED")
        return len(jobs)

    async def take_all(self, count: int) -> int:
        """Batches of a hundred."""
        return await take_in_batches(self, count, IN_FLIGHT)

    async def close(self) -> None:
        """Hangs up."""
        self._socket.close()

    def _expect(self, word: bytes) -> None:
        line = self._lines.readline()
        if not line.startswith(word):
            raise BeanstalkdError(f"{line!r} instead of {word!r}")

    def _reserved(self) -> bytes | None:
        """The id of a job that was asked for, or `None` if there was none."""
        word, *rest = self._lines.readline().split()
        if word != b"RESERVED":
            return None
        self._lines.read(int(rest[1]) + len(b"\r\n"))
        return rest[0]


def _put(body: bytes) -> bytes:
    return b"put 1000 0 %d %d\r\n%b\r\n" % (LEASE_SECONDS, len(body), body)


def open_driver(target: Target) -> Driver:
    """A client that is not connected yet."""
    return BeanstalkdText(target)
