"""`python -m tests.sim`: many seeds, one seed again, or the shortest history that fails."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.sim.plan import FAULTS, FEATURES, Plan, draw, reduced
from tests.sim.run import Outcome, run

PROGRESS_S = 10.0


def main(argv: list[str] | None = None) -> int:
    """Runs what was asked for. 1: a promise was broken."""
    given = _parser().parse_args(argv)
    if given.shrink is not None:
        from tests.sim.shrink import shrink

        return shrink(_plan(given.shrink, given))
    if given.replay is not None:
        outcome = run(_plan(given.replay, given))
        print("\n".join(outcome.tail[-given.tail :]))
        _tell(outcome)
        print(f"digest {outcome.digest}, {outcome.events} events")
        return int(bool(outcome.violation))
    return _run_many(given)


def _plan(seed: int, given: argparse.Namespace) -> Plan:
    without = frozenset(name for name in given.without.split(",") if name)
    unknown = without - set(FAULTS) - set(FEATURES)
    if unknown:
        raise SystemExit(f"no such fault or feature: {', '.join(sorted(unknown))}")
    return reduced(
        draw(seed),
        without=without,
        duration_ms=given.duration_ms,
        producers=given.producers,
        workers=given.workers_of,
        jobs=given.jobs,
    )


def _seeds(text: str) -> range:
    first, _, last = text.partition(":")
    return range(int(first), int(last)) if last else range(int(first), int(first) + 1)


def _run_many(given: argparse.Namespace) -> int:
    total = Totals()
    for outcome in _outcomes(given):
        total.add(outcome)
        if outcome.violation:
            _tell(outcome, given.tail)
            if not given.keep_going:
                break
        if total.due():
            print(total.line(), file=sys.stderr, flush=True)
    print(total.table() if given.table else total.line())
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump(total.as_json(), file, indent=1)
    return int(bool(total.violations))


def _outcomes(given: argparse.Namespace) -> Iterator[Outcome]:
    until = time.monotonic() + given.minutes * 60 if given.minutes else float("inf")
    seeds = (seed for seed in _seeds(given.seeds) if time.monotonic() < until)
    if given.workers <= 1:
        for seed in seeds:
            yield run(_plan(seed, given))
        return
    context = multiprocessing.get_context("fork")
    # The pool takes all tasks at once; this lets it have no more than it is working on.
    room = threading.Semaphore(2 * given.workers)
    with context.Pool(given.workers, maxtasksperchild=200) as pool:
        for outcome in pool.imap(run, _plans_as_there_is_room(seeds, room, given)):
            room.release()
            yield outcome


def _plans_as_there_is_room(
    seeds: Iterator[int], room: threading.Semaphore, given: argparse.Namespace
) -> Iterator[Plan]:
    while True:
        room.acquire()
        seed = next(seeds, None)
        if seed is None:
            return
        yield _plan(seed, given)


def _tell(outcome: Outcome, tail: int = 60) -> None:
    if not outcome.violation:
        return
    seed = outcome.plan.seed
    print(f"VIOLATION property={outcome.violation.replace(' ', '-')} seed={seed}")
    print(f"  {outcome.told}")
    print(f"  faults: {', '.join(sorted(outcome.plan.faults)) or 'none'}")
    print(f"  features: {', '.join(sorted(outcome.plan.features)) or 'none'}")
    print("  the last events:")
    print("\n".join(f"    {line[:400]}" for line in outcome.tail[-tail:]))
    print(f"  again: python -m tests.sim --replay {seed}")
    print(f"  shortest: python -m tests.sim --shrink {seed}", flush=True)


class Totals:
    """What all seeds together came to."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.told = self.began
        self.seeds = self.simulated_ms = self.operations = self.events = self.lives = 0
        self.reached: Counter[str] = Counter()
        self.seeds_reaching: Counter[str] = Counter()
        self.violations: list[tuple[str, int, str]] = []

    def add(self, outcome: Outcome) -> None:
        """One seed more."""
        self.seeds += 1
        self.simulated_ms += outcome.simulated_ms
        self.operations += outcome.operations
        self.events += outcome.events
        self.lives += outcome.lives
        self.reached.update(outcome.reached)
        self.seeds_reaching.update(name for name, count in outcome.reached.items() if count)
        if outcome.violation:
            self.violations.append((outcome.violation, outcome.plan.seed, outcome.told))

    def due(self) -> bool:
        """Whether it is time for a line."""
        now = time.monotonic()
        if now - self.told < PROGRESS_S:
            return False
        self.told = now
        return True

    def line(self) -> str:
        """All in one line."""
        took_s = max(time.monotonic() - self.began, 0.001)
        hours = self.simulated_ms / 3_600_000
        crashes = self.reached["kills"] + self.reached["power cuts"]
        return (
            f"{self.seeds} seeds, {hours:.2f} simulated hours, {self.operations} operations,"
            f" {self.events} events, {self.lives} lives, {crashes} crashes, {took_s:.0f} s"
            f" ({self.simulated_ms / 1000 / took_s:.0f} simulated s/s),"
            f" {len(self.violations)} violations"
        )

    def table(self) -> str:
        """What was reached, how often, in how many seeds."""
        rows = [f"{'reached':48} {'times':>10} {'seeds':>7}"]
        rows += [
            f"{name:48} {self.reached[name]:>10} {self.seeds_reaching[name]:>7}"
            for name in sorted(self.reached)
        ]
        return "\n".join([*rows, self.line()])

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {
            "seeds": self.seeds,
            "simulated_hours": self.simulated_ms / 3_600_000,
            "operations": self.operations,
            "events": self.events,
            "lives": self.lives,
            "seconds": time.monotonic() - self.began,
            "reached": dict(sorted(self.reached.items())),
            "seeds_reaching": dict(sorted(self.seeds_reaching.items())),
            "violations": self.violations,
        }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    add = parser.add_argument
    add("--seeds", default="0:100", help="a seed, or first:end")
    add("--minutes", type=float, default=0, help="begin no seed after so many minutes")
    add("--workers", type=int, default=1, help="processes")
    add("--replay", type=int, help="run this seed again and print its tail")
    add("--shrink", type=int, help="find the shortest history of this seed that fails")
    add("--without", default="", help="faults and features to switch off, with commas")
    add("--duration-ms", type=int, help="how long the history is, instead of the seed's own")
    add("--producers", type=int, help="how many, instead of the seed's own")
    add("--jobs", type=int, help="how many jobs are sent at most, instead of the seed's own")
    add("--workers-of", type=int, help="how many workers the history has")
    add("--tail", type=int, default=60, help="how many events to print")
    add("--keep-going", action="store_true", help="go on after a violation")
    add("--table", action="store_true", help="print what was reached")
    add("--json", help="write the figures to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
