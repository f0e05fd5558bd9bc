"""Workers are killed, their children, the broker under them, and all of it; and workers stand still."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.crash.figures import Figures
from tests.crash.rig import Tell, acts
from tests.crash.task_rig import TaskRig, working

ACT_ROUNDS = 12
LEASE_S = 4.0


def _rounds(rounds: int, place: Path, rng: random.Random, figures: Figures, tell: Tell,
            one: Callable[[TaskRig], None]) -> None:  # fmt: skip
    for directory, indexes in acts(rounds, ACT_ROUNDS, place):
        with working(figures, directory, rng) as rig:
            for index in indexes:
                rig.progress()
                one(rig)
                figures.rounds += 1
                tell(f"round {index + 1}/{rounds}: {figures.told()}")


def kill_workers(
    rounds: int, place: Path, rng: random.Random, figures: Figures, tell: Tell
) -> None:
    """At random moments: a worker's own process, or one of its children."""

    def one(rig: TaskRig) -> None:
        if rng.random() < 0.7:
            rig.kill_worker()
        else:
            rig.kill_child()

    _rounds(rounds, place, rng, figures, tell, one)


def kill_both(rounds: int, place: Path, rng: random.Random, figures: Figures, tell: Tell) -> None:
    """The broker, and while it is away also workers or their children."""

    def one(rig: TaskRig) -> None:
        if rng.random() < 0.3:
            rig.kill_child()
        rig.kill_broker()
        if rng.random() < 0.6:
            rig.kill_worker()
        elif rng.random() < 0.5:
            rig.kill_child()
        rig.broker_back()
        if rng.random() < 0.2:
            rig.kill_worker()

    _rounds(rounds, place, rng, figures, tell, one)


def stop_workers(
    rounds: int, place: Path, rng: random.Random, figures: Figures, tell: Tell
) -> None:
    """A worker's own process stands still for longer than its leases, while its children go on."""

    def one(rig: TaskRig) -> None:
        rig.stop_worker(rng.uniform(0.5, 2.0) * LEASE_S)

    _rounds(rounds, place, rng, figures, tell, one)
