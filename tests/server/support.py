"""A broker in this process, or in one of its own, and a client that speaks raw frames."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tenure_protocol.frames import FrameDecoder, encode_frame
from tenure_protocol.wire import pack, unpack
from tenure_server.broker import Broker
from tenure_server.config import Config
from tenure_server.config_load import Loaded, load
from tenure_server.config_values import Address
from tenure_server.engine import Now
from tenure_server.listener import address_of, bind
from tenure_storage.memory_store import MemoryStore
from tenure_storage.store import Batch, Store, StoreSizes

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 20.0
"""How long a test waits for what must happen."""

HELLO: dict[str, object] = {"protocol": [1, 1], "client": "test"}
OnDone = Callable[[BaseException | None], None]


def config_of(settings: Mapping[str, object] | None = None) -> Config:
    """The default configuration with some settings by name, such as "timeouts.idle"."""
    return load(environ={}, flags=settings or {}).config


def body(payload: bytes = b"x", task: str = "task") -> bytes:
    """A job's body."""
    return pack([task, payload, None, 0])


_wires: list[Wire] = []
"""Connections of the test at work; a broker that stops waits a moment for its clients to close."""


class Wire:
    """One connection, frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._decoder = FrameDecoder()
        self._frames: list[Any] = []
        self._last_id = 0
        self.was_reset = False
        _wires.append(self)

    @classmethod
    async def connect(cls, port: int) -> Wire:
        """A connection that has said nothing."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @classmethod
    async def hello(cls, port: int, **more: object) -> Wire:
        """A connection that has said hello."""
        wire = await cls.connect(port)
        status, result = await wire.ask("hello", {**HELLO, **more})
        assert status == 0, result
        return wire

    def send(self, value: object) -> None:
        """Sends one frame."""
        self.writer.write(encode_frame(value))

    def post(self, op: str, args: object) -> int:
        """Sends a request; its id."""
        self._last_id += 1
        self.send([self._last_id, op, args])
        return self._last_id

    async def frame(self) -> Any:
        """The next frame, or None when the broker has closed."""
        async with asyncio.timeout(PATIENCE_S):
            while not self._frames:
                try:
                    data = await self.reader.read(1 << 16)
                except ConnectionError:
                    self.was_reset = True
                    return None
                if not data:
                    return None
                self._frames += [unpack(each) for each in self._decoder.feed(data)]
        return self._frames.pop(0)

    async def reply(self, request_id: int) -> tuple[int, Any]:
        """The status and body of a reply; notices on the way are dropped."""
        while True:
            frame = await self.frame()
            assert frame is not None, "the broker closed the connection"
            if frame[0] == request_id:
                return frame[1], frame[2]
            assert frame[:2] == [0, 2], frame

    async def ask(self, op: str, args: object) -> tuple[int, Any]:
        """A request and its reply."""
        return await self.reply(self.post(op, args))

    async def do(self, op: str, args: object) -> Any:
        """The result of a request that must succeed."""
        status, result = await self.ask(op, args)
        assert status == 0, result
        return result

    async def fatal(self) -> list[Any]:
        """The fatal error that must come, and the close after it."""
        frame = await self.frame()
        assert frame is not None, "closed without a word"
        assert frame[:2] == [0, 1], frame
        assert await self.frame() is None
        return list(frame[2])

    async def closed(self) -> None:
        """Waits until the broker has closed; anything it says before is dropped."""
        while await self.frame() is not None:
            pass

    def close(self) -> None:
        """Closes this end."""
        self.writer.close()


class Running:
    """A broker in this process."""

    def __init__(self, broker: Broker, port: int, http_port: int) -> None:
        self.broker = broker
        self.hub = broker.hub
        self.port = port
        self.http_port = http_port
        self.exit: asyncio.Task[int]

    async def hello(self, **more: object) -> Wire:
        """A client that has said hello."""
        return await Wire.hello(self.port, **more)

    def advance(self, milliseconds: int) -> None:
        """Lets time pass for the shell and the engine, and looks at everybody's time-outs."""
        before = self.hub.clock
        now = before()
        self.hub.clock = lambda: Now(*(each + milliseconds for each in before()))
        self.hub.sweep(now.mono_ms + milliseconds)
        self.hub.pump.wake()

    async def exit_code(self) -> int:
        """The exit code, once it has ended by itself."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.exit

    async def until(self, true: Callable[[], bool]) -> None:
        """Lets the broker go on until something is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not true():  # noqa: ASYNC110 (gives up the loop, waits for no time)
                await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def running(
    settings: Mapping[str, object] | None = None,
    *,
    store: Store | None = None,
    http: bool = False,
    load_again: Callable[[], Loaded] | None = None,
) -> AsyncIterator[Running]:
    """A broker on free ports of the loopback, in memory unless given a store; stopped at the end."""
    _wires.clear()
    config = config_of({"ephemeral": True, "timeouts.stop": "5s", **(settings or {})})
    sockets = bind(Address("127.0.0.1", 0), "listen")
    http_sockets = bind(Address("127.0.0.1", 0), "http") if http else []
    broker = Broker(
        config,
        store if store is not None else MemoryStore(),
        sockets=sockets,
        http_sockets=http_sockets,
        load=load_again,
    )
    ports = [address_of(each[0]).port if each else 0 for each in (sockets, http_sockets)]
    found = Running(broker, ports[0], ports[1])
    found.exit = asyncio.create_task(broker.run())
    ready = asyncio.create_task(broker.ready.wait())
    try:
        await asyncio.wait(
            [found.exit, ready], timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED
        )
        assert broker.ready.is_set(), found.exit
        yield found
    finally:
        ready.cancel()
        while _wires:
            _wires.pop().close()
        broker.stop()
        await asyncio.wait_for(found.exit, PATIENCE_S)


class HeldStore:
    """A store whose commits wait until they are let go, or made to fail."""

    def __init__(self) -> None:
        self.inner = MemoryStore()
        self.held: list[tuple[Batch, OnDone]] = []
        self.holding = False
        self.submitted = 0

    def submit(self, batch: Batch, on_done: OnDone) -> None:
        self.submitted += 1
        if self.holding:
            self.held.append((batch, on_done))
        else:
            self.inner.submit(batch, on_done)

    def let_go(self) -> None:
        """Commits what is held, and holds no more."""
        self.holding = False
        held, self.held = self.held, []
        for batch, on_done in held:
            self.inner.submit(batch, on_done)

    def fail(self, error: BaseException) -> None:
        """Makes the held commit fail."""
        held, self.held = self.held, []
        for _, on_done in held:
            on_done(error)

    def get(self, table: int, key: bytes) -> bytes | None:
        return self.inner.get(table, key)

    def get_many(self, table: int, keys: Any) -> list[bytes | None]:
        return self.inner.get_many(table, keys)

    def scan(
        self, table: int, after: bytes, until: bytes, limit: int, bytes_max: int = 1 << 22
    ) -> list[tuple[bytes, bytes]]:
        return self.inner.scan(table, after, until, limit, bytes_max)

    def count(self, table: int) -> int:
        return self.inner.count(table)

    def commit(self, batch: Batch) -> None:
        self.inner.commit(batch)

    def sizes(self) -> StoreSizes:
        return self.inner.sizes()

    def close(self) -> None:
        self.inner.close()


class Process:
    """A broker in a process of its own, started as a service manager would."""

    def __init__(
        self,
        directory: Path,
        *flags: str,
        environ: Mapping[str, str] | None = None,
        module: str = "tenure_server",
    ) -> None:
        self.directory = directory
        self.port_file = directory / "ports.json"
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # The path of a UNIX socket must be short, which a test's directory may not be.
        self._channel.bind("")
        self._channel.settimeout(PATIENCE_S)
        address = self._channel.getsockname()
        self._log = (directory / "log").open("a+b")
        command = [sys.executable, "-m", module, "--data-dir", str(directory / "data")]
        command += ["--listen", "127.0.0.1:0", "--http", "off", "--log-format", "json"]
        self.process = subprocess.Popen(
            [*command, "--port-file", str(self.port_file), *flags],
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("TENURE_")},
                "TENURE_STORE_MAX_BYTES": "4GiB",
                "NOTIFY_SOCKET": "@" + address[1:].decode(),
                **(environ or {}),
            },
        )

    def told(self, wanted: str) -> list[str]:
        """Waits until the broker tells its service manager `wanted`; everything it told."""
        heard: list[str] = []
        while not heard or wanted not in heard[-1]:
            heard.append(self._channel.recv(4096).decode())
        return heard

    @property
    def ports(self) -> dict[str, Any]:
        """What the port file says."""
        found: dict[str, Any] = json.loads(self.port_file.read_text())
        return found

    def logged(self, event: str) -> dict[str, Any]:
        """The first line of an event in the log."""
        for line in self.log():
            if line.get("event") == event:
                return line
        raise AssertionError(f"no {event} in {self.log()}")

    def log(self) -> list[dict[str, Any]]:
        """The log's lines."""
        lines = (self.directory / "log").read_text().splitlines()
        return [json.loads(line) if line[:1] == "{" else {"text": line} for line in lines]

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code, once it has ended."""
        return self.process.wait(PATIENCE_S)

    def end(self) -> None:
        """Ends it whatever it does, and cleans up."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()
        self._channel.close()


@contextlib.contextmanager
def process(
    directory: Path,
    *flags: str,
    environ: Mapping[str, str] | None = None,
    module: str = "tenure_server",
) -> Iterator[Process]:
    """A broker in a process of its own that is ready, and is gone at the end."""
    started = Process(directory, *flags, environ=environ, module=module)
    try:
        started.told("READY=1")
        yield started
    finally:
        started.end()


def remove_data(directory: Path) -> None:
    """A data directory keeps a reserve file of 64 MiB: too much for tests to leave behind."""
    shutil.rmtree(directory / "data", ignore_errors=True)
