"""A power cut at any moment loses nothing that was confirmed.

A small choice of the images that `python -m tests.power images` opens by the thousand.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.power.__main__ import told
from tests.power.campaign import cut_again, record, try_images
from tests.power.controls import CONTROLS
from tests.power.workloads import WORKLOADS
from tests.power.zygote import Zygote

pytestmark = pytest.mark.slow

SEED = 1
IMAGES = 25
AGAIN = "to repeat it: python -m tests.power images --images 0 --workload"


@pytest.mark.parametrize("name", WORKLOADS)
def test_no_promise_is_broken_by_a_power_cut(name: str, zygote: Zygote, tmp_path: Path) -> None:
    made = record(WORKLOADS[name], zygote, tmp_path / "stage")
    result = try_images(made, images=IMAGES, seed=SEED)

    assert result.checked > IMAGES // 2
    assert result.bad == 0, f"{told(result)}\n{AGAIN} {name}"


def test_power_may_fail_again_while_a_start_recovers(zygote: Zygote, tmp_path: Path) -> None:
    made = record(WORKLOADS["ring"], zygote, tmp_path / "first")
    again = record(cut_again(made, SEED), zygote, tmp_path / "again")
    result = try_images(again, images=IMAGES, seed=SEED)

    assert result.checked > 0
    assert result.bad == 0, told(result)


@pytest.mark.parametrize("name", CONTROLS)
def test_a_protection_that_is_taken_away_is_missed(
    name: str, zygote: Zygote, tmp_path: Path
) -> None:
    control = CONTROLS[name]
    made = record(
        WORKLOADS[control.workload],
        zygote,
        tmp_path / "stage",
        unsynced=control.unsynced,
        control=control.fault,
    )

    assert try_images(made, images=40, seed=SEED).bad > 0
