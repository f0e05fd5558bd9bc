"""`python -m tests.fuzz`: the long run, by chance or guided by coverage, of some or all targets."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor

from tests.fuzz import guided
from tests.fuzz.campaign import by_chance
from tests.fuzz.counting import Count, Failed
from tests.fuzz.targets import TARGETS


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 if a target failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--runs", type=int, default=1_000_000, help="inputs in total (default: %(default)s)"
    )
    parser.add_argument("--minutes", type=float, help="how long instead, all targets together")
    parser.add_argument("--only", help="targets, with commas between them (default: all)")
    parser.add_argument("--seed", default=None, help="of the inputs (default: the time)")
    parser.add_argument("--guided", action="store_true", help="guided by coverage, with atheris")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--replay", metavar="HEX", help="run one input of the target in --only")
    given = parser.parse_args(arguments)
    names = given.only.split(",") if given.only else list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(
            f"unknown targets {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}"
        )
    if given.replay is not None:
        TARGETS[names[0]].run(bytes.fromhex(given.replay.strip("-")))
        print(f"{names[0]}: nothing is wrong with this input")
        return 0
    seed = given.seed or str(int(time.time()))
    print(f"seed {seed}, targets {', '.join(names)}", flush=True)
    shares = sum(TARGETS[name].share for name in names)
    work: dict[Future[tuple[Count, int]], str] = {}
    failed = 0
    with ProcessPoolExecutor(max(1, given.jobs), max_tasks_per_child=1) as pool:
        for name in names:
            runs = None if given.minutes else max(1, given.runs * TARGETS[name].share // shares)
            seconds = given.minutes * 60 * given.jobs / len(names) if given.minutes else None
            work[
                pool.submit(
                    guided.run_guided if given.guided else by_chance, name, seed, runs, seconds
                )
            ] = name
        total = 0
        for future, name in work.items():
            try:
                count, rss = future.result()
            except Failed as failure:
                failed += 1
                print(f"{name}: FAILED\n{failure}", flush=True)
                continue
            total += count.inputs
            print(
                f"{name}: {count.inputs:,} inputs in {count.seconds:.0f} s; memory of {count.measured:,} measured,"
                f" at most {count.peak_bytes / 1e6:.1f} MB; process at most {rss / 1e6:.0f} MB",
                flush=True,
            )
    print(f"{total:,} inputs, {failed} targets failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
