"""Values as people read and write them: counts, sizes, durations, moments, rates."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from tenure_protocol.durations import format_ms

NOTHING = "–"
"""What a table shows where there is no value."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b?)", re.IGNORECASE)
_SIZE_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:/\s*(s|sec|second|m|min|minute|h|hour))?", re.IGNORECASE)
_RATE_SECONDS = {"s": 1, "m": 60, "h": 3600}
_DATE_END_MS = 253_402_300_799_999  # the last moment `datetime` can show: year 9999


def safe(text: str) -> str:
    """`text` with everything that could drive a terminal shown as an escape.

    Task names, errors and payloads come from strangers.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def safe_lines(text: str) -> list[str]:
    """The lines of `text`, each safe to print; tabs become spaces."""
    return [safe(line.expandtabs(4)) for line in text.splitlines()]


def count(number: int) -> str:
    """1284 as "1,284"."""
    return f"{number:,}"


def many(number: int, noun: str) -> str:
    """ "1 job", "1,284 jobs"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(count_bytes: int) -> str:
    """Bytes as "1.2 MiB"."""
    value, units = float(count_bytes), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    if count_bytes < 1024:
        return f"{count_bytes} B"
    return f"{value:.1f} {units[0]}" if value < 100 else f"{value:,.0f} {units[0]}"


def duration(milliseconds: float | None) -> str:
    """Milliseconds as "2m10s"; nothing for None."""
    return NOTHING if milliseconds is None else format_ms(max(0, round(milliseconds)))


def rate(per_second: float) -> str:
    """Events a second: "210", "0.4"."""
    if per_second >= 10 or per_second == round(per_second):
        return f"{per_second:,.0f}"
    return f"{per_second:.1f}" if per_second >= 0.05 else "<0.1"


def moment(at_ms: int | None) -> str:
    """A moment in UTC: "2026-11-22 03:12:07Z"; nothing for None."""
    if at_ms is None:
        return NOTHING
    if not 0 <= at_ms <= _DATE_END_MS:
        return "after year 9999"
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%SZ}"


def ago(at_ms: int | None, now_ms: int) -> str:
    """A moment relative to now: "3m10s ago", "in 2h"."""
    if at_ms is None:
        return NOTHING
    delta = at_ms - now_ms
    return f"in {format_ms(delta)}" if delta > 0 else f"{format_ms(-delta)} ago"


def parse_size(text: str, name: str) -> int:
    """Bytes from "65536", "10MiB" or "10M" (1024 each), "10MB" (1000 each). Raises `ValueError`."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{name} {text!r} is not a size: write for example 65536, 512KiB, 1.5GiB")
    thousand = 1000 if match[3].lower() == "b" else 1024
    return round(float(match[1]) * float(thousand ** _SIZE_POWERS[match[2].lower()]))


def parse_rate(text: str) -> float:
    """Jobs a second from "50", "50/s", "300/m". Raises `ValueError`."""
    match = _RATE.fullmatch(text.strip())
    value = float(match[1]) / _RATE_SECONDS[(match[2] or "s")[0].lower()] if match else 0.0
    if value <= 0 or not math.isfinite(value):
        raise ValueError(f"rate {text!r} is not a rate: write for example 50/s, 300/m")
    return value


def parse_moment_ms(text: str) -> int:
    """Milliseconds since 1970 from ISO 8601 ("2026-12-24T18:00+01:00") or epoch seconds.

    A time without a zone is local time. Raises `ValueError`.
    """
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError, OSError):
            raise ValueError(
                f"{text!r} is not a time: write for example 2026-12-24T18:00:00Z,"
                " '2026-12-24 18:00' (local time) or seconds since 1970"
            ) from None
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{text!r} is not a time after 1970")
    return round(seconds * 1000)
