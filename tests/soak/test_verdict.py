"""What grows is found as growing, and what only wavers is not."""

from __future__ import annotations

import random

import pytest

from tests.soak.verdict import BOUNDS, Bound, Point, between_lives, judge

MEMORY = BOUNDS["broker MB"]
STORE = BOUNDS["data file MB"]


def series(
    rise_per_minute: float, *, noise: float = 1.0, level: float = 40.0, lives: int = 1
) -> list[Point]:
    """Twenty minutes, a look every five seconds; each life warms up and then rises or does not."""
    rng = random.Random(7)
    points: list[Point] = []
    length = 240 // lives
    for number in range(240):
        life, age = divmod(number, length)
        warm = 10.0 * min(1.0, age / (0.25 * length))
        rise = rise_per_minute * age * 5 / 60
        value = level - 10 + warm + rise + rng.uniform(-noise, noise)
        points.append((number * 5.0, value, life))
    return points


def test_memory_that_leaks_is_found() -> None:
    growth = judge("broker MB", series(2.0), MEMORY)

    assert growth is not None
    assert growth.grew
    assert growth.rise == pytest.approx(28, abs=3)


def test_memory_that_leaks_is_found_although_the_process_was_restarted() -> None:
    growth = judge("broker MB", series(6.0, lives=4), MEMORY)

    assert growth is not None
    assert growth.grew


def test_a_process_that_is_ended_every_few_minutes_is_judged_for_so_long_only() -> None:
    # A megabyte in each life of two and a half minutes is no 12 MB of anything.
    growth = judge("client worker MB", series(0.4, lives=8, noise=0.1), BOUNDS["client worker MB"])

    assert growth is not None
    assert growth.rise == pytest.approx(1, abs=3)
    assert not growth.grew


def test_memory_that_warms_up_and_then_stays_has_not_grown() -> None:
    for lives in (1, 4):
        growth = judge("broker MB", series(0.0, lives=lives), MEMORY)
        assert growth is not None
        assert not growth.grew


def test_noise_and_single_peaks_are_no_growth() -> None:
    points = series(0.0, noise=8.0)
    points[-3] = (points[-3][0], 400.0, 0)

    growth = judge("broker MB", points, MEMORY)

    assert growth is not None
    assert not growth.grew


def test_a_store_that_grows_through_restarts_is_found() -> None:
    points = [(at, 30.0 + at / 60, life) for at, _, life in series(0.0, lives=8)]

    growth = judge("data file MB", points, STORE)

    assert growth is not None
    assert growth.grew


def test_a_process_that_begins_higher_every_time_is_found_life_by_life() -> None:
    points = [(at, value + 8 * life, life) for at, value, life in series(0.0, lives=6)]
    slow = between_lives("broker MB", points, MEMORY)
    same = between_lives("broker MB", series(0.0, lives=6), MEMORY)

    assert slow is not None
    assert slow.grew
    assert same is not None
    assert not same.grew


def test_descriptors_that_are_not_given_back_are_found() -> None:
    points = [(number * 5.0, 20.0 + number // 10, 0) for number in range(240)]

    growth = judge("broker descriptors", points, BOUNDS["broker descriptors"])

    assert growth is not None
    assert growth.grew


def test_too_little_says_nothing() -> None:
    assert judge("broker MB", series(9.0)[:10], MEMORY) is None
    assert between_lives("broker MB", series(9.0, lives=4), MEMORY) is None


def test_a_long_run_is_judged_like_a_short_one() -> None:
    points = [(number * 5.0, 40 + number / 100, 0) for number in range(5_000)]

    growth = judge("x", points, Bound(share=0.1, floor=1.0, lives=False))

    assert growth is not None
    assert growth.grew
    assert growth.points < 500
