"""Whatever call of the operating system fails, nothing confirmed is lost and nothing is hidden.

A small choice of the failures that `python -m tests.power errors` tries one by one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.power.errors import read_failure, trial
from tests.power.launch import ERRORS_IGNORED
from tests.power.zygote import Zygote

pytestmark = pytest.mark.slow

FAILURES = [
    ("first-life", "WRITE:6:EIO:once"),
    ("first-life", "OPEN:4:ENOSPC:on"),
    ("first-life", "OPEN:15:EMFILE:on"),
    ("first-life", "MMAP:2:ENOMEM:once"),
    ("first-life", "WRITE:20:SHORT:once"),
    ("first-life", "WRITE:26:ENOSPC:once"),
    ("first-life", "WRITE:24:EIO:once"),
    ("first-life", "SYNC:9:EIO:once"),
    ("next-life", "SYNC:1:EIO:once"),
    ("next-life", "WRITE:3:ENOSPC:on"),
    ("backup", "SYNC:14:EIO:once"),
    ("backup", "NAME:6:ENOSPC:on"),
    ("compaction", "WRITE:2:ENOSPC:once"),
    ("restore", "OPEN:4:EMFILE:once"),
    ("upgrade", "SYNC:1:EIO:once"),
]


def test_a_broker_that_takes_no_notice_of_a_failed_sync_is_found_out(
    zygote: Zygote, tmp_path: Path
) -> None:
    failure = read_failure("SYNC:9:EIO:once")
    outcome = trial("first-life", zygote, tmp_path, failure, ERRORS_IGNORED)

    assert any("lost" in fault for fault in outcome.faults), outcome


@pytest.mark.parametrize(("scene", "failure"), FAILURES)
def test_a_call_that_fails_is_told_and_loses_nothing(
    scene: str, failure: str, zygote: Zygote, tmp_path: Path
) -> None:
    outcome = trial(scene, zygote, tmp_path, read_failure(failure))

    assert outcome.fired, "no call failed: the choice above is out of date"
    again = f"python -m tests.power errors --scene {scene} --failure {failure}"
    assert outcome.faults == [], f"{outcome.said}\nto repeat it: {again}"
