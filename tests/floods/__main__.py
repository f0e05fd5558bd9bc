"""`python -m tests.floods`: thousands of connections, and how everybody else is served meanwhile."""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Sequence

from tests.floods.neighbours import Phase, quantile
from tests.floods.running import FLOODS, Report, run_flood
from tests.floods.stage import long_scale

FILES_BESIDE = 2_500


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 if a flood harmed anybody."""
    parser = argparse.ArgumentParser(prog="python -m tests.floods", description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="of floods without an end of their own"
    )
    parser.add_argument(
        "--calm", type=float, default=3.0, help="seconds before and after each flood"
    )
    parser.add_argument("--only", help=f"with commas between them: {', '.join(FLOODS)}")
    given = parser.parse_args(arguments)
    names = given.only.split(",") if given.only else list(FLOODS)
    if unknown := set(names) - set(FLOODS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(FLOODS)}")
    connections = within_files(given.connections)
    failed = []
    print("| flood | phase | jobs/s | enqueue p50 / p99 ms | job p50 / p99 ms | |")
    print("|---|---|--:|--:|--:|---|")
    for name in names:
        try:
            show(run_flood(name, long_scale(connections, given.seconds), given.calm))
        except Exception as error:
            failed.append(name)
            print(f"| {name} | FAILED | | | | {type(error).__name__}: {error} |", flush=True)
            print(f"see it again: python -m tests.floods --only {name} --connections {connections}")
    print(f"{len(names)} floods, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}")
    return 1 if failed else 0


def within_files(wanted: int) -> int:
    """How many connections this process can have, after raising its limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + FILES_BESIDE
    for most in (max(hard, needed), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, most), most))
        except (OSError, ValueError):
            continue
        break
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        print(f"only {soft} files may be open here: {soft - FILES_BESIDE} connections", flush=True)
    return min(wanted, soft - FILES_BESIDE)


def show(report: Report) -> None:
    """A flood as lines of the table."""
    for phase in report.phases:
        print(
            f"| {report.name} | {phase.name} | {figures(phase)} | {facts(report, phase)} |",
            flush=True,
        )


def figures(phase: Phase) -> str:
    """Rate and latencies."""
    rate = len(phase.jobs_ms) / phase.seconds if phase.seconds else 0.0
    pairs = (
        f"{quantile(values, 0.5):.1f} / {quantile(values, 0.99):.1f}"
        for values in (phase.enqueues_ms, phase.jobs_ms)
    )
    return " | ".join([f"{rate:.0f}", *pairs])


def facts(report: Report, phase: Phase) -> str:
    """What is only said of the flood itself."""
    if phase.name == "before":
        return f"{report.rss_before / 1e6:.0f} MB"
    if phase.name == "after":
        return f"{report.rss_after / 1e6:.0f} MB, {report.files_after} files"
    told = ", ".join(f"{name} {value}" for name, value in report.told.items())
    return f"{report.seconds:.1f} s, {report.cpu_s:.1f} s of processor, at most {report.rss_peak / 1e6:.0f} MB; {told}"


if __name__ == "__main__":
    sys.exit(main())
