"""The command line of the growth bench: `python -m bench.growth`."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from bench.growth.aims import Finding, findings
from bench.growth.axis import GrowthError, Loader, loader, measure_axis
from bench.growth.charting import draw
from bench.growth.points import AXES, FULL, QUICK, Scale
from bench.machine import MEMORY_FILESYSTEMS, describe_machine, filesystem_of
from bench.report import result, save, table
from bench.rows import Row, summarise

RESULTS = Path(__file__).resolve().parents[1] / "results"
ROUNDS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line says; the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    # Asked to end, it ends what it has started; killed, it would leave that behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out = options.out or RESULTS / time.strftime("%Y%m%d-%H%M%S-growth.json")
    with _work_directory(options.dir or RESULTS) as directory:
        kind = filesystem_of(directory)
        if kind in MEMORY_FILESYSTEMS and not options.allow_tmpfs:
            parser.error(f"{directory} is on {kind}, which is memory: choose a disk with --dir")
        try:
            with loader() as load:
                _run(options, directory, out, load)
        except GrowthError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.growth", description="What it costs when the work grows."
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only to see it run")
    parser.add_argument("--axis", action="append", choices=AXES, help="only this one")
    parser.add_argument("--rounds", type=int, help=f"default: {ROUNDS}; with --quick 1")
    parser.add_argument(
        "--largest", type=int, default=10**7, help="the largest backlog (default: 10,000,000)"
    )
    parser.add_argument("--out", type=Path, help="the result file (default: in bench/results)")
    parser.add_argument("--dir", type=Path, help="where the data directories go (a real disk)")
    parser.add_argument("--allow-tmpfs", action="store_true", help="measure without a disk")
    return parser


@contextlib.contextmanager
def _work_directory(parent: Path) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="growth-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _scale(options: argparse.Namespace) -> Scale:
    scale = QUICK if options.quick else FULL
    wanted = options.axis or AXES
    axes = {
        axis: tuple(point for point in scale.axes[axis] if point.backlog <= options.largest)
        for axis in AXES
        if axis in wanted
    }
    return replace(scale, axes=axes)


def _run(options: argparse.Namespace, directory: Path, out: Path, load: Loader) -> None:
    scale, rounds = _scale(options), options.rounds or (1 if options.quick else ROUNDS)
    free = shutil.disk_usage(directory).free
    _say(f"{free / 1e9:.1f} GB free; {rounds} round(s) of {', '.join(scale.axes)}")
    all_turns: list[list[Row]] = [[] for _ in range(rounds * scale.turns)]
    found: list[Finding] = []
    for axis, points in scale.axes.items():
        axis_turns = measure_axis(points, scale, rounds, directory, load, _say)
        for rows, more in zip(all_turns, axis_turns, strict=True):
            rows += more
        if axis == "backlog":
            found = findings(points, axis_turns)
    summaries = summarise([row for rows in all_turns for row in rows])
    machine = describe_machine(directory)
    settings = {
        "rounds": rounds,
        "turns": scale.turns,
        "axes": list(scale.axes),
        "quick": options.quick,
    }
    run = result(machine, settings, all_turns, summaries)
    save(out, {**run, "findings": [asdict(finding) for finding in found]})
    print(f"\nTenure, durable, on {machine['cpu']}, {machine['cores']} cores; {rounds} round(s)\n")
    print(table(summaries))
    for finding in found:
        print(finding.text())
    # Charts take longer than tiny measurements: one axis shows that they can be drawn.
    drawn = list(scale.axes.items())[: 1 if options.quick else None]
    charts = [
        path
        for axis, points in drawn
        for path in draw(out.with_suffix(""), axis, points, summaries)
    ]
    print(f"saved: {out} and {len(charts)} charts beside it")


def _say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
