"""A health endpoint that costs nothing and tells the truth: /livez and /readyz, and a file.

Ready means that jobs are being taken: a reserve is outstanding or every slot is busy, the
broker answered lately, and the children are up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable
from errno import EISDIR
from pathlib import Path
from typing import Any

_REQUEST_BYTES_MAX = 8 * 1024
_REQUEST_S_MAX = 5.0

State = Callable[[], tuple[bool, dict[str, Any]]]
"""Whether the worker is ready, and what to tell."""


class HealthServer:
    """Answers GET /livez and GET /readyz."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen. Returns where. Raises `OSError`."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=_REQUEST_BYTES_MAX)
        name = self._server.sockets[0].getsockname()
        return str(name[0]), int(name[1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_S_MAX):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(answer(head, self._state))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def answer(head: bytes, state: State) -> bytes:
    """The response to a request's head."""
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or words[0] not in (b"GET", b"HEAD"):
        return _response("405 Method Not Allowed", {"error": "GET /livez or /readyz"})
    path = words[1].split(b"?")[0]
    if path not in (b"/livez", b"/readyz"):
        return _response("404 Not Found", {"error": "there are /livez and /readyz"})
    ready, told = state()
    if path == b"/livez":
        return _response("200 OK", {"status": "alive"}, body=words[0] == b"GET")
    status = "200 OK" if ready else "503 Service Unavailable"
    return _response(status, {"ready": ready, **told}, body=words[0] == b"GET")


def _response(status: str, told: dict[str, Any], *, body: bool = True) -> bytes:
    data = json.dumps(told).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (data if body else b"")


class HealthFile:
    """A file that is there, and young, as long as the worker is ready."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")

    def check(self) -> None:
        """Raise `OSError` if it could not be written, before anybody counts on it."""
        if self._path.is_dir():
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR), str(self._path))
        self._fresh.write_text("")
        self._fresh.unlink()

    def write(self, ready: bool, told: dict[str, Any]) -> OSError | None:
        """Renew it, or take it away. What goes wrong with it is returned, and harms nothing else."""
        try:
            if not ready:
                self._path.unlink(missing_ok=True)
                return None
            self._fresh.write_text(json.dumps({"ready": True, **told}) + "\n", "utf-8")
            self._fresh.replace(self._path)
        except OSError as error:
            return error
        return None

    def remove(self) -> None:
        """Take it away."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def parse_address(text: str) -> tuple[str, int]:
    """HOST:PORT. Raises `ValueError`."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal()) or int(port) > 65_535:
        raise ValueError(f"--health {text!r} must be HOST:PORT, such as 127.0.0.1:8081")
    return host.strip("[]") or "127.0.0.1", int(port)
