"""Durations as people write them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure_protocol.durations import duration_ms, format_ms
from tenure_protocol.limits import TIME_MS_MAX


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (0, 0),
        (5, 5_000),
        (0.25, 250),
        (0.1, 100),
        (1e-9, 0),
        (timedelta(minutes=2, milliseconds=5), 120_005),
        ("0", 0),
        ("5", 5_000),
        ("1.5", 1_500),
        ("250ms", 250),
        ("30s", 30_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("1h 30m", 5_400_000),
        (" 5 M ", 300_000),
        ("1.5h", 5_400_000),
        ("7d", 604_800_000),
        ("2w", 1_209_600_000),
        ("1d2h3m4s5ms", 93_784_005),
    ],
)
def test_a_duration_is_read(value: Any, milliseconds: int) -> None:
    assert duration_ms(value) == milliseconds


@pytest.mark.parametrize(
    "value",
    [
        -1,
        -0.001,
        float("nan"),
        float("inf"),
        float("-inf"),
        10**400,
        1e300,
        timedelta(seconds=-1),
        TIME_MS_MAX // 1000 + 1,
        "",
        " ",
        "s",
        "-5s",
        "5x",
        "5 5",
        "1m s",
        "1 0s",
        "1h-30m",
        "1,5s",
        ".5s",
        "5.s",
        "1e3",
        "inf",
        "nan",
        "9" * 400 + "s",
        "9" * 400,
        "5s\x00",
        True,
        None,
        [],
        b"5s",
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_duration_is_refused_with_its_name(value: Any) -> None:
    with pytest.raises(ValueError, match="lease"):
        duration_ms(value, "lease")


@given(
    st.text(max_size=30) | st.floats() | st.integers() | st.from_regex(r"([0-9]+ ?(ms|s|h)){1,3}")
)
def test_anything_is_a_duration_in_bounds_or_a_value_error(value: Any) -> None:
    try:
        milliseconds = duration_ms(value)
    except ValueError:
        return
    assert 0 <= milliseconds <= TIME_MS_MAX


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0ms"),
        (999, "999ms"),
        (1_000, "1s"),
        (4_200, "4.2s"),
        (59_999, "59s"),
        (60_000, "1m"),
        (90_000, "1m30s"),
        (3_600_000, "1h"),
        (3_605_000, "1h"),
        (5_400_000, "1h30m"),
        (86_400_000, "1d"),
        (93_784_005, "1d2h"),
    ],
)
def test_a_duration_is_shown_in_two_units_at_most(milliseconds: int, text: str) -> None:
    assert format_ms(milliseconds) == text
