"""A broker whose commits never end, for the tests of what happens then."""

from __future__ import annotations

import sys
import threading

from tenure_server.main import main
from tenure_server.notify import notify
from tenure_storage import journal


def hang(handle: int) -> None:
    notify("COMMITTING")
    threading.Event().wait()


if __name__ == "__main__":
    journal.sync_data = hang
    sys.exit(main(sys.argv[1:]))
