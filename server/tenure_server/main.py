"""`tenure server`: from flags to an exit code."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tenure_protocol.version import VERSION
from tenure_server import exits, log
from tenure_server.config import Config
from tenure_server.config_load import ConfigError, Loaded, load
from tenure_server.config_show import show

if TYPE_CHECKING:
    from tenure_server.signals import Signals

CLOSE_S = 10.0
"""How long the store may take to close; a disk that hangs must not keep the process."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `tenure server` with these arguments; the exit code."""
    given = _parser().parse_args(argv)
    flags = {
        name: value
        for name, value in (
            ("listen", given.listen),
            ("http", given.http),
            ("data_dir", given.data_dir),
            ("ephemeral", given.ephemeral),
            ("port_file", given.port_file),
            ("log.format", given.log_format),
            ("log.level", given.log_level),
        )
        if value is not None
    }
    file = given.config or os.environ.get("TENURE_CONFIG")

    def load_again() -> Loaded:
        return load(file=Path(file) if file else None, environ=os.environ, flags=flags)

    try:
        loaded = load_again()
    except ConfigError as error:
        for problem in error.problems:
            print(f"tenure server: {problem}", file=sys.stderr)
        return exits.CONFIG
    if given.check_config:
        for warning in loaded.warnings:
            print(f"tenure server: {warning}", file=sys.stderr)
        print(show(loaded.config, loaded.sources), end="")
        return exits.OK
    return run(loaded.config, load=load_again, warnings=loaded.warnings)


def run(
    config: Config,
    *,
    load: Callable[[], Loaded] | None = None,
    warnings: Sequence[str] = (),
) -> int:
    """Runs a broker until it is told to stop; the exit code. `load` reads the settings again on SIGHUP.

    Must be called on the main thread.
    """
    log.configure(level=config.log.level, style=config.log.format)
    for warning in warnings:
        log.get_log().warning("setting_ignored", problem=warning)
    # Imported here so that a bad setting or --help answers at once.
    from tenure_server.signals import Signals

    sockets: list[socket.socket] = []
    try:
        with contextlib.closing(Signals()) as signals:
            return _run(config, load, sockets, signals)
    except exits.StartError as error:
        print(f"tenure server: {log.escaped(str(error))}", file=sys.stderr)
        return error.code
    except Exception as error:
        log.get_log().error("internal_fault", error=repr(error), exc_info=error)
        return exits.INTERNAL
    finally:
        for each in sockets:
            each.close()


def _run(
    config: Config,
    load: Callable[[], Loaded] | None,
    sockets: list[socket.socket],
    signals: Signals,
) -> int:
    from tenure_server import data_dir
    from tenure_server.broker import Broker
    from tenure_server.listener import bind, is_public

    clients = bind(config.listen, "listen")
    sockets += clients
    http = bind(config.http, "http") if config.http is not None else []
    sockets += http
    for name, address in (("listen", config.listen), ("http", config.http)):
        if address is not None and is_public(address):
            log.get_log().warning(
                "reachable_from_outside",
                setting=name,
                address=str(address),
                meaning="there is no authentication or encryption yet: let only trusted networks in",
            )
    store = data_dir.open_store(config)
    code = exits.INTERNAL
    try:

        async def serve() -> int:
            broker = Broker(config, store, sockets=clients, http_sockets=http, load=load)
            signals.serve(broker)
            return await broker.run()

        runner = asyncio.Runner(loop_factory=_loop_factory())
        try:
            code = runner.run(serve())
        finally:
            _close_loop(runner)
    finally:
        closed = _close(store.close, code)
    return code or (exits.OK if closed else exits.IO_ERROR)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        log.get_log().info("asyncio_loop", reason="uvloop is not installed; the broker is slower")
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _close_loop(runner: asyncio.Runner) -> None:
    try:
        runner.close()
    except RuntimeError as error:
        # It waits for its threads on one more thread, and there may be none left.
        log.get_log().error("loop_close_failed", error=repr(error))


def _close(close: Callable[[], None], code: int) -> bool:
    """Closes the store; whether that went well. If the disk hangs, ends the process without."""

    def give_up() -> None:
        log.get_log().error("store_did_not_close", after_s=CLOSE_S)
        os._exit(code or exits.UNCLEAN)

    timer = threading.Timer(CLOSE_S, give_up)
    timer.daemon = True
    try:
        timer.start()
    except RuntimeError as error:
        # No memory for a thread, or too many of them. After a fault nothing is gained by closing.
        log.get_log().error("store_close_not_watched", error=repr(error))
        if code:
            os._exit(code)
    try:
        close()
    except Exception as error:
        log.get_log().error("store_close_failed", error=repr(error))
        return False
    finally:
        timer.cancel()
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tenure server",
        description="Runs the broker: holds jobs durably, leases them to workers, loses none.",
        epilog="Settings: file < TENURE_SECTION_NAME in the environment < flags. SIGTERM and SIGINT"
        " stop it, SIGHUP reads the settings again, SIGUSR2 logs stacks and figures.",
    )
    add = parser.add_argument
    add("--config", "-c", metavar="FILE", help="settings in TOML; see deploy/tenure.toml")
    add("--data-dir", metavar="DIR", help="where jobs are kept (default: tenure-data)")
    add("--listen", metavar="HOST:PORT", help="where clients connect (default: 127.0.0.1:7733)")
    add("--http", metavar="HOST:PORT|off", help="metrics and health (default: 127.0.0.1:7780)")
    add("--ephemeral", action="store_true", default=None, help="keep everything in memory only")
    add("--log-format", metavar="FORMAT", help="console, json or auto")
    add("--log-level", metavar="LEVEL", help="debug, info, warning or error")
    add("--port-file", metavar="PATH", help="write where it listens to this file, as JSON")
    add("--check-config", action="store_true", help="print the effective settings and stop")
    add("--version", action="version", version=f"tenure server {VERSION}")
    return parser
