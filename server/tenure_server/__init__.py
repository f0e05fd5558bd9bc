"""The daemon: the engine (`engine/`, pure) and the shell around it, which owns sockets, disk and time.

    socket ─► Connection ─► Engine.execute ─► Pump: seal ─► Store.submit ─► announce ─► Connection ─► socket

`main.run` starts a broker; everything that reads a clock, a socket or a signal is outside `engine/`.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def server_version() -> str:
    """The version of the installed distribution, such as "0.1.0"."""
    try:
        return version("tenure")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
