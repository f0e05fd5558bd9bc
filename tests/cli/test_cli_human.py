"""Values as people read and write them."""

from __future__ import annotations

import pytest

from tenure.cli import human


@pytest.mark.parametrize(
    ("count_bytes", "text"),
    [
        (0, "0 B"),
        (1_023, "1023 B"),
        (1_024, "1.0 KiB"),
        (1_258_291, "1.2 MiB"),
        (105 << 20, "105 MiB"),
        (3 << 40, "3.0 TiB"),
        (5_000 << 40, "5,000 TiB"),
    ],
)
def test_sizes_are_shown_in_units_of_1024(count_bytes: int, text: str) -> None:
    assert human.size(count_bytes) == text


@pytest.mark.parametrize(
    ("text", "count_bytes"),
    [("65536", 65_536), ("1.5GiB", 3 << 29), ("2M", 2 << 20), ("10kb", 10_000), ("7 B", 7)],
)
def test_sizes_are_read_with_and_without_units(text: str, count_bytes: int) -> None:
    assert human.parse_size(text, "max_bytes") == count_bytes


@pytest.mark.parametrize("text", ["", "-1", "1.5X", "GiB", "1e9"])
def test_an_unreadable_size_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="max_bytes"):
        human.parse_size(text, "max_bytes")


def test_durations_have_at_most_two_units() -> None:
    assert human.duration(130_000) == "2m10s"
    assert human.duration(None) == human.NOTHING
    assert human.duration(-5) == "0ms"


@pytest.mark.parametrize(
    ("per_second", "text"), [(0.0, "0"), (0.01, "<0.1"), (0.42, "0.4"), (1_284.4, "1,284")]
)
def test_rates_are_short(per_second: float, text: str) -> None:
    assert human.rate(per_second) == text


@pytest.mark.parametrize(("text", "per_second"), [("50", 50), ("50/s", 50), ("300/m", 5)])
def test_rates_are_read_per_second_or_minute(text: str, per_second: float) -> None:
    assert human.parse_rate(text) == per_second


@pytest.mark.parametrize("text", ["0", "fast", "5/y", "-3/s"])
def test_an_unreadable_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        human.parse_rate(text)


def test_moments_are_shown_in_utc() -> None:
    assert human.moment(1_795_316_400_000) == "2026-11-22 03:00:00Z"
    assert human.moment(1 << 60) == "after year 9999"


def test_moments_are_read_as_iso_or_epoch_seconds() -> None:
    assert human.parse_moment_ms("2026-11-22T03:00:00Z") == 1_795_316_400_000
    assert human.parse_moment_ms("2026-11-22T04:00:00+01:00") == 1_795_316_400_000
    assert human.parse_moment_ms("1795316400.5") == 1_795_316_400_500


@pytest.mark.parametrize("text", ["soon", "-1", "inf", "nan", "2026-13-01"])
def test_an_unreadable_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a time"):
        human.parse_moment_ms(text)


def test_text_from_outside_cannot_drive_the_terminal() -> None:
    assert human.safe("plain ünï") == "plain ünï"
    assert human.safe("a\x1b[31mb\x07\x9b") == r"a\x1b[31mb\x07\x9b"
    assert human.safe("right\u202eleft") == r"right\u202eleft"
    assert human.safe("two\nlines") == r"two\nlines"


def test_lines_are_kept_and_tabs_become_blanks() -> None:
    assert human.safe_lines("a\n\tb\x00") == ["a", r"    b\x00"]
