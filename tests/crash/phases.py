"""The phases by name."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.crash import backups, brokers, offline, shortage, workers
from tests.crash.figures import Figures
from tests.crash.rig import Tell

Phase = Callable[[int, Path, random.Random, Figures, Tell], None]

PHASES: dict[str, Phase] = {
    "broker": brokers.kill_at_work,
    "worker": workers.kill_workers,
    "both": workers.kill_both,
    "startup": brokers.kill_at_start,
    "backup": backups.kill_while_backing_up,
    "compact": offline.kill_while_compacting,
    "upgrade": offline.kill_while_upgrading,
    "drain": brokers.kill_while_stopping,
    "pause": brokers.pause,
    "stall": workers.stop_workers,
    "short": shortage.run_short,
}


def run(name: str, rounds: int, seed: int, place: Path, figures: Figures, tell: Tell) -> None:
    """Runs a phase; what it finds is in `figures`."""
    place.mkdir(parents=True)
    PHASES[name](rounds, place, random.Random(f"{name} {seed}"), figures, tell)
