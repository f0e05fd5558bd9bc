"""`python -m bench.peers.frameworks`: every framework, round after round, then the tables."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.machine import MEMORY_FILESYSTEMS, filesystem_of
from bench.peers.frameworks.catalog import FRAMEWORKS, Framework
from bench.peers.frameworks.missing import Homes, missing
from bench.peers.frameworks.processes import PeerError
from bench.peers.frameworks.report import section
from bench.peers.frameworks.rounds import SECTION, Probes, Trial, measure
from bench.peers.frameworks.syncs import can_trace, count_syncs
from bench.peers.results import Note, Row, append, load
from bench.peers.supervision import ServerError, descendants, signal_all
from bench.stage import await_quiet

RESULTS = Path(__file__).resolve().parents[2] / "results"
FAILURES = (PeerError, ServerError, OSError, subprocess.SubprocessError, ValueError, KeyError)
QUICK_DIVISOR = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run does, and where its records go."""

    frameworks: Sequence[Framework]
    homes: Homes
    rounds: int
    probes: Probes
    directory: Path
    out: Path
    jobs: int | None = None
    quick: bool = False
    syncs: bool = True
    patience_seconds: float = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    # A signal unwinds the stack, so that no server and no worker is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = _chosen(parser, options.only)
    options.dir.mkdir(parents=True, exist_ok=True)
    kind = filesystem_of(options.dir)
    if kind in MEMORY_FILESYSTEMS and not options.allow_tmpfs:
        parser.error(f"{options.dir} is on {kind}, which is memory: choose a disk with --dir")
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=options.dir))
    # Some servers run as users of their own, and have to get in.
    directory.chmod(0o755)
    defaults = Homes()
    plan = Plan(
        frameworks=chosen,
        homes=Homes(
            peers=options.venv or defaults.peers,
            arq=options.venv_arq or defaults.arq,
            node=options.node_modules or defaults.node,
        ),
        rounds=options.rounds,
        probes=_probes(options),
        directory=directory,
        out=options.out or RESULTS / time.strftime("%Y%m%d-%H%M%S-frameworks.jsonl"),
        jobs=options.jobs,
        quick=options.quick,
        syncs=not options.no_syncs,
        patience_seconds=options.patience,
    )
    try:
        run(plan)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(section(load([plan.out])))
    print(f"saved: {plan.out}")
    return 0


def _probes(options: argparse.Namespace) -> Probes:
    if options.jobs:
        return Probes(jobs=min(options.jobs, 5), seconds=1.0)
    return Probes(jobs=20, seconds=1.0) if options.quick else Probes()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers.frameworks", description="Tenure beside task frameworks."
    )
    parser.add_argument("--rounds", type=int, default=3, help="medians over so many rounds")
    parser.add_argument("--only", metavar="NAMES", help="names or first words, with commas")
    parser.add_argument("--quick", action="store_true", help="a fifth of the jobs")
    parser.add_argument("--jobs", type=int, help="at most so many jobs: only to see it run")
    parser.add_argument("--no-syncs", action="store_true", help="do not count syncs")
    parser.add_argument("--patience", type=float, default=2.0, help="seconds to wait for quiet")
    parser.add_argument("--dir", type=Path, default=RESULTS, help="where servers keep their files")
    parser.add_argument("--allow-tmpfs", action="store_true", help="measure without a disk")
    parser.add_argument("--out", type=Path, help="the file of results, which is appended to")
    parser.add_argument("--venv", type=Path, help="the frameworks' Python (.venv-peers)")
    parser.add_argument("--venv-arq", type=Path, help="arq's Python (.venv-arq)")
    parser.add_argument("--node-modules", type=Path, help="where BullMQ is")
    return parser


def _chosen(parser: argparse.ArgumentParser, only: str | None) -> list[Framework]:
    """The frameworks that `--only` names, in the order of the catalog."""
    words = only.split(",") if only else [""]
    for word in words:
        if not any(one.name.startswith(word) for one in FRAMEWORKS):
            names = ", ".join(one.name for one in FRAMEWORKS)
            parser.error(f"nothing is called {word}; there are: {names}")
    return [one for one in FRAMEWORKS if one.name.startswith(tuple(words))]


def run(plan: Plan) -> None:
    """All rounds, every framework in each, so that a slow minute harms no one alone."""
    ready = []
    for framework in plan.frameworks:
        if lines := missing(framework, plan.homes):
            print(f"not measured: {framework.name}: install it with: {lines}", flush=True)
            _note(plan, framework, "missing", f"install it with: {lines}")
        else:
            ready.append(framework)
            _note(plan, framework, "how", framework.how)
    for number in range(1, plan.rounds + 1):
        for framework in ready:
            await_quiet(plan.patience_seconds)
            _attempt(plan, framework, number, measure)
    if plan.syncs and not can_trace():
        text = "syncs were not counted: apt-get install strace"
        print(text, flush=True)
        append(plan.out, Note(section=SECTION, kind="missing", text=text))
        return
    for framework in ready if plan.syncs else ():
        if framework.probes_syncs:
            _attempt(plan, framework, 1, count_syncs)


def _note(plan: Plan, framework: Framework, kind: str, text: str) -> None:
    note = Note(section=SECTION, kind=kind, text=text, peer=framework.peer, mode=framework.mode)
    append(plan.out, note)


def _attempt(
    plan: Plan, framework: Framework, number: int, work: Callable[[Trial], Iterator[Row]]
) -> None:
    """One framework once: its rows are kept as they come; a failure is told, and costs only it."""
    jobs = framework.jobs.divided(QUICK_DIVISOR) if plan.quick else framework.jobs
    directory = Path(tempfile.mkdtemp(prefix=f"{framework.name}-", dir=plan.directory))
    directory.chmod(0o777)
    trial = Trial(
        framework=framework,
        directory=directory,
        homes=plan.homes,
        jobs=jobs.at_most(plan.jobs) if plan.jobs else jobs,
        probes=plan.probes,
        round=number,
    )
    begun = time.monotonic()
    try:
        for row in work(trial):
            append(plan.out, row)
            _tell(row, plan.rounds)
    except FAILURES as error:
        print(f"failed: {framework.name}: {error}", file=sys.stderr, flush=True)
        _note(plan, framework, "failed", f"round {number}: {error}")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{framework.name}: {time.monotonic() - begun:.1f} s", flush=True)


def _tell(row: Row, rounds: int) -> None:
    alien = row.extra.get("alien_cpu_percent")
    noise = f", others {alien:.0f} % of a core" if alien is not None else ""
    print(
        f"round {row.round}/{rounds}  {row.peer}-{row.mode}  {row.row}: "
        f"{row.value:,.2f} {row.unit}{noise}",
        flush=True,
    )


if __name__ == "__main__":
    try:
        code = main()
    finally:
        # A signal may come between the start of a process and the block that ends it.
        signal_all(descendants(os.getpid())[1:], signal.SIGKILL)
    sys.exit(code)
