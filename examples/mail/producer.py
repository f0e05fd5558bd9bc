"""Enqueues a welcome letter for every customer who has none: `python -m examples.mail.producer`.

It may run every minute, twice at a time, or again after a crash. TENURE_URL and MAIL_CUSTOMERS
say where the broker and the list are.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from examples.mail.customers import open_customers
from examples.mail.tasks import app, welcome


def main() -> int:
    """Enqueues, and says what was new; the exit code."""
    with open_customers(Path(os.environ["MAIL_CUSTOMERS"])) as customers:
        waiting = customers.without_letter()
    jobs = app.enqueue_many(welcome.s(address, name) for address, name in waiting)
    app.close()
    known = sum(job.existing for job in jobs)
    print(f"{len(waiting)} without a letter: {len(jobs) - known} enqueued, {known} on their way")
    return 0


if __name__ == "__main__":
    sys.exit(main())
