"""A producer of tasks for the kill tests: `task_producer.py URL JOURNAL NAME SEED`, until SIGTERM."""

from __future__ import annotations

import faulthandler
import os
import random
import signal
import sys
import time
from pathlib import Path

from tenure.errors import BrokerError, TenureError
from tests.acceptance.journal import Journal


def main() -> None:
    """Enqueues calls of all tasks until it is told to stop."""
    faulthandler.register(signal.SIGUSR1)  # so that one that hangs can say where
    url, journal_path, name, seed = sys.argv[1:5]
    os.environ["TENURE_URL"] = url
    from tests.crash.task_app import TASKS, app

    journal, rng = Journal(Path(journal_path)), random.Random(int(seed))
    # No event: its lock may be taken where the signal comes.
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    number = 0
    while not stopped:
        calls, keys = [], []
        for _ in range(rng.choice([1, 3, 8])):
            number += 1
            keys.append(f"{name}-{number}")
            pause_s = rng.choice([0.0, 0.0, 0.01, 0.1, 0.4])
            [task] = rng.choices(TASKS, [6, 3, 1])
            calls.append(task.s(keys[-1], pause_s))
        journal.write("enqueue", jobs=dict.fromkeys(keys, ""))
        try:
            handles = app.enqueue_many(calls)
        except BrokerError as error:
            journal.write("enqueue refused", jobs=keys, code=error.code)
        except TenureError as error:
            journal.write("enqueue unknown", jobs=keys, error=repr(error))
        else:
            ids = [handle.id for handle in handles]
            journal.write("enqueued", jobs=dict(zip(keys, ids, strict=True)))
        time.sleep(0.05)
    journal.write("closed")
    app.close()


if __name__ == "__main__":
    main()
