"""A long run of everything at once: `python -m tests.soak --minutes 30`.

A real broker, producers, workers and a keeper of dead letters and queues work at a steady pace; the
broker and the others are killed and restarted every so often. A checker looks on: no job lost, none
doubled, none from nowhere, none early, none stuck, counts equal to contents. Every few seconds
memory, files, descriptors, threads and latencies are written down; at the end they are drawn, and
judged: nothing may grow. The exit code is 1 if something did, or if a promise was broken.

    trail, ledger, reconcile   the checker: what it reads, what it knows, what it compares
    produce, call, consume, app, keep   the processes;  crew   their places
    schedule, run              what happens when
    sampling, verdict, drawing what is measured, judged and drawn
    planted                    brokers with a fault, to see that it is found
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.soak.drawing import draw
from tests.soak.planted import FAULTS
from tests.soak.run import Soak
from tests.soak.sampling import Sampled
from tests.soak.verdict import BOUNDS, Growth, Point, between_lives, judge

SAMPLES = 300
"""How many looks a run has, between the shortest and the longest pause."""

SAMPLE_S_MIN, SAMPLE_S_MAX = 0.5, 30.0
PLACES = ("p1", "p2", "c1", "w1", "w2", "t1", "k1")
QUICK_PLACES = ("p1", "c1", "w1", "t1", "k1")
BUSY_PERCENT_MAX = 85.0
"""Of all processors, by whomsoever: above that, latencies are not judged."""

JUDGED_MINUTES_MIN = 5.0
"""A shorter run is all warm-up: its figures are shown and not judged, unless asked for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the soak of the command line; the exit code."""
    options = _parser().parse_args(arguments)
    # Asked to end, it ends what it has started; killed, it would leave that behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    kept = options.out or Path(tempfile.mkdtemp(prefix="soak-"))
    seconds = 60 * options.minutes
    judged = options.judge or options.minutes >= JUDGED_MINUTES_MIN
    soak = Soak(
        directory=kept / "run",
        seconds=seconds,
        seed=options.seed,
        rate=options.rate,
        sample_s=min(SAMPLE_S_MAX, max(SAMPLE_S_MIN, seconds / SAMPLES)),
        places=list(QUICK_PLACES if options.quick else PLACES),
        say=lambda text: print(time.strftime("%H:%M:%S"), text, flush=True),
        planted=options.plant,
    )
    shutil.rmtree(soak.directory, ignore_errors=True)
    soak.run()
    growths = judged_growths(soak.samples)
    _report(soak, growths, kept, options, judged=judged)
    broken = bool(soak.ledger.violations)
    grew = judged and any(growth.grew for growth in growths)
    if broken or grew:
        print(f"to repeat it: python -m tests.soak --minutes {options.minutes:g}", end="")
        print(f" --rate {options.rate:g} --seed {options.seed}{' --quick' * options.quick}")
        print(f"what is left of it: {kept}")
    elif options.out is None:
        shutil.rmtree(kept)
    return 1 if broken or grew else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description="Everything at once, for a long time."
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (default: 30)")
    parser.add_argument("--seed", type=int, default=1, help="of the load and of what happens when")
    parser.add_argument("--rate", type=float, default=40.0, help="jobs a second of each producer")
    parser.add_argument("--out", type=Path, help="where samples, charts and summary are kept")
    parser.add_argument("--quick", action="store_true", help="fewer processes: to see it run")
    parser.add_argument("--judge", action="store_true", help="judge growth in a short run, too")
    parser.add_argument("--plant", choices=list(FAULTS), default="", help="with this fault in it")
    return parser


def points_of(samples: Sequence[Sampled], name: str) -> list[Point]:
    """One figure over the run.

    Latencies only of looks before which nothing happened, and while the machine had time: what
    waits for a processor says nothing of the broker.
    """
    steady = name.endswith(" ms")
    who = next((kind for kind in _kinds(samples) if name.startswith(f"{kind} ")), "")
    return [
        (one.at_s, one.figures[name], one.lives.get(who, 0))
        for one in samples
        if name in one.figures and not (steady and _unfair(one))
    ]


def _unfair(one: Sampled) -> bool:
    return one.disturbed or one.figures.get("machine busy %", 0.0) > BUSY_PERCENT_MAX


def _kinds(samples: Sequence[Sampled]) -> list[str]:
    kinds = {kind for one in samples for kind in one.lives}
    return sorted(kinds, key=len, reverse=True)


def judged_growths(samples: Sequence[Sampled]) -> list[Growth]:
    """Every figure that has a bound, over the run and life by life."""
    found: list[Growth | None] = []
    for name, bound in BOUNDS.items():
        points = points_of(samples, name)
        found.append(judge(name, points, bound))
        if bound.lives:
            found.append(between_lives(name, points, bound))
    return [growth for growth in found if growth is not None]


def _report(
    soak: Soak, growths: Sequence[Growth], kept: Path, options: argparse.Namespace, *, judged: bool
) -> None:
    ledger = soak.ledger
    print(f"\nsoak of {options.minutes:g} minutes, seed {options.seed}, {len(soak.samples)} looks")
    print("  " + ", ".join(f"{count} {what}" for what, count in sorted(ledger.counts.items())))
    for growth in growths:
        print("  " + growth.text())
    for violation in ledger.violations:
        print(f"  BROKEN {violation}")
    summary = {
        "minutes": options.minutes,
        "seed": options.seed,
        "rate": options.rate,
        "counts": dict(sorted(ledger.counts.items())),
        "violations": ledger.violations,
        "judged": judged,
        "growths": [asdict(growth) for growth in growths],
    }
    (kept / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    charts = draw(kept, soak.samples)
    print(f"  {len(charts)} charts, samples and summary are in {kept}")
    grew = [growth.name for growth in growths if growth.grew]
    if not judged:
        print("  too short to judge growth")
    else:
        print("  no growth" if not grew else f"  GREW: {', '.join(grew)}")
    print("  no promise was broken" if not ledger.violations else "  promises were BROKEN")


if __name__ == "__main__":
    sys.exit(main())
