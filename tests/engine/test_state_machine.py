"""The whole engine against a plain model, over histories that hypothesis makes up.

`TENURE_MACHINE_EXAMPLES=5000 pytest tests/engine/test_state_machine.py` searches longer,
and along other paths each time.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.engine.broker_machine import Broker

EXAMPLES = int(os.environ.get("TENURE_MACHINE_EXAMPLES", "260"))
STEPS = 60


def test_no_history_parts_engine_and_model() -> None:
    run_state_machine_as_test(
        Broker,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize="TENURE_MACHINE_EXAMPLES" not in os.environ,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
