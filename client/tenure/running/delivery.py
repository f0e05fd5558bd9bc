"""A job as it comes to be run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tenure_protocol.ids import encode_id

_PLAIN_ITEMS = 8


@dataclass(slots=True)
class Delivery:
    """One delivery of a job. Times are the broker's, in ms since 1970.

    `used` counts the attempts that are used up, `lost` those of them that ended with their
    worker; `checkpoint` is what the job saved last, whichever attempt it was.
    """

    id: str
    attempt: int
    queue: str
    enqueued_at_ms: int
    body: bytes
    max_attempts: int
    used: int
    lost: int = 0
    checkpoint: bytes | None = None


def from_row(row: list[Any]) -> Delivery:
    """The delivery that the broker sent as `row`."""
    extra = row[_PLAIN_ITEMS] if len(row) > _PLAIN_ITEMS else None
    if not extra:
        return Delivery(encode_id(row[0]), row[1], row[2], row[4], row[5], row[6], row[7])
    return Delivery(
        encode_id(row[0]), row[1], row[2], row[4], row[5], row[6], row[7],
        extra.get("lost") or 0, extra.get("checkpoint"),
    )  # fmt: skip
