"""How the run of a job ended, as its worker will tell the broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Succeeded:
    """It returned; `result` is encoded as it travels in an ack, None when there is none."""

    result: bytes | None = None


@dataclass(slots=True)
class Failed:
    """It raised, or could not be run; `wire` is the map of a fail item."""

    wire: dict[str, Any]


@dataclass(slots=True)
class Released:
    """It goes back unharmed, at once or after `delay_ms`; the history keeps the reason."""

    delay_ms: int | None = None
    reason: str | None = None


Outcome = Succeeded | Failed | Released
"""What becomes of a delivery."""
