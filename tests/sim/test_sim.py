"""The system keeps its promises in every simulated history; and a history is what its seed says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tenure_server.engine import enqueue, lanes, settle
from tenure_server.engine.leases import Leases
from tenure_server.pump import Pump
from tenure_storage import journal
from tests.sim.__main__ import main
from tests.sim.plan import FAULTS, FEATURES, Plan, draw
from tests.sim.run import Outcome, run

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(12)
CONTROL_SEEDS = 20

_outcomes: dict[int, Outcome] = {}


def outcome_of(seed: int) -> Outcome:
    """The history of a seed; lived once."""
    if seed not in _outcomes:
        _outcomes[seed] = run(draw(seed))
    return _outcomes[seed]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_is_kept(seed: int) -> None:
    outcome = outcome_of(seed)
    assert not outcome.violation, (
        f"{outcome.violation}: {outcome.told}; again: python -m tests.sim --replay {seed}"
    )


def test_a_seed_is_one_history_whatever_the_hash_seed() -> None:
    seed = 3
    told = subprocess.run(
        [sys.executable, "-m", "tests.sim", "--replay", str(seed), "--tail", "1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert f"digest {outcome_of(seed).digest}," in told.stdout
    assert run(draw(seed)).digest == outcome_of(seed).digest


def test_other_seeds_are_other_histories() -> None:
    assert len({outcome_of(seed).digest for seed in SEEDS}) == len(SEEDS)


def test_the_histories_reach_what_they_are_for() -> None:
    reached = {name for seed in SEEDS for name, n in outcome_of(seed).reached.items() if n}
    wanted = {
        "kills", "power cuts", "orderly stops", "exit code 74", "unsynced sectors lost",
        "repeated enqueues", "redeliveries", "sessions resumed", "fail done",
        "release done", "auto acks", "cancelled while waiting", "enqueue refused STORE_FULL",
        "enqueue refused QUEUE_FULL", "ended dead", "ended expired", "ended cancelled",
        "order compared", "counters compared", "verifications",
    }  # fmt: skip
    assert wanted - reached == set()


def test_every_fault_and_every_feature_is_drawn() -> None:
    plans = [draw(seed) for seed in range(200)]
    assert set().union(*(plan.faults for plan in plans)) == set(FAULTS)
    assert set().union(*(plan.features for plan in plans)) == set(FEATURES)
    assert any(plan.calm for plan in plans)


# ---- the checks can fail: take a protection away, and see it found out -----------------------


def _run_out_early(leases: Leases, mono_ms: int) -> Any:
    first = leases.next_end_ms()
    if first is None or first > mono_ms + 60:
        return []
    return list(leases._ends[0][2].leases.values())


def _due_early(lane: Any, wall_ms: int) -> bytes:
    bound: bytes = lane.key + (wall_ms + 30).to_bytes(6, "big") + b"\xff" * 5
    return bound


@dataclass(frozen=True, slots=True)
class Control:
    """A protection to take away, and the small histories that need it."""

    owner: object
    name: str
    instead: Callable[..., object]
    wanted: frozenset[str]
    faults: frozenset[str] = frozenset()
    features: frozenset[str] = frozenset()


CONTROLS = {
    "no sync of the journal": Control(
        journal, "sync_data", lambda _: None,
        frozenset({"no confirmed enqueue lost", "no confirmed end undone", "starts again"}),
        faults=frozenset({"power_cuts", "crash_points"}),
    ),
    "no memory of repeated enqueues": Control(
        enqueue, "_repeated", lambda *_: None,
        frozenset({"idempotent retries", "nothing from nowhere"}),
        faults=frozenset({"lost_replies"}),
    ),
    "leases end early": Control(
        Leases, "run_out", _run_out_early, frozenset({"one holder"}),
        faults=frozenset({"slow_workers"}), features=frozenset({"waits"}),
    ),
    "jobs are due early": Control(
        lanes, "_bound", _due_early, frozenset({"never before its time"}),
        features=frozenset({"delays"}),
    ),
    "attempts have no end": Control(
        settle, "_used_up", lambda *_: None, frozenset({"attempts counted"}),
        features=frozenset({"retries"}),
    ),
    "a lane forgets to count": Control(
        lanes, "save", lambda space: space.dirty_lanes.clear(),
        frozenset({"counts equal contents"}), faults=frozenset({"kills"}),
    ),
    "an alarm is never set": Control(
        Pump, "_ring", lambda _: None, frozenset({"in time", "ends visible"}),
        features=frozenset({"delays", "waits"}),
    ),
}  # fmt: skip


def _small(seed: int, control: Control) -> Plan:
    return replace(
        draw(seed), faults=control.faults, features=control.features, duration_ms=3_000, jobs=60,
        producers=2, workers=3, think_ms=20, work_ms=5, lease_ms=500, queues=1, fault_every_ms=100,
        payload_bytes=20, slice_rows=16, window_bytes=64 * 1024, leases_max=500_000,
        waiting_max=20_000, max_attempts=3, latency_us=500, sync_us=1_000, commit_us=3_000,
    )  # fmt: skip


@pytest.mark.parametrize("name", CONTROLS)
def test_a_missing_protection_is_found_out(name: str) -> None:
    control = CONTROLS[name]
    with patch.object(control.owner, control.name, control.instead):
        for seed in range(CONTROL_SEEDS):
            outcome = run(_small(seed, control))
            if outcome.violation:
                assert outcome.violation in control.wanted, outcome.told
                return
    raise AssertionError(f"{name}: {CONTROL_SEEDS} histories noticed nothing")


@pytest.mark.parametrize("name", CONTROLS)
def test_with_the_protection_the_same_histories_keep_every_promise(name: str) -> None:
    outcome = run(_small(0, CONTROLS[name]))
    assert not outcome.violation, outcome.told


def test_a_violation_is_told_with_the_way_to_repeat_and_to_shorten_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seed = next(s for s in range(100) if draw(s).features >= {"delays", "waits"})
    others = sorted({*FAULTS, *FEATURES} - {"delays", "waits"})
    small = ["--without", ",".join(others), "--duration-ms", "1500", "--jobs", "10"]
    small += ["--producers", "1", "--workers-of", "1"]
    with patch.object(lanes, "_bound", _due_early):
        assert main(["--seeds", str(seed), *small]) == 1
        told = capsys.readouterr().out
        assert f"VIOLATION property=never-before-its-time seed={seed}" in told
        assert f"--replay {seed}" in told
        assert main(["--shrink", str(seed), *small]) == 1
        shrunk = capsys.readouterr().out
        assert f"VIOLATION property=never-before-its-time seed={seed}" in shrunk
        again = shrunk.rpartition("python -m tests.sim ")[2].split()
        assert main(again) == 1
    assert main(again) == 0
