"""A producer for the kill test: `load_producer.py URL JOURNAL NAME SEED`, until SIGTERM.

It sends one request at a time and writes down every job before and after. Nothing here
knows whether the broker is alive.
"""

from __future__ import annotations

import faulthandler
import hashlib
import random
import signal
import sys
import time
from pathlib import Path

from tenure import Client, NewJob
from tenure.errors import BrokerError, TenureError
from tests.acceptance.journal import Journal

QUEUE = "load"


def main() -> None:
    """Enqueues until it is told to stop."""
    faulthandler.register(signal.SIGUSR1)  # so that one that hangs can say where
    url, journal_path, name, seed = sys.argv[1:5]
    journal, rng = Journal(Path(journal_path)), random.Random(int(seed))
    # No event: its lock may be taken where the signal comes.
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    client = Client(url, name=name, codec="raw", timeout="10s", connect_timeout="10s")
    number = 0
    while not stopped:
        payloads = {}
        for _ in range(rng.choice([1, 1, 3, 20])):
            number += 1
            key = f"{name}-{number}"
            payloads[key] = f"{key}|".encode() + rng.randbytes(rng.randrange(200))
        hashes = {key: hashlib.sha256(data).hexdigest() for key, data in payloads.items()}
        journal.write("enqueue", jobs=hashes)
        try:
            ids = client.enqueue_many(QUEUE, [NewJob("work", data) for data in payloads.values()])
        except BrokerError as error:
            journal.write("enqueue refused", jobs=list(hashes), code=error.code)
            time.sleep(0.05)
        except TenureError as error:
            journal.write("enqueue unknown", jobs=list(hashes), error=repr(error))
        else:
            journal.write("enqueued", jobs=dict(zip(hashes, ids, strict=True)))
    journal.write("closed")
    client.close()


if __name__ == "__main__":
    main()
