"""The HTTP side: whatever bytes come, an answer or a close, and never a broken broker."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

from tenure_server.http.app import build_app
from tenure_server.http.bounded import HEADERS_BYTES_MAX, BoundedHttp
from tests.fuzz.choices import Choices
from tests.fuzz.values import damaged_bytes
from tests.fuzz.world import Fault, Room

PATHS = [
    b"/", b"/livez", b"/readyz", b"/metrics", b"/v1/queues/q/scale", b"/v1/queues/%71/scale", b"/v1/queues//scale",
    b"/v1/queues/" + b"q" * 200 + b"/scale", b"/v1/queues/%ff%00/scale", b"*", b"/../../etc/passwd", b"/\xff", b"?a=b",
]  # fmt: skip
HEADERS = [
    b"host: x", b"connection: close", b"connection: keep-alive", b"content-length: 5", b"content-length: -1",
    b"content-length: 99999999999999999999", b"transfer-encoding: chunked", b"expect: 100-continue",
    b"upgrade: websocket", b"x: " + b"y" * 5_000, b"x: \xff\x00", b" folded", b"accept-encoding: gzip", b":", b"a b: c",
]  # fmt: skip
TURNS = 12


class _Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.out = bytearray()
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def write(self, data: bytes) -> None:
        self.out += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_protocol(self, protocol: object) -> None: ...


class _Side:
    """One broker's HTTP side, kept for many inputs: building it takes long."""

    def __init__(self) -> None:
        import uvicorn
        from uvicorn.server import ServerState

        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self.loop = asyncio.new_event_loop()
        self.faults: list[str] = []
        self.loop.set_exception_handler(lambda _, context: self.faults.append(repr(context)))
        self.room = Room()
        self.config = uvicorn.Config(
            build_app(self.room.hub), loop="none", http=BoundedHttp, ws="none", lifespan="off", interface="asgi3",
            log_config=None, access_log=False, server_header=False, proxy_headers=False, limit_concurrency=65,
        )  # fmt: skip
        self.config.load()
        self.state = ServerState()
        self.state.default_headers = [(b"date", b"today")]


_side: _Side | None = None


def http(data: bytes) -> None:
    """One connection."""
    global _side
    if _side is None:
        _side = _Side()
    _side.loop.run_until_complete(_speak(_side, Choices(data)))
    if _side.faults:
        faults, _side.faults = _side.faults, []
        raise Fault(f"HTTP broke: {faults[0]:.500}")


def close() -> None:
    """Lets go of the broker that the inputs were for."""
    global _side
    if _side is not None:
        _side.loop.run_until_complete(_side.loop.shutdown_default_executor())
        _side.loop.close()
        _side.room.close()
        _side = None


def _request(choices: Choices) -> bytes:
    line = b" ".join(
        (choices.pick([b"GET", b"HEAD", b"POST", b"PUT", b"BREW", b"CONNECT", b""]), choices.pick(PATHS),
         choices.pick([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"PRI"]))
    )  # fmt: skip
    headers = [choices.pick(HEADERS) for _ in range(choices.below(6))]
    body = choices.pick([b"", b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"ffffffffff\r\n"])
    return b"\r\n".join([line, *headers, b"", body])


async def _speak(side: _Side, choices: Choices) -> None:
    protocol = BoundedHttp(
        config=side.config, server_state=side.state, app_state={}, _loop=side.loop
    )
    wire = _Wire()
    protocol.connection_made(cast(asyncio.Transport, wire))
    stream = b"".join(_request(choices) for _ in range(1 + choices.below(3)))
    if choices.chance(40):
        stream = damaged_bytes(choices, stream)
    fed = 0
    while stream and not wire.closed:
        step = 1 + choices.pick([60_000, 7, 0, 300])
        fed += step
        protocol.data_received(stream[:step])
        stream = stream[step:]
        await asyncio.sleep(0)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    if protocol._head_bytes > HEADERS_BYTES_MAX + 60_001 and not wire.closed:
        raise Fault(f"{protocol._head_bytes} bytes of headers, and it goes on")
    if b"500 Internal" in wire.out:
        raise Fault(f"an answer that tells of a fault: {bytes(wire.out[:300])!r}")
    if wire.out and not wire.out.startswith(b"HTTP/1.1 "):
        raise Fault(f"no HTTP: {bytes(wire.out[:100])!r}")
    protocol.connection_lost(None)
    # What it had begun ends now.
    tasks = [task for task in side.state.tasks if not task.done()]
    if tasks:
        await asyncio.wait(tasks, timeout=5)


def seeds() -> list[bytes]:
    """Inputs to begin with."""
    return [b"", bytes(20), bytes(range(60)), b"\x01\x04\x00\x02" * 20]
