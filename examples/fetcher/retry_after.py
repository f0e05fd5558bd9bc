"""The Retry-After header (RFC 9110, 10.2.3), as a pause."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

PAUSE_S_DEFAULT = 5.0
"""When a server says "later" and not when, or says it so that nobody understands."""
PAUSE_S_MAX = 86_400.0


def pause_s(retry_after: str | None, date: str | None, now: datetime) -> float:
    """For how many seconds a server wants to be left alone.

    `retry_after` is a number of seconds or a date. A date is taken by the server's own clock,
    the `Date` header, if there is one: its clock and ours need not agree.
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        # The text may be thousands of digits long, and a float stops at three hundred.
        return min(float(text[:12]), PAUSE_S_MAX)
    then = _moment(text)
    if then is None:
        return PAUSE_S_DEFAULT
    return min(max((then - (_moment(date) or now)).total_seconds(), 0.0), PAUSE_S_MAX)


def _moment(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
