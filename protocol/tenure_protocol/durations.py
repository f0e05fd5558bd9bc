"""Durations as people write them: seconds, a `timedelta`, or a text such as "1h30m"."""

from __future__ import annotations

import re
from datetime import timedelta

from tenure_protocol.limits import TIME_MS_MAX

Duration = float | int | str | timedelta
"""Seconds, a `timedelta`, or a text such as "30s", "5m", "1h30m", "250ms", "7d"."""

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*")
_TEXT = re.compile(f"(?:{_PART.pattern})+")


def duration_ms(value: Duration, name: str = "duration") -> int:
    """`value` in whole milliseconds.

    Raises `ValueError`, naming `name`, for a negative, endless or unreadable duration.
    """
    if isinstance(value, timedelta):
        milliseconds = value / timedelta(milliseconds=1)
    elif isinstance(value, str):
        milliseconds = _text_ms(value, name)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} must be seconds, a timedelta or a text such as '5m'")
    else:
        milliseconds = value * 1000
    if not 0 <= milliseconds <= TIME_MS_MAX:
        raise ValueError(f"{name} must be zero or more, and end some day, not {str(value)[:40]}")
    return round(milliseconds)


def _text_ms(text: str, name: str) -> float:
    tidy = text.strip().lower()
    if re.fullmatch(r"\d+(?:\.\d+)?", tidy):
        return float(tidy) * 1000
    if not _TEXT.fullmatch(tidy):
        raise ValueError(
            f"{name} {text!r} is not a duration: write for example '250ms', '30s', '5m', '1h30m', '7d'"
        )
    return sum(float(number) * _UNITS_MS[unit] for number, unit in _PART.findall(tidy))


def format_ms(milliseconds: int) -> str:
    """A duration for people, in at most two units: "1h30m", "250ms", "4.2s"."""
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    if milliseconds < 10_000 and milliseconds % 1000:
        return f"{milliseconds / 1000:.1f}s"
    seconds = milliseconds // 1000
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if seconds >= size and len(parts) < 2:
            parts.append(f"{seconds // size}{unit}")
            seconds %= size
        elif parts:
            break
    return "".join(parts)
