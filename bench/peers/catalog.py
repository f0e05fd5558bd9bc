"""Who is compared: each peer in each mode, how it is run, and what it needs on this machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from bench.peers import launches
from bench.peers.launches import Launcher
from bench.peers.results import FSYNC, TENURE, label

MAKE_VENV = "make peers-venv"
ALL_ROWS = ("A1", "A3a", "A2", "A3b", "A4", "A4b", "B")
RATE_ROWS = ("A1", "A3a", "A2", "A3b", "A4", "A4b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One server in one mode.

    `durability` is `FSYNC` or a word for less. `needs` says how to get the server here, and
    `library` is what its client imports.
    `fill_launch` is for the backlog where the server's own setting would take minutes: the
    same files, synced less.
    """

    name: str
    mode: str
    durability: str
    driver: str
    library: str
    find: Callable[[], Path | None]
    launch: Launcher
    needs: str
    how: str
    client: str
    version: Sequence[str] = ()
    rows: Sequence[str] = ALL_ROWS
    fill_launch: Launcher | None = None

    @property
    def label(self) -> str:
        """How it is called."""
        return label(self.name, self.mode)

    @property
    def python(self) -> Path:
        """The interpreter that has its client library."""
        return Path(sys.executable) if self.name == TENURE else launches.PEERS_PYTHON

    def missing(self) -> str:
        """Why it cannot be measured here, with the line that helps; empty if it can."""
        if self.find() is None:
            return f"its server is not installed: {self.needs}"
        if not self.python.exists() or _fails([str(self.python), "-c", f"import {self.library}"]):
            return f"its client library ({self.library}) is not installed: {MAKE_VENV}"
        return ""

    def version_text(self) -> str:
        """What the server says of its version, in one line."""
        if self.name == TENURE:
            return f"tenure {metadata.version('tenure')}"
        command = [str(self.find()), *self.version] if len(self.version) == 1 else self.version
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = (done.stdout or done.stderr).strip().splitlines()
        return lines[-1] if lines else "unknown"


def _fails(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode != 0


def _tenure(mode: str, durability: str, how: str, rows: Sequence[str]) -> Peer:
    return Peer(
        name=TENURE,
        mode=mode,
        durability=durability,
        driver="tenure_jobs",
        library="tenure",
        find=launches.find_tenure,
        launch=launches.tenure,
        needs="make venv",
        how=f"tenure server with its own settings, {how}",
        client="Client: enqueue; ack_and_reserve, this ack and the next lease; enqueue_many; "
        "best take: AsyncClient, the same, 2 x 1,000",
        rows=rows,
    )


APPEND_ALWAYS = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
LIST_CLIENT = "redis-py + hiredis: LPUSH; BLMOVE + LREM; best put one LPUSH of 1,000; "
LIST_PIPELINE = LIST_CLIENT + "best take pipelines of 1,000 LMOVE, then LREM"
LIST_SCRIPT = LIST_CLIENT + "best take a script that moves 1,000, DEL of all (not job by job)"
STREAM_CLIENT = "redis-py + hiredis: XADD; XREADGROUP, XACK + XDEL; batches: pipelines of 1,000"


def _keys(
    name: str,
    mode: str,
    durability: str,
    how: str,
    *settings: str,
    rows: Sequence[str] = ALL_ROWS,
) -> Peer:
    find, needs = {
        "redis": (launches.find_redis, "apt-get install redis-server"),
        "valkey": (launches.find_valkey, MAKE_VENV),
    }[name]
    client = STREAM_CLIENT if mode.startswith("stream") else LIST_PIPELINE
    return Peer(
        name=name,
        mode=mode,
        durability=durability,
        driver="redis_keys",
        library="redis",
        find=find,
        launch=launches.keys_server(find, *settings),
        needs=needs,
        how=how,
        client=LIST_SCRIPT if mode.startswith("list-script") else client,
        version=("--version",),
        rows=rows,
    )


def _always(name: str, mode: str, rows: Sequence[str] = ALL_ROWS) -> Peer:
    how = "appendonly yes, appendfsync always, save ''"
    return _keys(name, mode, FSYNC, how, *APPEND_ALWAYS, rows=rows)


def _beanstalkd(mode: str, durability: str, how: str, launch: Launcher, log: bool) -> Peer:
    return Peer(
        name="beanstalkd",
        mode=mode,
        durability=durability,
        driver="beanstalkd_text",
        library="socket",
        find=launches.find_beanstalkd,
        launch=launch,
        needs="apt-get install beanstalkd",
        how=how,
        client="own socket client: put; reserve + delete; batches: 100 in flight",
        version=("-v",),
        fill_launch=launches.beanstalkd("-f", "50") if log else None,
        rows=ALL_ROWS if log else RATE_ROWS,
    )


def _rabbitmq(mode: str, durability: str, how: str) -> Peer:
    return Peer(
        name="rabbitmq",
        mode=mode,
        durability=durability,
        driver="rabbitmq_frames",
        library="pamqp",
        find=launches.find_rabbitmq,
        launch=launches.rabbitmq,
        needs="apt-get install rabbitmq-server",
        how=how + ", one node, delivery_mode 2, publisher confirms",
        client="own AMQP frame client: prefetch 1 / 1,000, acks (no answer) one by one / per 250; "
        "1,000 unconfirmed puts",
        version=("dpkg-query", "-f", "rabbitmq-server ${Version}", "-W", "rabbitmq-server"),
        rows=ALL_ROWS if durability == FSYNC else RATE_ROWS,
    )


def _nats(mode: str, durability: str, how: str, launch: Launcher) -> Peer:
    return Peer(
        name="nats",
        mode=mode,
        durability=durability,
        driver="nats_jetstream",
        library="nats",
        find=launches.find_nats,
        launch=launch,
        needs=MAKE_VENV,
        how=f"JetStream file store, {how}; WorkQueue stream, durable pull consumer, explicit ack",
        client="nats-py: publish; fetch(1) + ack_sync; publish_async, 1,000 in flight; "
        "fetch(1,000) + ack without an answer, until the stream is empty",
        version=("--version",),
        fill_launch=launches.nats() if durability == FSYNC else None,
        rows=ALL_ROWS if durability == FSYNC else RATE_ROWS,
    )


_POSTGRES = Peer(
    name="postgres",
    mode="skip-locked",
    durability=FSYNC,
    driver="postgres_rows",
    library="asyncpg",
    find=launches.find_postgres,
    launch=launches.postgres,
    needs="apt-get install postgresql",
    how="fsync on, synchronous_commit on (its default), shared_buffers 1GB, max_wal_size 4GB",
    client="asyncpg: INSERT, unnest for 1,000; take = one DELETE ... FOR UPDATE SKIP LOCKED in "
    "one transaction, so no lease and one confirmation where others have two",
    version=("--version",),
)

PEERS: tuple[Peer, ...] = (
    _tenure("durable", FSYNC, "durable: the default", ALL_ROWS),
    _always("redis", "list"),
    _always("redis", "list-script", ("A2", "A3b")),
    _always("redis", "stream"),
    _always("valkey", "list"),
    _always("valkey", "stream"),
    _beanstalkd("fsync", FSYNC, "-b DIR -f 0", launches.beanstalkd("-f", "0"), log=True),
    _rabbitmq("quorum", FSYNC, "quorum queue"),
    _nats("always", FSYNC, "sync_interval always", launches.nats("always")),
    _POSTGRES,
    _tenure("memory", "memory", "queue of durability memory", RATE_ROWS),
    _keys("redis", "list-default", "snapshots", "its own settings: RDB snapshots", rows=RATE_ROWS),
    _keys(
        "redis",
        "list-everysec",
        "synced every second",
        "appendonly yes, appendfsync everysec: the log as it comes",
        *("--save", "", "--appendonly", "yes"),
        rows=RATE_ROWS,
    ),
    _beanstalkd("default", "memory", "without -b", launches.beanstalkd(log=False), log=False),
    _rabbitmq("classic", "page cache", "durable classic queue"),
    _nats("default", "page cache", "sync_interval 2 minutes: as it comes", launches.nats()),
)
"""In the order in which they take their turns; PostgreSQL's default is durable already."""
