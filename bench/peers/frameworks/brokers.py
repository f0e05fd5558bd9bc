"""What is behind the frameworks: Tenure, Redis, RabbitMQ and PostgreSQL, each fresh and alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.peers.contract import HOST
from bench.peers.frameworks.processes import PeerError
from bench.peers.launches import (
    Launcher,
    find_postgres,
    find_rabbitmq,
    find_redis,
    find_tenure,
    keys_server,
    postgres,
    rabbitmq,
    tenure,
)
from bench.peers.results import FSYNC
from bench.peers.supervision import ServerError, free_port, killed_at_the_end, start_server

READY_SECONDS_MAX = 60.0
LOOK_SECONDS = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A running broker: what a client is told, and its process."""

    url: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A broker that frameworks may have.

    `durability` is what its confirmation waits for. It is ready when it answers `greeting` with
    something that begins with `answer`, or when the command `ready` succeeds; {port} is its port.
    `package` is what it is called in Debian.
    """

    launch: Launcher
    found: Callable[[], object | None]
    url: str
    durability: str
    package: str = ""
    greeting: bytes = b""
    answer: bytes = b""
    ready: Sequence[str] = field(default=())


def _redis(durability: str, sync: str) -> Kind:
    return Kind(
        launch=keys_server(find_redis, "--save", "", "--appendonly", "yes", "--appendfsync", sync),
        found=find_redis,
        url=f"redis://{HOST}:{{port}}/0",
        durability=durability,
        package="redis-server",
        greeting=b"PING\r\n",
        answer=b"+PONG",
    )


KINDS = {
    "tenure": Kind(
        launch=tenure, found=find_tenure, url=f"tenure://{HOST}:{{port}}", durability=FSYNC
    ),
    "redis": _redis("everysec", "everysec"),
    "redis-always": _redis(FSYNC, "always"),
    "rabbitmq": Kind(
        launch=rabbitmq,
        found=lambda: find_rabbitmq() and shutil.which("epmd"),
        url=f"amqp://guest:guest@{HOST}:{{port}}//",
        # A classic queue of its first version, as kombu makes it, with persistent messages and
        # publisher confirms: strace sees one sync for each.
        durability=FSYNC,
        package="rabbitmq-server",
        greeting=b"AMQP\x00\x00\x09\x01",
        answer=b"\x01\x00\x00",
    ),
    "postgres": Kind(
        launch=postgres,
        found=lambda: find_postgres() and shutil.which("pg_isready"),
        url=f"postgresql://postgres@{HOST}:{{port}}/postgres",
        durability=FSYNC,
        package="postgresql",
        ready=("pg_isready", "-q", "-h", HOST, "-p", "{port}"),
    ),
}


@contextlib.contextmanager
def running_broker(name: str, directory: Path) -> Iterator[Broker]:
    """A broker with its data in this empty directory, ready; ended with the block.

    Raises `PeerError`.
    """
    kind, port = KINDS[name], free_port()
    try:
        server = start_server(kind.launch(directory, port), directory, port)
    except ServerError as error:
        raise PeerError(f"{name}: {error}{_closed(directory)}") from error
    with killed_at_the_end(server):
        _await_ready(name, kind, port)
        yield Broker(url=kind.url.format(port=port), pid=server.process.pid)
        server.stop()


def _await_ready(name: str, kind: Kind, port: int) -> None:
    """Some open their port before they serve."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < deadline:
        if kind.ready:
            command = [word.format(port=port) for word in kind.ready]
            if subprocess.run(command, check=False).returncode == 0:
                return
        elif not kind.greeting or _answers(kind, port):
            return
        time.sleep(LOOK_SECONDS)
    raise PeerError(f"{name} was not ready in {READY_SECONDS_MAX:.0f} s")


def _answers(kind: Kind, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), 5) as talk:
        talk.sendall(kind.greeting)
        return talk.recv(64).startswith(kind.answer)
    return False


def _closed(directory: Path) -> str:
    """What to do if a server that does not run as root could not get into its directory."""
    for parent in directory.parents:
        if os.geteuid() == 0 and not parent.stat().st_mode & 0o001:
            return f"\nothers than root may not enter {parent}: choose another place with --dir"
    return ""
