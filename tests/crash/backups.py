"""The broker is killed while it makes a backup: that one is whole, or it is not there."""

from __future__ import annotations

import random
import shutil
import threading
import time
from pathlib import Path

from tenure import Client, NewJob
from tenure.errors import TenureError
from tenure_storage.backup import restore
from tenure_storage.store import StoreError
from tests.crash.brokers import ACT_ROUNDS
from tests.crash.figures import Figures
from tests.crash.rig import Rig, Tell, acts, sleep_s, under_load, verified
from tests.support.broker_process import BrokerProcess

BALLAST_JOBS = 1_000
BALLAST_BYTES = 10_000
BACKUP_SHARE = 1.1
"""Kills are spread over so many times what a whole backup takes."""


def kill_while_backing_up(
    rounds: int, place: Path, rng: random.Random, figures: Figures, tell: Tell
) -> None:
    """A little later in every backup. What was confirmed before it began is in it."""

    for directory, indexes in acts(rounds, ACT_ROUNDS, place):
        with under_load(figures, directory, rng, producers=1, workers=1) as rig:
            kept = _Kept(rig)
            for index in indexes:
                _round(rig, kept, index)
                figures.rounds += 1
                tell(f"round {index + 1}/{rounds}: {rig.since_last()}")
            kept.check_source()


class _Kept:
    """Jobs that nobody takes, so that it is known what a backup must hold; and how long one takes."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.jobs = 0
        self.enqueue(BALLAST_JOBS, BALLAST_BYTES)
        with Client(rig.broker.url) as client:
            began = time.monotonic()
            client.backup("whole")
            self.backup_s = time.monotonic() - began
        _check_backup(rig, "whole", self.jobs)

    def enqueue(self, count: int, size: int) -> None:
        """More of them, confirmed."""
        with Client(self.rig.broker.url, codec="raw", timeout="20s") as client:
            for start in range(0, count, 100):
                some = min(100, count - start)
                jobs = [NewJob("kept", self.rig.rng.randbytes(size)) for _ in range(some)]
                self.jobs += len(client.enqueue_many("kept", jobs))

    def check_source(self) -> None:
        """The store that was copied has lost nothing."""
        with Client(self.rig.broker.url, timeout="20s") as client:
            found = client.queue("kept").jobs
        if found != self.jobs:
            self.rig.figures.blame("nothing lost", f"{found} of {self.jobs} kept jobs are there")


def _round(rig: Rig, kept: _Kept, index: int) -> None:
    figures, name = rig.figures, f"b{index}"
    rig.progress()
    kept.enqueue(rig.rng.randrange(1, 30), 100)
    outcome: list[str] = []
    asked = threading.Thread(target=_ask, args=(rig.broker.url, name, outcome))
    asked.start()
    sleep_s(rig.rng.random() * BACKUP_SHARE * kept.backup_s)
    rig.kill()
    asked.join()
    backups = rig.broker.data_dir / "backups"
    if (backups / name).exists():
        figures.counts["backups whole"] += 1
        _check_backup(rig, name, kept.jobs)
    else:
        figures.counts["backups not there"] += 1
        if "made" in outcome:
            figures.blame("backups", f"{name} was confirmed and is not there")
    figures.counts["left half made"] += len(list(backups.glob(".*")))
    rig.verify()
    rig.back()
    if index % 5 == 4:
        with Client(rig.broker.url, timeout="60s") as client:
            client.backup(f"after{index}")
        _check_backup(rig, f"after{index}", kept.jobs)
        left = sorted(path.name for path in backups.glob(".*"))
        if left:
            figures.blame("backups", f"half made ones stay for ever: {left}")


def _ask(url: str, name: str, outcome: list[str]) -> None:
    try:
        with Client(url, reconnect=False, timeout="60s") as client:
            client.backup(name)
        outcome.append("made")
    except TenureError as error:
        outcome.append(repr(error))


def _check_backup(rig: Rig, name: str, jobs: int) -> None:
    """It can be restored, is sound, and holds every job that was confirmed before it began."""
    target = rig.place / "restored" / "data"
    shutil.rmtree(target.parent, ignore_errors=True)
    backup = rig.broker.data_dir / "backups" / name
    try:
        restore(backup, target)
    except StoreError as error:
        rig.figures.blame("backups", f"{name} is there and is not whole: {error}")
        shutil.rmtree(backup)
        return
    verified(target, rig.figures)
    with BrokerProcess(target.parent) as broker, Client(broker.url) as client:
        found = client.queue("kept").jobs
    if found != jobs:
        rig.figures.blame("backups", f"{name} holds {found} of {jobs} jobs")
    verified(target, rig.figures)
    # They are as large as the store, and a long run makes many.
    shutil.rmtree(backup)
