"""`python -m tests.mutants`: plants every fault, one at a time, and shows what finds it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.mutants.catalogue import MUTANTS
from tests.mutants.hunt import ROOT, Effort, Verdict, hunt
from tests.mutants.mutant import AppliesNotError, Mutant, applied


def main(argv: list[str] | None = None) -> int:
    """1: a fault was not found, or not by the right property, or the product itself has one."""
    given = _parser().parse_args(argv)
    root = Path(given.root)
    chosen = [mutant for mutant in MUTANTS if given.only in mutant.name]
    if not chosen:
        raise SystemExit(f"no mutant has {given.only!r} in its name; --list shows them")
    if given.list:
        for mutant in chosen:
            print(f"{mutant.name}\n    {mutant.file}: {', '.join(sorted(mutant.caught_by))}")
        return 0
    gone = stale(chosen, root)
    if gone:
        print("\n".join(gone))
        return 1
    began = time.monotonic()
    verdicts: dict[str, Verdict] = {}
    for verdict in _verdicts(chosen, given, root):
        verdicts[_name(verdict)] = verdict
        print(f"[{len(verdicts)}] {_told(verdict)}", flush=True)
    ordered = [verdicts[name] for name in (*(mutant.name for mutant in chosen), _CONTROL)]
    summary = _summary(ordered, time.monotonic() - began)
    table = markdown(ordered)
    print(f"\n{table}\n\n{summary}")
    if given.markdown:
        Path(given.markdown).write_text(f"{table}\n\n{summary}\n", "utf-8")
    return int(not all(verdict.good for verdict in ordered))


_CONTROL = "nothing: the product as it is"


def _name(verdict: Verdict) -> str:
    return _CONTROL if verdict.mutant is None else verdict.mutant.name


def stale(mutants: Sequence[Mutant], root: Path) -> list[str]:
    """What to say of the mutants that cannot be planted any more."""
    found = []
    for mutant in mutants:
        try:
            applied(mutant, (root / mutant.file).read_text("utf-8"))
        except AppliesNotError as error:
            found.append(str(error))
    return found


def _verdicts(
    mutants: Sequence[Mutant], given: argparse.Namespace, root: Path
) -> Iterator[Verdict]:
    effort = Effort(given.small, given.drawn, given.seconds)
    control = Effort(given.control // 10, given.control, 10 * given.seconds)
    needs = sorted({mutant.needs for mutant in mutants if mutant.needs})
    with ThreadPoolExecutor(given.jobs) as pool:
        hunts = [pool.submit(hunt, None, control, root, needs)]
        hunts += [pool.submit(hunt, mutant, effort, root) for mutant in mutants]
        for done in as_completed(hunts):
            yield done.result()


def _told(verdict: Verdict) -> str:
    found = verdict.found
    if verdict.mutant is None:
        end = f"VIOLATION of {found.property!r}: {found.told}" if found.property else "no violation"
    elif not found.property:
        end = "SURVIVED"
    elif verdict.good:
        end = f"caught by {found.property!r}"
    else:
        end = f"caught by the WRONG property {found.property!r}: {found.told}"
    seed = f"{found.kind} seed {found.seed}, " if found.property else ""
    return f"{_name(verdict)}: {end} ({seed}{found.histories} histories, {verdict.seconds:.0f} s)"


def _summary(verdicts: Sequence[Verdict], seconds: float) -> str:
    mutants = [verdict for verdict in verdicts if verdict.mutant is not None]
    caught = [verdict for verdict in mutants if verdict.good]
    properties = len({verdict.found.property for verdict in caught})
    lived = sum(verdict.found.histories for verdict in mutants)
    (control,) = (verdict.found for verdict in verdicts if verdict.mutant is None)
    return (
        f"{len(caught)} of {len(mutants)} faults found, by {properties} properties, in {lived}"
        f" histories; the product as it is: {control.histories} histories,"
        f" {'a violation' if control.property else 'no violation'}; {seconds:.0f} s"
    )


def markdown(verdicts: Sequence[Verdict]) -> str:
    """The table of faults and what found them."""
    rows = ["| Fault | Where | Found by | Seed | Histories | s |", "|---|---|---|---|---|---|"]
    for verdict in verdicts:
        found = verdict.found
        where = "" if verdict.mutant is None else f"`{Path(verdict.mutant.file).name}`"
        nothing = "nothing" if verdict.mutant is None else "**survived**"
        by = found.property or nothing
        by += "" if verdict.good or not found.property else " (**wrong**)"
        seed = f"{found.kind} {found.seed}" if found.property else "-"
        rows.append(
            f"| {_name(verdict)} | {where} | {by} | {seed} | {found.histories}"
            f" | {verdict.seconds:.0f} |"
        )
    return "\n".join(rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    add = parser.add_argument
    add("--list", action="store_true", help="show the faults, and what is to find them")
    add("--only", default="", help="the faults with this in their names")
    add("--jobs", type=int, default=2, help="how many are tried at a time")
    add("--small", type=int, default=150, help="small histories a fault has at most")
    add("--drawn", type=int, default=300, help="drawn histories, after these")
    add("--seconds", type=float, default=240, help="no history is begun after so long")
    add(
        "--control",
        type=int,
        default=100,
        help="drawn histories of the product as it is, and a tenth of each small kind",
    )
    add("--markdown", help="write the table to this file")
    add("--root", default=str(ROOT), help="the source that is copied, instead of this one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
