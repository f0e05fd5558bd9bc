"""`python -m bench.peers`: measures, and writes table and charts."""

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
from dataclasses import dataclass
from pathlib import Path

from bench.machine import MEMORY_FILESYSTEMS, describe_machine, filesystem_of
from bench.peers import backlog, rates, results, syncs
from bench.peers.catalog import PEERS, Peer
from bench.peers.report import write_report
from bench.peers.results import FSYNC, Note, Row
from bench.peers.sizes import FULL, QUICK, TINY, Sizes
from bench.peers.stage import Record, Stage

RESULTS = Path(__file__).resolve().parents[1] / "results"
CHOICES = (*rates.ROWS, backlog.SECTION, syncs.SECTION)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    # A signal unwinds the stack, so that no server and no client is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    name = options.name or time.strftime("peers-%Y%m%d-%H%M%S")
    lines = options.lines or options.out / f"{name}.jsonl"
    if not options.report:
        if lines.exists() and not options.append:
            parser.error(f"{lines} has the figures of another run: say --name, or --append")
        named = _named(parser, options.peers)
        if options.quick and not options.peers:
            named = [peer for peer in named if peer.durability == FSYNC]
        plan = Plan(
            peers=named,
            only=_chosen(parser, options.only),
            sizes=QUICK if options.quick else TINY if options.tiny else FULL,
            rounds=1 if options.quick or options.tiny else options.rounds,
            minutes_max=options.minutes,
        )
        directory = _work_directory(options.dir or options.out)
        try:
            if filesystem_of(directory) in MEMORY_FILESYSTEMS and not options.allow_tmpfs:
                parser.error(f"{directory} is in memory: a sync costs nothing; use --dir")
            _measure(directory, lines, plan)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    if not lines.exists():
        parser.error(f"there is no {lines}: name it with --name or --lines")
    for path in write_report(options.out, name, [lines, *options.also]):
        print(f"saved: {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    labels = ", ".join(peer.label for peer in PEERS)
    rows = ", ".join(CHOICES)
    parser.add_argument("--rounds", type=int, default=5, help="medians over so many rounds")
    parser.add_argument(
        "--minutes", type=float, default=25.0, help="no further round that would end after that"
    )
    parser.add_argument("--only", action="append", metavar="ROW", help=f"only this: {rows}")
    parser.add_argument(
        "--peers", action="append", metavar="PEER", help=f"only this, name or label: {labels}"
    )
    parser.add_argument("--quick", action="store_true", help="coarse figures, durable peers only")
    parser.add_argument("--tiny", action="store_true", help="whether it runs, no figures")
    parser.add_argument("--dir", type=Path, help="where the servers' data goes (a real disk)")
    parser.add_argument("--allow-tmpfs", action="store_true", help="measure without a disk")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the results go")
    parser.add_argument("--name", help="of the result files (default: peers and the time)")
    parser.add_argument("--lines", type=Path, help="the file of JSON lines (default: beside)")
    parser.add_argument("--append", action="store_true", help="add to the figures of another run")
    parser.add_argument("--report", action="store_true", help="only write the report anew")
    parser.add_argument(
        "--also", type=Path, action="append", default=[], help="further JSON lines for the report"
    )
    return parser


def _named(parser: argparse.ArgumentParser, names: list[str] | None) -> list[Peer]:
    for name in names or []:
        if not any(name in (peer.name, peer.label) for peer in PEERS):
            parser.error(f"no peer is called {name!r}; see --help")
    return [peer for peer in PEERS if not names or peer.name in names or peer.label in names]


def _chosen(parser: argparse.ArgumentParser, only: list[str] | None) -> list[str]:
    for row in only or []:
        if row not in CHOICES:
            parser.error(f"no row is called {row!r}; there are: {', '.join(CHOICES)}")
    return only or list(CHOICES)


def _work_directory(where: Path) -> Path:
    where.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=where)).resolve()
    # Some servers run as users of their own, who have to get through.
    directory.chmod(0o711)
    return directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run does, and how long it may take."""

    peers: Sequence[Peer]
    only: Sequence[str]
    sizes: Sizes
    rounds: int
    minutes_max: float


def _measure(directory: Path, lines: Path, plan: Plan) -> None:
    """Backlogs and syncs once; then round after round, as many as there is time for."""

    def record(one: Row | Note) -> None:
        results.append(lines, one)
        _progress(one)

    begin = time.monotonic()
    record(Note(section="", kind="machine", text=json.dumps(describe_machine(directory))))
    here = [peer for peer in plan.peers if _told(peer, record)]
    with _stage(directory, plan, record, 1) as stage:
        if backlog.SECTION in plan.only:
            backlog.measure(stage, here)
        stage.failed.clear()
        if syncs.SECTION in plan.only:
            syncs.measure(stage, here)
    rows, longest = [row for row in rates.ROWS if row in plan.only], 0.0
    for number in range(1, plan.rounds + 1 if rows else 1):
        round_begin = time.monotonic()
        if number > 1 and round_begin - begin + longest > 60 * plan.minutes_max:
            text = f"only {number - 1} of {plan.rounds} rounds fit into {plan.minutes_max} minutes"
            record(Note(section=rates.SECTION, kind="failed", text=text))
            return
        with _stage(directory, plan, record, number) as stage:
            stage.calibrate()
            default = number <= plan.sizes.default_rounds
            rates.measure(stage, [p for p in here if default or p.durability == FSYNC], rows)
        longest = max(longest, time.monotonic() - round_begin)


@contextlib.contextmanager
def _stage(directory: Path, plan: Plan, record: Record, number: int) -> Iterator[Stage]:
    place = Path(tempfile.mkdtemp(dir=directory))
    place.chmod(0o711)
    yield Stage(directory=place, sizes=plan.sizes, round=number, record=record)
    shutil.rmtree(place, ignore_errors=True)


def _told(peer: Peer, record: Record) -> bool:
    """Says how a peer is run, or why it is not; returns whether it is."""
    missing = peer.missing()
    kind, text = "missing", missing
    if not missing:
        kind = "how"
        text = f"{peer.version_text()}. {peer.how}. {peer.client}"
    record(Note(section=rates.SECTION, kind=kind, text=text, peer=peer.name, mode=peer.mode))
    return not missing


def _progress(one: Row | Note) -> None:
    clock = time.strftime("%H:%M:%S")
    who = results.label(one.peer, one.mode)
    if isinstance(one, Row):
        what = f"round {one.round} {one.row}: {one.value:,.1f} {one.unit}"
    elif one.kind == "machine":
        return
    else:
        what = f"{one.kind.upper()}: {one.text}"
    print(f"{clock} {who:<22} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
