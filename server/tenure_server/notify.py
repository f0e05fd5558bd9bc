"""Messages to the service manager that started us (systemd's `Type=notify`)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


def notify(message: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Sends `message` ("READY=1", ...) if there is somebody to tell; whether it was sent.

    A service manager that does not listen is no reason to stop.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    target = "\0" + address[1:] if address[0] == "@" else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)
            channel.connect(target)
            channel.sendall(message.encode())
    except OSError:
        return False
    return True


def watchdog_interval_ms(environ: Mapping[str, str] = os.environ, pid: int | None = None) -> int:
    """How often the service manager wants a sign of life, halved as it advises; 0 for never."""
    text = environ.get("WATCHDOG_USEC", "")
    owner = environ.get("WATCHDOG_PID", "")
    if not text.isdigit() or (owner and owner != str(pid if pid is not None else os.getpid())):
        return 0
    return int(text) // 2_000
