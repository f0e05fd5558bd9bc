"""Every phase of `python -m tests.crash`, short; and what it would say if a promise were broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.figures import Figures, percentile, summary
from tests.crash.phases import run

ROUNDS = {"startup": 1, "backup": 1, "compact": 1, "upgrade": 1, "drain": 1, "both": 1}
"""The others are long runs of what other tests here and in tests/acceptance do."""


@pytest.mark.slow
@pytest.mark.parametrize("phase", ROUNDS)
def test_no_promise_is_broken_by_kill_9(phase: str, tmp_path: Path) -> None:
    figures, lines = Figures(phase), list[str]()
    run(phase, ROUNDS[phase], 1, tmp_path / phase, figures, lines.append)
    assert figures.violations == [], f"again: python -m tests.crash --only {phase}"
    assert figures.rounds == ROUNDS[phase]
    assert figures.verified > 0
    assert lines


def test_the_summary_has_a_line_for_each_phase_and_their_sum() -> None:
    some = [Figures("broker", rounds=3, kills=4, recovered_s=[0.1, 0.2, 0.3]), Figures("drain")]
    some[0].counts.update(confirmed=10, ack=7, done=1, deliveries=9, redeliveries=2)
    some[1].blame("nothing lost", "one")
    head, broker, drain, total = (line.split() for line in summary(some).splitlines())
    assert head[0] == "phase"
    assert broker == ["broker", "3", "4", "10", "8", "9", "2", "0", "200", "300", "300", "0"]
    assert drain[-4:] == ["-", "-", "-", "1"]
    assert total[:3] == ["all", "3", "4"]
    assert total[-1] == "1"
    assert percentile([], 0.5) == 0.0
