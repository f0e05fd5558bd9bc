"""A broker that does what a test tells it: a real socket, one script for each connection."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self

from tenure_protocol.errors import BrokerError
from tenure_protocol.frames import FrameDecoder, encode_frame
from tenure_protocol.wire import unpack

SECONDS_MAX = 20.0
"""How long a script waits for what it expects."""

SESSION = b"session1"

JOB_ID = bytes(11) + (7).to_bytes(5, "big")

LIMITS = {
    "frame_bytes_max": 16 * 1024 * 1024,
    "payload_bytes_max": 1024 * 1024,
    "jobs_per_request_max": 10_000,
    "result_bytes_max": 1024 * 1024,
    "wait_ms_max": 3_600_000,
}


class Gone(Exception):
    """The client closed the connection."""


class Request(NamedTuple):
    """A request as it came."""

    id: int
    op: str
    args: Any


class Peer:
    """The broker's end of one connection."""

    def __init__(self, connection: socket.socket, number: int) -> None:
        self.number = number
        self._socket = connection
        self._socket.settimeout(SECONDS_MAX)
        self._decoder = FrameDecoder()
        self._bodies: list[bytes] = []

    def request(self) -> Request:
        """The next request. Raises `Gone` when there is none."""
        while not self._bodies:
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                raise
            except OSError:
                data = b""
            if not data:
                raise Gone
            self._bodies = self._decoder.feed(data)
        request_id, op, args = unpack(self._bodies.pop(0))
        return Request(request_id, op, args)

    def expect(self, op: str) -> Request:
        """The next request, which is `op`; pings before it are answered."""
        while True:
            request = self.request()
            if request.op == op:
                return request
            assert request.op == "ping", f"expected {op}, got {request.op}"
            self.reply(request, {"now_ms": 0})

    def hello(self, **changes: Any) -> Request:
        """Answer the hello, with `changes`."""
        request = self.expect("hello")
        self.reply(request, {**greeting(), **changes})
        return request

    def reply(self, request: Request, result: object) -> None:
        self.send([request.id, 0, result])

    def refuse(self, request: Request, error: BrokerError) -> None:
        self.send([request.id, 1, error.to_wire()])

    def send(self, frame: object) -> None:
        self.send_raw(encode_frame(frame))

    def send_raw(self, data: bytes) -> None:
        with suppress(ConnectionError):
            self._socket.sendall(data)

    def until_gone(self) -> list[Request]:
        """Read and never answer, until the client closes."""
        requests: list[Request] = []
        with suppress(Gone):
            while True:
                requests.append(self.request())
        return requests

    def reset(self) -> None:
        """Break the connection the hard way."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        # A close alone leaves a thread that reads from it where it is.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


Script = Callable[[Peer], None]


def greeting() -> dict[str, Any]:
    return {
        "protocol": 1,
        "server": "fake 0",
        "session": SESSION,
        "resumed": False,
        "now_ms": 0,
        "features": [],
        "idle_timeout_ms": 60_000,
        "limits": LIMITS,
    }


class FakeBroker:
    """Listens on a free port; the first connection gets the first script, and so on.

    Connections after the last script get the last one again. What a script raises fails the
    test at the end of the `with` block.
    """

    def __init__(self, *scripts: Script) -> None:
        self._scripts: Sequence[Script] = scripts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._peers: list[Peer] = []
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        self._accepting = threading.Thread(target=self._accept)

    @property
    def url(self) -> str:
        return f"tenure://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            peer = Peer(connection, self.connections)
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            self._peers.append(peer)
            thread = threading.Thread(target=self._run, args=(script, peer))
            self._threads.append(thread)
            thread.start()

    def _run(self, script: Script, peer: Peer) -> None:
        try:
            script(peer)
        except Gone:
            pass
        except BaseException as error:
            self._errors.append(error)
        finally:
            peer.close()

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(SECONDS_MAX)
        for peer in self._peers:
            peer.close()
        for thread in self._threads:
            thread.join(SECONDS_MAX)
        if error is None and self._errors:
            raise self._errors[0]


def answering(handlers: Mapping[str, Callable[[Request], object]], **changes: Any) -> Script:
    """A script that answers each operation with what its handler returns, until the end.

    A handler that returns a `BrokerError` refuses.
    """

    def script(peer: Peer) -> None:
        peer.hello(**changes)
        while True:
            request = peer.request()
            if request.op == "ping":
                peer.reply(request, {"now_ms": 0})
                continue
            result = handlers[request.op](request)
            if isinstance(result, BrokerError):
                peer.refuse(request, result)
            else:
                peer.reply(request, result)

    return script


def enqueue_reply(request: Request, first: int = 0) -> list[object]:
    """Ids for the jobs of an enqueue, from number `first` on."""
    count = len(request.args[1])
    return [[bytes(11) + (first + number).to_bytes(5, "big") for number in range(count)], None]


def job_row(number: int = 7, body: bytes = b"\x94\xa4task\xc4\x01\x01\xc0\x01") -> list[object]:
    """A job as a reserve delivers it; the payload of the default body is 1."""
    raw = bytes(11) + number.to_bytes(5, "big")
    return [raw, 1, "mail", 30_000, 1_700_000_000_000, body, 5, 0]
