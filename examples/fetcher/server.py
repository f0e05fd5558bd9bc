"""An HTTP server that makes it hard, and takes notes.

What a path begins with says how it behaves:

| path          | the server                                                                 |
|---------------|----------------------------------------------------------------------------|
| /quick/N      | answers                                                                    |
| /slow/N       | answers after a while, and sends the page in pieces                        |
| /together/N   | answers when as many such pages as `crowd` are asked for at the same time   |
| /flaky/N      | says 500 to the first two requests                                         |
| /broken/N     | at first breaks the connection: before, in the head of, or within the page  |
| /silent/N     | never answers the first request                                            |
| /limited/N    | answers so many of all of these a second; else 429, Retry-After in seconds |
| /closed/N     | says 503 at first, Retry-After as a date                                   |
| /missing/N    | 404                                                                        |
| /gone/N       | 410                                                                        |
| /down/N       | always 500                                                                 |
| /circle/N     | redirects to itself                                                        |
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from http import HTTPStatus
from types import TracebackType
from typing import NamedTuple, Self

LIMITED_PER_S = 12
CLOSED_S = 2
BEATS_S = 0.01
"""How early a request may come and still be in time: clocks are read in more than one place."""


def page_of(path: str) -> bytes:
    """The page behind a path; a few thousand bytes that no other path has."""
    line = f"<p>This is {path}, and nothing else.</p>\n"
    return f"<title>{path}</title>\n{line * 60}".encode()


class Request(NamedTuple):
    """A request that is being answered."""

    path: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def kind(self) -> str:
        """What the path begins with."""
        return self.path.split("/")[1]

    @property
    def number(self) -> int:
        """What the path ends with."""
        return int(self.path.split("/")[2])

    def say(self, status: int, body: bytes, **headers: str) -> None:
        """Writes a whole answer."""
        self.writer.write(head_of(status, len(body), **headers) + body)

    async def until(self, event: asyncio.Event) -> None:
        """Waits for the event. Raises `ConnectionAbortedError` if the client goes before."""
        happens = asyncio.ensure_future(event.wait())
        leaves = asyncio.ensure_future(self.reader.read(1))
        try:
            await asyncio.wait((happens, leaves), return_when=asyncio.FIRST_COMPLETED)
            if leaves.done():
                raise ConnectionAbortedError
        finally:
            happens.cancel()
            leaves.cancel()
            await asyncio.gather(happens, leaves, return_exceptions=True)


class HardServer:
    """The server, as an async context manager; it listens on a free port of 127.0.0.1."""

    def __init__(self, crowd: int) -> None:
        self._crowd = crowd
        self._server: asyncio.Server | None = None
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._present = 0
        self._everybody = asyncio.Event()
        self._not_before: dict[str, float] = {}
        self._window = 0.0
        self._in_window = 0
        self.url = ""
        self.asked: Counter[str] = Counter()
        """How often each path was asked for."""
        self.sent_away = 0
        """How often a client was told to come back later."""
        self.impatient: list[str] = []
        """Paths that were asked for before the time that had been told."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        # Their readers see the end of the connection, wherever they wait.
        for writer in self._serving.values():
            writer.close()
        await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request, until somebody ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._serving[task] = writer
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1].decode("ascii")
                await self._answer(Request(path, reader, writer))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            del self._serving[task]
            writer.close()

    async def _answer(self, request: Request) -> None:
        path = request.path
        self.asked[path] += 1
        if time.monotonic() + BEATS_S < self._not_before.get(path, 0):
            self.impatient.append(path)
        behave: dict[str, Callable[[Request], Awaitable[None]]] = {
            "slow": slow, "together": self._together, "flaky": self._flaky,
            "broken": self._broken, "silent": self._silent, "limited": self._limited,
            "closed": self._closed,
        }  # fmt: skip
        plain = {"missing": 404, "gone": 410, "down": 500, "circle": 302}
        if request.kind in behave:
            await behave[request.kind](request)
        elif request.kind in plain:
            request.say(plain[request.kind], b"no such luck", Location=path)
        else:
            request.say(200, page_of(path))

    async def _together(self, request: Request) -> None:
        self._present += 1
        try:
            if self._present >= self._crowd:
                self._everybody.set()
            await request.until(self._everybody)
        finally:
            self._present -= 1
        request.say(200, page_of(request.path))

    async def _flaky(self, request: Request) -> None:
        if self.asked[request.path] <= 2:
            request.say(500, b"the database is away")
        else:
            request.say(200, page_of(request.path))

    async def _broken(self, request: Request) -> None:
        page = page_of(request.path)
        if self.asked[request.path] > 2:
            request.say(200, page)
            return
        whole = head_of(200, len(page)) + page
        request.writer.write(whole[: (0, 30, len(whole) // 2)[request.number % 3]])
        await request.writer.drain()
        raise ConnectionAbortedError

    async def _silent(self, request: Request) -> None:
        if self.asked[request.path] == 1:
            await request.until(asyncio.Event())
        request.say(200, page_of(request.path))

    async def _limited(self, request: Request) -> None:
        now = time.monotonic()
        if now >= self._window + 1:
            self._window, self._in_window = now, 0
        self._in_window += 1
        if self._in_window <= LIMITED_PER_S:
            request.say(200, page_of(request.path))
        else:
            self._send_away(request, 429, 1, "1")

    async def _closed(self, request: Request) -> None:
        if self.asked[request.path] > 1:
            request.say(200, page_of(request.path))
            return
        now = time.time()
        opens = math.ceil(now) + CLOSED_S
        self._send_away(request, 503, opens - now, formatdate(opens, usegmt=True))

    def _send_away(self, request: Request, status: int, seconds: float, told: str) -> None:
        self.sent_away += 1
        self._not_before[request.path] = time.monotonic() + seconds
        request.say(status, b"come back later", **{"Retry-After": told})


async def slow(request: Request) -> None:
    """Thinks for a while, and sends the page in pieces."""
    await asyncio.sleep(0.2 + request.number % 7 / 10)
    page = page_of(request.path)
    request.writer.write(head_of(200, len(page)))
    for start in range(0, len(page), 1000):
        request.writer.write(page[start : start + 1000])
        await asyncio.sleep(0.02)


def head_of(status: int, length: int, **headers: str) -> bytes:
    """The head of an answer."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    everything = {
        "Date": formatdate(usegmt=True),
        "Content-Type": "text/html; charset=utf-8",
        "Content-Length": str(length),
        **headers,
    }
    lines += [f"{name}: {value}" for name, value in everything.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii")
