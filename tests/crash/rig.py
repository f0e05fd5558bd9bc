"""A broker under load, to be killed: what every phase does the same way.

with under_load(figures, place, rng) as rig:   producers and workers are at work
    rig.progress(); rig.kill(); rig.back()     ... the phase's own business ...
                                               load ended, queue drained, journals checked
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tenure import Client
from tenure.testing.server_process import START_S_MAX
from tenure_storage.lock import LOCK_NAME
from tenure_storage.store import StoreError
from tenure_storage.verify import verify
from tests.acceptance.checker import check
from tests.acceptance.journal import Journal, read_journals
from tests.acceptance.load import Load, wait_for_progress
from tests.crash.figures import Figures
from tests.crash.tally import Tally
from tests.support.broker_process import BrokerProcess

DRAIN_S_MAX = 180.0
START_SHARE = 1.25
"""Kills at a start are spread over so many times what a whole start takes."""
STORE_S = 0.25
"""And those of a broker that has its data directory over this: recovery, upgrade, first seconds."""


Tell = Callable[[str], None]
"""Told what happens, line by line."""


class Rig:
    """One broker, its load, and the journal of who killed what when."""

    def __init__(
        self, figures: Figures, place: Path, rng: random.Random, broker: BrokerProcess
    ) -> None:
        self.figures, self.place, self.rng, self.broker = figures, place, rng, broker
        self.load = Load(place, broker.url)
        self.journal = Journal(place / "killer.journal")
        self._tally = Tally(place)
        self.start_s = 0.5
        """How long a start took lately."""

    def progress(self) -> None:
        """Waits until the load has done a random piece of work."""
        wait_for_progress(self.load, self.rng.randrange(2_000, 60_000))

    def kill(self) -> None:
        """kill -9 of the broker."""
        self.journal.write("broker killed")
        self.broker.kill()
        self.figures.kills += 1

    def back(self) -> None:
        """The broker again, and how long that took."""
        began = time.monotonic()
        self.broker.start()
        self.start_s = time.monotonic() - began
        self.figures.recovered_s.append(self.start_s)

    def kill_while_starting(self, share: float, *, with_the_store: bool = False) -> None:
        """Starts the broker and kills it at that share of its start, or of what follows imports."""
        self.broker.spawn()
        wait_to_kill(self.broker, share, self.start_s, self.figures, with_the_store=with_the_store)
        self.kill()

    def since_last(self) -> str:
        """What the load has seen since this was last asked."""
        counts = self._tally.new()
        back_ms = 1000 * self.figures.recovered_s[-1] if self.figures.recovered_s else 0
        return (
            f"confirmed {counts['enqueued']}, delivered {counts['got']},"
            f" settled {counts['settled']}; back after {back_ms:.0f} ms"
        )

    def verify(self) -> None:
        """Is the store sound as the kill left it?"""
        verified(self.broker.data_dir, self.figures)

    def disturb(self, number: int) -> None:
        """Now and then a client dies too."""
        if number % 5 == 4:
            self.load.replace("worker", number)
        if number % 7 == 6:
            self.load.replace("producer", number)

    def drain(self) -> None:
        """Ends the load and lets one worker take everything that is left."""
        codes = self.load.end(signal.SIGTERM)
        if any(codes):
            self.figures.blame("clients", f"exit codes {codes}:\n{self.load.log()}")
        drain = self.load.start("worker", "drain")
        self.load.processes["worker"].append(drain)
        try:
            code = drain.wait(DRAIN_S_MAX)
        except subprocess.TimeoutExpired:
            self.figures.blame("drain", f"the queue is not empty after {DRAIN_S_MAX} s")
        else:
            if code:
                self.figures.blame("drain", f"exit code {code}:\n{self.load.log()}")


def wait_to_kill(
    broker: BrokerProcess, share: float, start_s: float, figures: Figures, *, with_the_store: bool
) -> None:
    """Until that share of its start is over, or of what comes once it has the data directory."""
    if with_the_store:
        _until_it_has_the_directory(broker)
        delay_s = share * STORE_S
    else:
        delay_s = share * START_SHARE * start_s
    ended = ended_within(broker, delay_s)
    if ended is not None:
        figures.blame("starts", f"it ended by itself with {ended}:\n{broker.log}")
    elif broker.listening:
        figures.counts["killed listening"] += 1
    else:
        figures.counts["killed before it listened"] += 1


def _until_it_has_the_directory(broker: BrokerProcess) -> None:
    lock, own, end = broker.data_dir / LOCK_NAME, f"{broker.pid}\n", time.monotonic() + START_S_MAX
    while broker.running and time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):
            if lock.read_text() == own:
                return
        time.sleep(0.0005)


def ended_within(broker: BrokerProcess, delay_s: float) -> int | None:
    """Its exit code if it ends within that time; it should not."""
    try:
        return broker.wait(delay_s)
    except subprocess.TimeoutExpired:
        return None


def verified(data_dir: Path, figures: Figures) -> bool:
    """Verifies a store and counts that; what is wrong is a violation. Whether it is sound."""
    figures.verified += 1
    try:
        report = verify(data_dir)
    except StoreError as error:
        figures.blame("sound", f"{data_dir}: {error}")
        return False
    if not report.sound:
        figures.blame("sound", f"{data_dir}: {report.error_counts} {report.errors[:5]}")
    return report.sound


@contextmanager
def under_load(
    figures: Figures, place: Path, rng: random.Random, *, producers: int = 2, workers: int = 3
) -> Iterator[Rig]:
    """A broker with producers and workers; what they saw is checked at the end of the block."""
    place.mkdir(parents=True, exist_ok=True)
    with BrokerProcess(place) as broker:
        with Client(broker.url) as client:
            client.create_queue("load", max_jobs=1_500, max_attempts=1_000, poison_after=0)
        rig = Rig(figures, place, rng, broker)
        try:
            rig.load.add("producer", producers)
            rig.load.add("worker", workers)
            wait_for_progress(rig.load, 2_000)
            yield rig
            wait_for_progress(rig.load, 5_000)
            rig.drain()
        finally:
            rig.load.end(signal.SIGKILL)
    verified(broker.data_dir, figures)
    verdict = check(read_journals(place))
    figures.counts += verdict.counts
    figures.violations += verdict.violations


def sleep_s(seconds: float) -> None:
    """Lets time pass: what is killed is not asked when it would suit."""
    threading.Event().wait(seconds)


def acts(rounds: int, act_rounds: int, place: Path) -> Iterator[tuple[Path, range]]:
    """A long run is many short ones, each checked by itself: where it works, and its rounds."""
    for number, first in enumerate(range(0, rounds, act_rounds)):
        yield place / f"act{number}", range(first, min(first + act_rounds, rounds))
