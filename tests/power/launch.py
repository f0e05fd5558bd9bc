"""Runs a part of the product in this process: `launch.py JOURNAL_BYTES CONTROL WHAT ARGUMENTS`.

The same code as `python -m tenure_server` and `tenure`, but for the size of a new journal, so
that its ring wraps soon. CONTROL is empty, or names a fault that the checks must find.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tenure_storage import backup, direct, environment, journal, lmdb_store

BLOCK_BYTES = direct.BLOCK_BYTES
LATE_S = 0.05
SYNCED_LATE = "synced-late"
"""A control: the journal says that the disk has a record, and has it synced a little later."""
ERRORS_IGNORED = "errors-ignored"
"""A control: the journal takes no notice of a sync that fails."""
UNSYNCED_NAMES = "unsynced-names"
"""A control: directories are never synced."""


def run(what: str, arguments: Sequence[str]) -> int:
    """`server`, `cli` or `open` (a store, and closed again); the exit code."""
    if what == "server":
        from tenure_server.main import main

        return main(arguments)
    if what == "open":
        from tenure_storage.journaled_store import open_journaled

        open_journaled(Path(arguments[0]), max_bytes=1 << 26).close()
        return 0
    from tenure.cli import main as command

    try:
        command(list(arguments))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def prepare(journal_bytes: int, control: str = "") -> None:
    """Sets the size of a new journal (0: as the product has it), and plants the control's fault."""
    if journal_bytes:
        journal.JOURNAL_BYTES = journal_bytes
    if control in (SYNCED_LATE, ERRORS_IGNORED):
        # These faults are in the way of writing that has a sync of its own.
        for module in (journal,):
            vars(module)["open_direct"] = lambda _: None
    if control == SYNCED_LATE:
        journal.sync_data = _synced_late
    if control == ERRORS_IGNORED:
        journal.sync_data = _synced_or_not
    if control == UNSYNCED_NAMES:
        for module in (environment, lmdb_store, journal, backup):
            vars(module)["sync_directory"] = lambda _: None


def _synced_late(handle: int) -> None:
    thread = threading.Timer(LATE_S, os.fdatasync, [handle])
    thread.daemon = True
    thread.start()


def _synced_or_not(handle: int) -> None:
    with contextlib.suppress(OSError):
        os.fdatasync(handle)


if __name__ == "__main__":
    prepare(int(sys.argv[1]), sys.argv[2])
    sys.exit(run(sys.argv[3], sys.argv[4:]))
