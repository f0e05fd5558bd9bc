"""A broker whose commits never end, for the tests of what happens then."""

from __future__ import annotations

import sys
import threading

from tenure_server import signals
from tenure_server.main import main
from tenure_server.notify import notify
from tenure_storage import direct, journal


def hang(handle: int) -> None:
    """A sync that never ends."""
    notify("COMMITTING")
    threading.Event().wait()


def hang_direct(handle: int, data: memoryview, at: int) -> int:
    """A write past the page cache that never ends."""
    hang(handle)
    return len(data)


if __name__ == "__main__":
    direct.write_synced = hang_direct
    journal.sync_data = hang
    signals.CLOSING_S = 0.1
    sys.exit(main(sys.argv[1:]))
