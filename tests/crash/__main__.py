"""`python -m tests.crash`: kill -9 of real processes, for as long as you like."""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.crash.figures import Figures, summary
from tests.crash.phases import PHASES, run

VIOLATIONS_SHOWN = 10


def main() -> int:
    """Runs the phases that were asked for; 1 if a promise was broken."""
    given = _parser().parse_args()
    # Also as a background job, and from a service manager: nothing it started is left running.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    names = given.only.split(",") if given.only else list(PHASES)
    unknown = [name for name in names if name not in PHASES]
    if unknown:
        print(f"no such phase: {', '.join(unknown)}; there are {', '.join(PHASES)}")
        return 2
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1 << 31)
    place = Path(tempfile.mkdtemp(prefix="tenure-crash-", dir=given.dir))
    print(f"seed {seed}, {given.rounds} rounds each, in {place}", flush=True)
    found: list[Figures] = []
    try:
        for name in names:
            found.append(_one(name, given.rounds, seed, place / name, given.quiet))  # noqa: PERF401 (told even if cut short)
    finally:
        print(f"\n{summary(found)}")
        if len(found) < len(names):
            print(f"cut short; journals and data: {place}")
    broken = [each for each in found if each.violations]
    for each in broken:
        for violation in each.violations[:VIOLATIONS_SHOWN]:
            print(f"\n{each.phase}: {violation}")
        print(
            f"\nagain: python -m tests.crash --rounds {given.rounds} --only {each.phase}"
            f" --seed {seed}   (journals and data: {place / each.phase})"
        )
    if not broken:
        shutil.rmtree(place)
    return 1 if broken else 0


def _one(name: str, rounds: int, seed: int, place: Path, quiet: bool) -> Figures:
    began = time.monotonic()

    def tell(text: str) -> None:
        if not quiet:
            print(f"{name} {text}", flush=True)

    figures = Figures(name)
    try:
        run(name, rounds, seed, place, figures, tell)
    except Exception:
        figures.blame("the test itself", traceback.format_exc())
    took_s = time.monotonic() - began
    print(f"{name}: {took_s:.0f} s, {len(figures.violations)} broken; {figures.told()}", flush=True)
    return figures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=50, help="rounds of every phase (default: 50)")
    add("--only", metavar="PHASES", help=f"some of {','.join(PHASES)}")
    add("--seed", type=int, help="chooses the moments, as far as the machine lets it")
    add("--dir", metavar="DIR", help="where to work (default: the system's temporary directory)")
    add("--quiet", action="store_true", help="no line for every round")
    return parser


if __name__ == "__main__":
    sys.exit(main())
