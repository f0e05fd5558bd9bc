"""What the broker and its tools do while they are recorded: small, because every moment is tried."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.power.client import Actor, together
from tests.power.shim import ROOT
from tests.power.stage import Stage

OLD_FORMAT = ROOT / "tests" / "storage" / "format_1.mdb.gz"


@dataclass(frozen=True, slots=True)
class Workload:
    """A recording to make. `prepare` fills the directory before it begins."""

    name: str
    run: Callable[[Stage], None]
    journal_blocks: int = 64
    data: str = "data"
    prepare: Callable[[Path], None] | None = None


def first_start(stage: Stage) -> None:
    """A data directory comes into being, and takes its first jobs."""
    stage.start()
    with stage.actor() as actor:
        actor.enqueue()
        actor.enqueue(3)
    stage.kill()


def one_by_one(stage: Stage) -> None:
    """One job at a time, on and on."""
    stage.start()
    with stage.actor() as actor:
        for _ in range(25):
            actor.enqueue()
        for _ in range(10):
            actor.reserve()
            actor.ack()
    stage.kill()


def batches(stage: Stage) -> None:
    """Small requests go through the journal, large ones directly to LMDB, in turn."""
    stage.start()
    with stage.actor() as actor:
        for count in (5, 200, 2, 530, 1, 40):
            actor.enqueue(count)
        actor.reserve(200)
        actor.ack(150)
        actor.enqueue(2, size=150_000)
        actor.reserve(600)
        actor.ack(620)
        actor.enqueue()
    stage.kill()


def everything(stage: Stage) -> None:
    """Every way of a job to its end, from two clients at once."""
    stage.start()

    def plain(actor: Actor) -> None:
        actor.create(retention="1d")
        for _ in range(3):
            actor.enqueue(4)
            actor.enqueue(1, delayed=True)
            actor.reserve(4)
            actor.ack(2, kept=True)
            actor.fail(1)
            actor.bury(1)
            actor.cancel(1)
        actor.purge()
        actor.enqueue(2)

    def other(actor: Actor) -> None:
        for _ in range(4):
            actor.enqueue(3, size=900)
            actor.reserve(3)
            actor.release(1)
            actor.extend(1)
            actor.ack(1)
            actor.bury(1)
            actor.enqueue(1)
        actor.cancel(2)
        actor.purge()

    with stage.actor("plain") as one, stage.actor("other") as two:
        together(lambda: plain(one), lambda: other(two))
    stage.kill()


def ring(stage: Stage) -> None:
    """A journal so small that it wraps again and again."""
    stage.start()
    with stage.actor() as actor:
        for number in range(45):
            actor.enqueue(size=(10, 3900, 9000)[number % 3])
            if number % 3 == 2:
                actor.reserve(2)
                actor.ack(2)
    stage.kill()


def stops(stage: Stage) -> None:
    """Orderly ends, each with something that only the journal had."""
    for _ in range(3):
        stage.start()
        with stage.actor(f"q{_}") as actor:
            actor.enqueue(3)
            actor.reserve(2)
            actor.ack(1)
        stage.stop()


def recoveries(stage: Stage) -> None:
    """kill -9, and starts that have something to recover: power fails in these too."""
    for number in range(4):
        stage.start()
        with stage.actor(f"q{number}") as actor:
            actor.enqueue(3)
            actor.enqueue()
            actor.reserve(2)
            actor.ack(1)
        stage.kill()
    stage.start()
    stage.stop()


def compaction(stage: Stage) -> None:
    """The data file is replaced by a compact copy, after an orderly end and after kill -9."""
    for number, end in enumerate((stage.stop, stage.kill)):
        stage.start()
        with stage.actor(f"q{number}") as actor:
            actor.enqueue(60, size=2000)
            actor.reserve(50)
            actor.ack(45)
            actor.enqueue()
        end()
        stage.run("cli", "store", "compact", str(stage.data))
    stage.start()
    stage.stop()


def backups(stage: Stage) -> None:
    """Backups of a broker at work, and a data directory made of one."""
    stage.start()
    with stage.actor() as actor:
        actor.enqueue(5)
        actor.backup("first")
        actor.reserve(3)
        actor.ack(2)
        actor.backup("second")
        actor.enqueue(2)
    stage.kill()
    target = stage.root / "far" / "restored"
    stage.run(
        "cli", "backup", "restore", str(stage.data / "backups" / "second"),
        "--data-dir", str(target),
    )  # fmt: skip
    stage.mark(phase="end", id=0, outcome="done", restored="second")


def upgrade(stage: Stage) -> None:
    """A store of the first format is opened, and upgraded by that."""
    stage.run("open", str(stage.data))
    stage.run("open", str(stage.data))


def old_store(root: Path) -> None:
    """A store that the first release left behind."""
    (root / "data").mkdir()
    (root / "data" / "data.mdb").write_bytes(gzip.decompress(OLD_FORMAT.read_bytes()))


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("first-start", first_start, journal_blocks=0),
        Workload("deep-directory", first_start, data="one/two/data"),
        Workload("one-by-one", one_by_one),
        Workload("batches", batches),
        Workload("everything", everything),
        Workload("ring", ring, journal_blocks=16),
        Workload("stops", stops),
        Workload("recoveries", recoveries),
        Workload("compaction", compaction),
        Workload("backups", backups),
        Workload("upgrade", upgrade, prepare=old_store),
    )
}
"""By name."""
