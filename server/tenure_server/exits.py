"""How the process ends: exit codes after sysexits.h, so that supervisors can tell causes apart."""

from __future__ import annotations

OK = 0
"""Stopped as asked, everything committed."""
UNCLEAN = 1
"""Stopped as asked, but the grace was over before the last commit was."""
DATA = 65
"""The data directory holds what this version cannot read."""
UNAVAILABLE = 69
"""An address is in use or does not exist here."""
INTERNAL = 70
"""A fault in the broker itself, logged with its traceback."""
CANNOT_CREATE = 73
"""The data directory cannot be created or written."""
IO_ERROR = 74
"""A commit, a sync or what a start needs of the disk failed, or the disk is full. Nothing that is
not durable was confirmed; the next start recovers."""
LOCKED = 75
"""Another process holds the data directory."""
NO_PERMISSION = 77
"""The port may not be opened by this user."""
CONFIG = 78
"""A setting is unknown or has an impossible value."""


class StartError(Exception):
    """The broker cannot start. The message is one line for a person; `code` is the exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
