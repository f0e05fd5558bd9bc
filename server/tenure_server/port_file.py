"""Tells tests and supervisors where a broker listens that was given port 0."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tenure_server import exits
from tenure_server.config_values import Address


def write_port_file(path: Path, listen: Address, http: Address | None) -> None:
    """Writes `{"listen": [host, port], "http": [host, port] | null, "pid": int}` in one step.

    Raises `StartError` if it cannot be written.
    """
    content = {
        "listen": list(listen),
        "http": None if http is None else list(http),
        "pid": os.getpid(),
    }
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(json.dumps(content) + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise exits.StartError(
            f"the port file {path} cannot be written: {error.strerror or error}",
            exits.CANNOT_CREATE,
        ) from error


def remove_port_file(path: Path) -> None:
    """Removes the file, if it is still this process's."""
    try:
        if json.loads(path.read_text(encoding="utf-8"))["pid"] == os.getpid():
            path.unlink()
    except (OSError, ValueError, KeyError, TypeError):
        pass
