"""The keeper of the soak: `keep.py URL DIRECTORY NAME SEED`, until SIGTERM.

It replays and purges dead letters, makes and deletes queues all along, purges them, pauses and
resumes, and takes a backup now and then. Only it knows the jobs of the queues that it makes, and it
compares what became of them itself. While there is a file called `hold` it does nothing.
"""

from __future__ import annotations

import random
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

from tenure import Client, NewJob
from tenure.errors import TenureError
from tests.soak.reconcile import OWN_PREFIX
from tests.soak.trail import Trail, number_of

QUEUES = ("mixed", "later", "unique", "large", "kept", "tasks")
PAUSE_S = 0.3
LOOK_S = 0.05
BACKUP_EVERY_S = 45.0
REPLAYED_SHARE = 0.6


class Keeper:
    """The keeper and its trail."""

    def __init__(self, url: str, directory: Path, name: str, seed: int) -> None:
        self.client = Client(url, name=name, codec="raw", timeout="20s", connect_timeout="20s")
        self.trail, self.name = Trail(directory, name), name
        self.hold, self.random, self.stop = (
            directory / "hold",
            random.Random(seed),
            threading.Event(),
        )
        self.number, self.next_backup = 0, time.monotonic() + BACKUP_EVERY_S / 3

    def run(self) -> None:
        """Does one thing after the other; what a broken connection leaves open it does not mind."""
        while not self.stop.wait(PAUSE_S):
            if self.hold.exists():
                self.trail.write("holding", number=number_of(self.hold))
                while self.hold.exists() and not self.stop.wait(LOOK_S):
                    pass
                continue
            try:
                self.bury_or_revive(self.random.choice(QUEUES))
                self.churn()
                if time.monotonic() > self.next_backup:
                    self.next_backup = time.monotonic() + BACKUP_EVERY_S
                    self.back_up()
            except TenureError as error:
                self.trail.write("did", what=f"keeping unknown ({type(error).__name__})")

    def bury_or_revive(self, queue: str) -> None:
        """Replays some of a queue's dead jobs and purges the others."""
        for dead in self.client.dead_jobs(queue, limit=50, bodies=False).jobs:
            if self.random.random() < REPLAYED_SHARE and dead.attempt < 12:
                self.trail.write("replay", id=dead.id)
                self.client.replay(queue, ids=[dead.id])
            else:
                self.trail.write("meant", id=dead.id, how="purged")
                [outcome] = self.client.purge_dead(queue, ids=[dead.id])
                if outcome.ok:
                    self.trail.write("ended", id=dead.id, how="purged")

    def churn(self) -> None:
        """The life of a queue: made, filled, paused, worked at, purged, deleted."""
        self.number, begun = self.number + 1, time.monotonic()
        queue = f"{OWN_PREFIX}{self.name}.{self.number}"
        for old in self.client.queues(f"{OWN_PREFIX}{self.name.rstrip('0123456789')}"):
            self.client.delete_queue(old.name, force=True)  # Left behind by a broken connection.
        self.client.create_queue(queue, max_jobs=500)
        count = self.random.randrange(1, 200)
        self.client.enqueue_many(queue, [NewJob("churn", bytes(50)) for _ in range(count)])
        self.client.pause_queue(queue)
        taken_paused = self.client.reserve(queue)
        self.client.resume_queue(queue)
        taken = self.client.reserve(queue, max_jobs=10, lease=30)
        self.client.ack(taken)
        purged = self.client.purge_queue(queue)
        left = self.client.queue(queue).jobs
        self.client.delete_queue(queue, force=bool(self.random.getrandbits(1)))
        self.trail.write("did", what="queues made and deleted")
        if taken_paused or not taken or len(taken) + purged != count or left:
            what = f"{queue}: {count} enqueued, {len(taken_paused)} taken while paused,"
            what += f" {len(taken)} taken, {purged} purged, {left} left"
            told = {"since": begun, "promise": "counts equal contents", "what": what}
            self.trail.write("odd", **told)

    def back_up(self) -> None:
        """A backup, and away with it."""
        backup = self.client.backup()
        shutil.rmtree(backup.path)
        self.trail.write("did", what="backups")


def main() -> None:
    """Keeps."""
    url, directory, name, seed = sys.argv[1:5]
    keeper = Keeper(url, Path(directory), name, int(seed))
    signal.signal(signal.SIGTERM, lambda *_: keeper.stop.set())
    keeper.run()
    keeper.client.close()


if __name__ == "__main__":
    main()
