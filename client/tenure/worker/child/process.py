"""The life of a child process: arguments, signals, the import, serving, the exit."""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

from tenure.running import logs
from tenure.tasks.app import App
from tenure.worker.child.host import Host
from tenure.worker.child.imports import Files, broken_message, files_in, load_app, manifest
from tenure.worker.child.jobs import Jobs
from tenure.worker.child.single import Single
from tenure.worker.child.watch import Watch
from tenure.worker.child.wire import Wire
from tenure.worker.pipe import HOST, ISOLATED, SINGLE

_logger = logging.getLogger("tenure.child")

BROKEN_STATUS = 1
"""The exit status when the app cannot be imported or started: the parent was told why."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a child to its end; exits with 0 after a stop."""
    arguments = _arguments(argv)
    _signals()
    # Not for the programs that user code starts: they would keep the pipe open.
    sock = socket.socket(fileno=arguments.fd)
    sock.set_inheritable(False)
    sock.setblocking(True)
    sys.path.insert(0, os.path.abspath(arguments.app_dir))
    child = _Child(sock, Files() if arguments.watch else None)
    app = child.load(arguments.app)
    if arguments.url is not None:
        app.connect_to(arguments.url)
    hello = manifest(app, arguments.app)
    child.serve(app, arguments.role, hello)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tenure.worker.child")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--app", required=True)
    parser.add_argument("--role", choices=(HOST, SINGLE, ISOLATED), required=True)
    # For people who look at the process: the parent never sends more jobs at a time.
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--watch", action="store_true")
    parser.add_argument("--app-dir", default=".")
    parser.add_argument("--url", help="The broker, whatever the app says.")
    return parser.parse_args(argv)


def _signals() -> None:
    def leave_it_to_the_parent(number: int, frame: FrameType | None) -> None:
        pass

    # Handlers, not SIG_IGN, which the programs that user code starts would inherit.
    signal.signal(signal.SIGINT, leave_it_to_the_parent)
    signal.signal(signal.SIGTERM, leave_it_to_the_parent)
    # Stacks without Python's help: these work while C code holds the interpreter's lock.
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR2, all_threads=True, chain=False)


class _Child:
    """One process, from its import to its end."""

    def __init__(self, sock: socket.socket, files: Files | None) -> None:
        self._files = files
        self._handler: Host | Single | None = None
        self._wire = Wire(sock, self._handle)
        self._watch = Watch(self._wire)

    def _handle(self, message: list[Any]) -> None:
        assert self._handler is not None, "the parent speaks after hello"
        self._handler.handle(message)

    def load(self, spec: str) -> App:
        """Import the app, or tell the parent why that cannot be, and exit."""
        try:
            app = load_app(spec)
        except BaseException as error:
            self._end_broken(error)
        if self._files is not None:
            self._files.tell(self._wire)
        logs.set_up()
        # What was imported stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        return app

    def serve(self, app: App, role: str, hello: dict[str, Any]) -> None:
        """Run jobs to the end."""
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            try:
                if role == HOST:
                    host = self._handler = Host(app, self._wire, Jobs(self._wire, None))
                    self._watch.start()
                    runner.run(host.serve(hello, self._files))
                else:
                    single = self._handler = Single(
                        app, self._wire, Jobs(self._wire, self._watch), runner.get_loop(),
                        one=role == ISOLATED,
                    )  # fmt: skip
                    self._watch.start()
                    single.serve(hello, self._files)
            except BaseException as error:
                if self._handler is None or not self._handler.is_ready:
                    self._end_broken(error)
                # The jobs have ended and were told; the resources did not close.
                _logger.exception("the end of the lifespan failed")
                sys.exit(BROKEN_STATUS)

    def _end_broken(self, error: BaseException) -> NoReturn:
        if self._files is not None:
            self._files.tell(self._wire, files_in(error))
        self._wire.put(broken_message(error))
        self._wire.drain()
        sys.exit(BROKEN_STATUS)


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
