"""The lane rules over random histories, and each rule shown to be needed.

`TENURE_LANE_SEEDS=20000 pytest tests/engine/test_lane_model.py` runs a longer search.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tenure_server.engine import jobs, lanes, lease_rows, recovery, sweeps
from tests.engine.lane_history import History
from tests.engine.mutants import install

SEEDS = int(os.environ.get("TENURE_LANE_SEEDS", "240"))
CHUNKS = 8
MUTANT_SEEDS = 600


def run_seed(seed: int) -> None:
    try:
        History(seed).run()
    except Exception as error:
        error.add_note(f"reproduce: History({seed}).run()")
        raise


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_engine_does_what_the_plain_model_does(chunk: int) -> None:
    for seed in range(chunk, SEEDS, CHUNKS):
        run_seed(seed)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_slices_of_any_size_give_the_same_history(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "REFILL_ROWS_MAX", rows)
    for seed in range(5_000, 5_000 + max(16, SEEDS // 8)):
        run_seed(seed)


@dataclass(frozen=True)
class Rule:
    """A rule and how to take it out."""

    module: object
    function: Callable[..., object]
    old: str
    new: str


RULES = {
    "a window holds what an announcement puts below its horizon": Rule(
        lanes, lanes.announce, "admit(space, lane, key, row)", "pass"
    ),
    "a run enters a window at its end": Rule(
        lanes, lanes._admit_run, "lane.keys += keys", "lane.keys[lane.head:lane.head] = keys"
    ),
    "a run that begins before the end of a window is put in key by key": Rule(
        lanes, lanes._admit_run, "not behind < keys[0] or ", ""
    ),
    "a run that a later batch touches is looked at key by key": Rule(
        lanes, lanes._admit_run, "not rows.keys().isdisjoint(keys)", "False"
    ),
    "an announcement leaves the horizon where it is": Rule(
        lanes,
        lanes.announce,
        "if lane.retired or keys[0] > lane.horizon:",
        "if not lane.retired and space.window_bytes:\n"
        "        lane.horizon = max(lane.horizon, *keys, lane.start)\n"
        "    if lane.retired:",
    ),
    "nothing beyond the horizon enters a window when it is put back": Rule(
        lanes, lanes.admit, "key > lane.horizon or lane.retired", "lane.retired"
    ),
    "a key enters a window in its place": Rule(
        lanes, lanes.admit, "bisect_left(lane.keys, key, lane.head)", "lane.head"
    ),
    "a refill skips keys that an unannounced batch touches": Rule(
        lanes, lanes.refill, "kv[0] not in rows", "True"
    ),
    "a refill skips leased keys": Rule(lanes, lanes.refill, "kv[0] not in leased", "True"),
    "the horizon is the last key scanned": Rule(
        lanes, lanes.refill, "found[-1][0] if found and more else lane.end", "lane.end"
    ),
    "an announcement leaves a key to the last batch that touches it": Rule(
        lanes, lanes.announce, " and not space.pending(key)", ""
    ),
    "dropping a tail draws the horizon in": Rule(
        lanes, lanes._drop_tail, "lane.horizon = lane.keys[-1]", "pass"
    ),
    "dropping a window sets the horizon to the start": Rule(
        lanes, lanes.drop, "lane.horizon = lane.start", "pass"
    ),
    "a move takes the old key away": Rule(jobs, jobs.move, "space.put(JOBS, old, None)", "pass"),
    "a waiting job that leaves its line leaves the window": Rule(
        jobs, jobs.leave_line, "lanes.forget(queue.space, lane, place)", "pass"
    ),
    "a job put back enters its window again": Rule(
        jobs, jobs.put_back, "lanes.admit(space, lane, place, row)", "pass"
    ),
    "the mark passes keys that are in no announced batch": Rule(
        lanes, lanes.mature, "rows.update(", "list("
    ),
    "the mark does not count leased keys": Rule(
        lanes, lanes.mature, "row is not None and key not in leased", "row is not None"
    ),
    "a job is counted beyond the mark it is beyond": Rule(
        lanes, lanes.count, "if key > lane.mark:", "if False:"
    ),
    "a new key beyond the mark may be the next to come due": Rule(
        lanes, lanes.count_run, "lane.next_beyond = keys[0]", "pass"
    ),
    "a lane that is not empty is scanned from its start after a restart": Rule(
        lanes, lanes.Lane.__init__, "self.start if row.waiting else self.end", "self.end"
    ),
    "a purged line is swept from its start after a crash": Rule(
        sweeps, sweeps._sweep_line, "chore.cursor or chore.found", "chore.found"
    ),
    "leases hold after a restart": Rule(
        recovery, recovery._load_lease, "leases.add(lease)", "pass"
    ),
    "leases in one row hold after a restart": Rule(
        recovery, recovery._load_bundle, "queue is None or", "True or"
    ),
    "a job whose first lease has ended is not leased through the row of that lease": Rule(
        recovery, recovery._load_bundle, "or has_past(get, job_id, row)", ""
    ),
    "a lease that has a row of its own has left the common one": Rule(
        lease_rows, lease_rows.save_lease, "bundle.left -= 1", "pass"
    ),
    "a row of leases goes with the last of them": Rule(
        lease_rows, lease_rows.tidy, "not bundle.left", "bundle.left == 1"
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_taken_out_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = RULES[name]
    install(monkeypatch, rule.module, rule.function, rule.old, rule.new)
    for seed in range(MUTANT_SEEDS):
        try:
            History(seed).run()
        except Exception:
            return
    pytest.fail(f"{MUTANT_SEEDS} histories pass without the rule: {name}")
