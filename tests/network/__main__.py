"""`python -m tests.network`: many rounds of bad weather, for both clients and the worker."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from tests.network.client_rounds import Round, run_kernel_round, run_round
from tests.network.judge import Report
from tests.network.kernel import Partitioned, is_possible
from tests.network.profiles import PROFILES
from tests.network.worker_rounds import run_worker_round
from tests.support.broker_process import BrokerProcess

WHO = ("sync", "async", "worker")

_NOT_FOR_WORKERS = {"corrupt"}
"""A worker that is told nonsense runs nonsense: there is nothing that could be checked."""

_COLUMNS = {
    "calls": ("calls", "calls beside changed bytes"),
    "confirmed": ("confirmed",),
    "deliveries": ("deliveries", "runs"),
    "again": ("redeliveries",),
    "unknown": ("unknown outcomes",),
    "recovered": ("recovered",),
    "repeats": ("repeats answered",),
}


def main() -> int:
    """Run the rounds; 0 if every promise was kept in all of them."""
    arguments = _arguments()
    names = [arguments.profile] if arguments.profile else list(PROFILES)
    if arguments.netns:
        if not is_possible():
            print("--netns needs root and the command ip")
            return 2
        names, arguments.who = ["kernel"], [who for who in arguments.who if who != "worker"]
    total: dict[tuple[str, str], Report] = {}
    rounds: Counter[tuple[str, str]] = Counter()
    began = time.monotonic()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        wire = stack.enter_context(Partitioned()) if arguments.netns else None
        broker = stack.enter_context(_broker(directory, wire))
        for number in range(arguments.rounds):
            who = arguments.who[number % len(arguments.who)]
            name = names[number // len(arguments.who) % len(names)]
            seed = arguments.seed + number
            report = _round(who, name, seed, arguments.seconds, broker.url, directory, wire)
            print(_line(f"{number + 1}/{arguments.rounds}", who, name, seed, report), flush=True)
            _tell_violations(report, who, name, seed, arguments.seconds)
            total.setdefault((who, name), Report()).add(report)
            rounds[who, name] += 1
        if "Traceback" in broker.log:
            print(f"VIOLATION the broker wrote a traceback:\n{broker.log}")
            return 1
    print(_table(total, rounds))
    violations = sum(len(report.violations) for report in total.values())
    print(f"{rounds.total()} rounds in {time.monotonic() - began:.0f} s, {violations} violations")
    return 1 if violations else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.network", description=__doc__)
    parser.add_argument("--rounds", type=int, default=len(WHO) * len(PROFILES))
    parser.add_argument(
        "--seed", type=int, default=1, help="of the first round; then one more each"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of bad weather in each round")
    parser.add_argument("--profile", choices=sorted(PROFILES), help="only this weather")
    parser.add_argument("--who", type=_who, default=list(WHO), help="sync,async,worker")
    parser.add_argument("--netns", action="store_true", help="partitions by the kernel; needs root")
    return parser.parse_args()


def _broker(directory: Path, wire: Partitioned | None) -> BrokerProcess:
    if wire is None:
        return BrokerProcess(directory)
    return BrokerProcess(directory, "--listen", f"{wire.far}:0", launcher=wire.launcher)


def _who(text: str) -> list[str]:
    names = text.split(",")
    if not set(names) <= set(WHO):
        raise argparse.ArgumentTypeError(f"choose from {', '.join(WHO)}")
    return names


def _round(
    who: str,
    name: str,
    seed: int,
    seconds: float,
    url: str,
    directory: Path,
    wire: Partitioned | None,
) -> Report:
    if who == "worker":
        if name in _NOT_FOR_WORKERS:
            return Report()
        return run_worker_round(name, seed, seconds, url, directory / f"worker-{name}-{seed}")
    chosen = Round("sync" if who == "sync" else "async", name, seed, seconds, url)
    return run_round(chosen) if wire is None else run_kernel_round(chosen, wire)


def _faults(report: Report) -> int:
    return sum(count for kind, count in report.counts.items() if kind.startswith("fault "))


def _line(place: str, who: str, name: str, seed: int, report: Report) -> str:
    counts = report.counts
    return (
        f"{place} {who} {name} seed {seed}: {_faults(report)} faults,"
        f" {counts['confirmed']} confirmed, {counts['unknown outcomes']} unknown,"
        f" {len(report.violations)} violations"
    )


def _tell_violations(report: Report, who: str, name: str, seed: int, seconds: float) -> None:
    for violation in report.violations:
        print(f"    VIOLATION {violation}")
    if report.violations:
        print(
            f"    again: python -m tests.network --rounds 1 --seed {seed}"
            f"{'' if name == 'kernel' else f' --profile {name}'}"
            f" --who {who} --seconds {seconds}" + (" --netns" if name == "kernel" else ""),
            flush=True,
        )


def _table(total: dict[tuple[str, str], Report], rounds: Counter[tuple[str, str]]) -> str:
    head = ["who", "weather", "rounds", "faults", *_COLUMNS, "late ms", "violations"]
    rows = [head]
    everything = Report()
    for (who, name), report in sorted(total.items()):
        rows.append(_row(who, name, rounds[who, name], report))
        everything.add(report)
    rows.append(_row("all", "", rounds.total(), everything))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    kinds = sorted(
        (kind.removeprefix("fault "), count)
        for kind, count in everything.counts.items()
        if kind.startswith("fault ")
    )
    return "\n".join([*lines, "faults: " + ", ".join(f"{kind} {n}" for kind, n in kinds)])


def _row(who: str, name: str, rounds: int, report: Report) -> list[str]:
    counts = report.counts
    cells = [sum(counts[key] for key in keys) for keys in _COLUMNS.values()]
    numbers = [rounds, _faults(report), *cells, round(report.latest_s * 1_000)]
    return [who, name, *map(str, numbers), str(len(report.violations))]


if __name__ == "__main__":
    sys.exit(main())
