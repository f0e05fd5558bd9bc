"""The shortest history of a seed that still breaks a promise: less time, fewer faults, fewer actors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.sim.plan import Plan, draw
from tests.sim.run import Outcome, run

DURATION_MS_MIN = 50


def shrink(plan: Plan) -> int:
    """Prints the shortest failing history and how to replay it. 1: it fails, 0: it does not."""
    worst = run(plan)
    if not worst.violation:
        print(f"seed {plan.seed} keeps every promise")
        return 0
    wanted = worst.violation
    print(f"seed {plan.seed}: {wanted}, {worst.events} events")
    changed = True
    while changed:
        changed = False
        for smaller in _smaller(worst.plan):
            outcome = run(smaller)
            if outcome.violation == wanted and outcome.events <= worst.events:
                worst, changed = outcome, True
                print(f"  {outcome.events} events: {_told(smaller)}", flush=True)
                break
    _show(worst)
    return 1


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Plans with one thing less, the most promising first."""
    for part in (8, 2):
        if plan.duration_ms // part >= DURATION_MS_MIN:
            yield replace(plan, duration_ms=plan.duration_ms // part)
    for part in (8, 2):
        if plan.jobs // part >= 1:
            yield replace(plan, jobs=plan.jobs // part)
    if len(plan.faults) > 2:
        for half in (plan.sorted_faults[::2], plan.sorted_faults[1::2]):
            yield replace(plan, faults=plan.faults - set(half))
    if len(plan.features) > 2:
        for half in (plan.sorted_features[::2], plan.sorted_features[1::2]):
            yield replace(plan, features=plan.features - set(half))
    for name in plan.sorted_faults:
        yield replace(plan, faults=plan.faults - {name})
    for name in plan.sorted_features:
        yield replace(plan, features=plan.features - {name})
    if plan.producers > 1:
        yield replace(plan, producers=1)
        yield replace(plan, producers=plan.producers - 1)
    if plan.workers > 1:
        yield replace(plan, workers=1)
        yield replace(plan, workers=plan.workers - 1)
    if plan.duration_ms * 3 // 4 >= DURATION_MS_MIN:
        yield replace(plan, duration_ms=plan.duration_ms * 3 // 4)
    if plan.jobs > 1:
        yield replace(plan, jobs=plan.jobs - 1)


def _told(plan: Plan) -> str:
    return (
        f"{plan.duration_ms} ms, {plan.jobs} jobs, {plan.producers} producers, {plan.workers}"
        f" workers, faults {', '.join(plan.sorted_faults) or 'none'}"
    )


def flags_of(plan: Plan) -> str:
    """The arguments that make this plan of its seed."""
    full = draw(plan.seed)
    without = ",".join(sorted((full.faults | full.features) - plan.faults - plan.features))
    flags = [f"--replay {plan.seed}"]
    if without:
        flags.append(f"--without {without}")
    for name in ("duration_ms", "jobs", "producers", "workers"):
        if getattr(full, name) != getattr(plan, name):
            flag = "workers-of" if name == "workers" else name.replace("_", "-")
            flags.append(f"--{flag} {getattr(plan, name)}")
    return " ".join(flags)


def _show(outcome: Outcome) -> None:
    print("\n".join(outcome.tail))
    print(f"VIOLATION property={outcome.violation.replace(' ', '-')} seed={outcome.plan.seed}")
    print(f"  {outcome.told}")
    print(f"  {outcome.events} events; {_told(outcome.plan)}")
    print(f"  features: {', '.join(outcome.plan.sorted_features) or 'none'}")
    print(f"  again: python -m tests.sim {flags_of(outcome.plan)}")
