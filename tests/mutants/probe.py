"""Runs in the copy: makes sure that it is the copy that is tried, then lives through histories."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.sim.plan import Plan

PACKAGES = ("tenure", "tenure_protocol", "tenure_server", "tenure_storage", "tests.sim")


@dataclass(frozen=True, slots=True)
class Task:
    """What to try: small histories of what is needed, then histories as they are drawn."""

    root: str
    file: str
    needs: list[str]
    """What the small histories are of, one kind after the other."""
    small: int
    drawn: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Found:
    """What was broken first, or nothing."""

    property: str
    told: str
    kind: str
    """`small` or `drawn`."""
    seed: int
    histories: int


def check_origin(task: Task) -> None:
    """Raises `RuntimeError` when something is imported from elsewhere than the copy."""
    changed = [".".join(Path(task.file).with_suffix("").parts[1:])] if task.file else []
    for name in (*PACKAGES, *changed):
        at = importlib.import_module(name).__file__
        if at is None or not Path(at).is_relative_to(task.root):
            raise RuntimeError(f"{name} comes from {at}, and not from the copy in {task.root}")


def search(task: Task) -> Found:
    """The first violation."""
    from tests.sim.run import run

    until = time.monotonic() + task.seconds
    histories = 0
    for kind, plan in _plans(task):
        if histories and time.monotonic() > until:
            break
        histories += 1
        outcome = run(plan)
        if outcome.violation:
            return Found(outcome.violation, outcome.told, kind, plan.seed, histories)
    return Found("", "", "", -1, histories)


def _plans(task: Task) -> Iterator[tuple[str, Plan]]:
    from tests.sim.plan import draw

    for needs in filter(None, task.needs):
        for seed in range(task.small):
            yield "small", _small(seed, frozenset(needs.split(",")))
    for seed in range(task.drawn):
        yield "drawn", draw(seed)


def _small(seed: int, needed: frozenset[str]) -> Plan:
    """A short history of what is needed alone.

    Times are of one scale, so that everything meets; sizes that are not named are the seed's.
    """
    from tests.sim.plan import FAULTS, FEATURES, draw

    unknown = needed - set(FAULTS) - set(FEATURES)
    if unknown:
        raise RuntimeError(f"the simulator has no {', '.join(sorted(unknown))}")
    think_ms, work_ms = ((20, 5), (400, 5), (20, 800), (400, 800))[seed % 4]
    plan = draw(seed)
    return replace(
        plan, faults=needed & set(FAULTS), features=needed & set(FEATURES),
        duration_ms=3_000, jobs=60, producers=2, workers=3, think_ms=think_ms, work_ms=work_ms,
        lease_ms=500, queues=1, fault_every_ms=100, latency_us=500,
        sync_us=(100, 1_000)[seed // 4 % 2], commit_us=(1_000, 30_000)[seed // 8 % 2],
        payload_bytes=(20, 1_000)[seed // 2 % 2],
        journal_bytes=(16 * 4_096, plan.journal_bytes)[seed // 16 % 2],
        leases_max=500_000, waiting_max=20_000, max_attempts=3,
        poison_after=int("poison" in needed),
    )  # fmt: skip


def main(text: str) -> int:
    """Prints what was found, as JSON."""
    task = Task(**json.loads(text))
    check_origin(task)
    print(json.dumps(asdict(search(task))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
