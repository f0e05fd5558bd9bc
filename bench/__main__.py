"""`python -m bench`: runs the workloads and prints the table."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.broker import BrokerError
from bench.machine import MEMORY_FILESYSTEMS, describe_machine, filesystem_of
from bench.profiler import Profiler, ProfilerError, find_py_spy, workload_of
from bench.report import comparison, result, save, table
from bench.rows import Row, Summary, summarise
from bench.sizes import FULL, QUICK, Sizes, tiny
from bench.stage import LoadError, Stage
from bench.worker import WorkerError
from bench.workloads import WORKLOADS

RESULTS = Path(__file__).resolve().parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.profile:
        try:
            find_py_spy()
        except ProfilerError as error:
            parser.error(str(error))
    # A signal unwinds the stack, so that no broker and no client is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        old = json.loads(options.compare.read_text()) if options.compare else None
        with _work_directory(options.dir) as directory:
            _check_disk(parser, directory, allowed=options.allow_tmpfs)
            return _run(options, directory, old)
    except (BrokerError, WorkerError, LoadError, ProfilerError, OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="How fast Tenure is, beside what the disk can do."
    )
    names = ", ".join(WORKLOADS)
    parser.add_argument("--only", action="append", metavar="NAME", help=f"only this: {names}")
    parser.add_argument("--rounds", type=int, default=1, help="medians over so many rounds")
    parser.add_argument("--quick", action="store_true", help="a fifth of the work, coarser figures")
    parser.add_argument("--jobs", type=int, help="so many jobs everywhere: only to see it run")
    parser.add_argument("--dir", type=Path, help="where the data directories go (a real disk)")
    parser.add_argument("--allow-tmpfs", action="store_true", help="measure without a disk")
    parser.add_argument(
        "--patience", type=float, default=2.0, help="seconds to wait for a quiet machine, per row"
    )
    parser.add_argument("--json", type=Path, help="the result file (default: in bench/results)")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="ratios to an older run")
    parser.add_argument("--profile", metavar="NAME", help="py-spy beside a row or a workload")
    parser.add_argument("--native", action="store_true", help="with C functions in the profile")
    return parser


@contextlib.contextmanager
def _work_directory(parent: Path | None) -> Iterator[Path]:
    where = parent or RESULTS
    where.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=where))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _check_disk(parser: argparse.ArgumentParser, directory: Path, *, allowed: bool) -> None:
    kind = filesystem_of(directory)
    if kind in MEMORY_FILESYSTEMS and not allowed:
        parser.error(
            f"{directory} is on {kind}, which is memory: a sync costs nothing there. "
            "Choose a real disk with --dir, or say --allow-tmpfs"
        )


def _run(options: argparse.Namespace, directory: Path, old: dict[str, object] | None) -> int:
    sizes = tiny(options.jobs) if options.jobs else QUICK if options.quick else FULL
    chosen = _chosen([workload_of(options.profile)] if options.profile else options.only)
    profiler = None
    if options.profile:
        profiler = Profiler(name=options.profile, directory=directory, native=options.native)
    rounds = _rounds(options.rounds, chosen, directory, sizes, options.patience, profiler)
    summaries = summarise([row for rows in rounds for row in rows])
    machine = describe_machine(directory)
    print(_heading(machine, options.rounds))
    print(table(summaries))
    if old is not None:
        print(comparison(old, summaries))
    if profiler:
        print("\n".join(profiler.reports) or f"nothing is called {options.profile}")
    path = options.json or RESULTS / time.strftime("%Y%m%d-%H%M%S.json")
    settings = {"rounds": options.rounds, "only": chosen, "sizes": asdict(sizes)}
    save(path, result(machine, settings, rounds, summaries))
    print(f"saved: {path}")
    _say_missed(summaries)
    return 0


def _chosen(only: list[str] | None) -> list[str]:
    for name in only or []:
        if name not in WORKLOADS:
            raise ValueError(f"no workload is called {name!r}; there are: {', '.join(WORKLOADS)}")
    return only or list(WORKLOADS)


def _rounds(
    count: int,
    chosen: list[str],
    directory: Path,
    sizes: Sizes,
    patience_seconds: float,
    profiler: Profiler | None,
) -> list[list[Row]]:
    """Round after round, every workload in each, so that a slow minute harms no row alone."""
    rounds: list[list[Row]] = []
    for number in range(1, count + 1):
        rows: list[Row] = []
        for name in chosen:
            with tempfile.TemporaryDirectory(dir=directory) as place:
                stage = Stage(
                    directory=Path(place),
                    sizes=sizes,
                    patience_seconds=patience_seconds,
                    profiler=profiler,
                )
                for row in WORKLOADS[name](stage):
                    _progress(number, count, row)
                    rows.append(row)
        rounds.append(rows)
    return rounds


def _progress(number: int, count: int, row: Row) -> None:
    clock = time.strftime("%H:%M:%S")
    print(
        f"{clock} round {number}/{count} {row.name}: {row.value:,.1f} {row.unit}", file=sys.stderr
    )


def _heading(machine: dict[str, object], rounds: int) -> str:
    return (
        f"\nTenure on {machine['cpu']}, {machine['cores']} cores, {machine['filesystem']}, "
        f"Python {machine['python']}, Linux {machine['kernel']}; {rounds} round(s)\n"
        "Every confirmation waits for an fsync; loopback; payloads of 100 bytes, tasks with one\n"
        "number that do nothing. CPU in % of a core, ~ where other processes used so much of it\n"
        "that the row says little. The clients of a row are its worker, too.\n"
    )


def _say_missed(summaries: Sequence[Summary]) -> None:
    missed = [summary.name for summary in summaries if summary.met is False]
    print("every aim was met" if not missed else f"aims missed: {', '.join(missed)}")


if __name__ == "__main__":
    sys.exit(main())
