"""What is told of jobs that a worker ended itself."""

from __future__ import annotations

from typing import Any

from tenure.core.failure import clean_text
from tenure_protocol.durations import format_ms
from tenure_protocol.limits import TRACEBACK_CHARS_MAX

SHUTDOWN_REASON = "worker shutdown"
ALONE_REASON = "it runs alone, after others"
QUIET_REASON = "the worker takes no new jobs"


def timeout_map(limit_ms: int | None, stacks: str) -> dict[str, Any]:
    """The map of the fail item for a job at its hard limit; `stacks`: what it was doing."""
    return {
        "error_type": "HardTimeout",
        "message": f"it ran longer than its limit of {format_ms(limit_ms or 0)}",
        "traceback": clean_text(stacks[-TRACEBACK_CHARS_MAX:]),
        "kind": "timeout",
    }


def cancelled_map(*, ran: bool) -> dict[str, Any]:
    """The map of the fail item for a job that was cancelled here."""
    how = "its process was ended" if ran else "before it began"
    return {"error_type": "Cancelled", "message": f"cancelled: {how}", "dead": True}
