"""Floods against a real broker, small: nobody else is harmed, nothing is lost, memory is bounded."""

from __future__ import annotations

import pytest

from tests.floods.running import FLOODS, run_flood
from tests.floods.stage import SHORT


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_harms_nobody_else(name: str) -> None:
    report = run_flood(name, SHORT, calm_s=0.0)

    assert [phase.name for phase in report.phases] == ["before", "during", "after"]
