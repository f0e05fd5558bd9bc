"""Names that are safe everywhere: in a store, a log, a metric, a URL."""

from __future__ import annotations

import re

from tenure_protocol.errors import BadRequest
from tenure_protocol.limits import QUEUE_NAME_CHARS_MAX

_QUEUE = re.compile(rf"[a-z0-9][a-z0-9._:-]{{0,{QUEUE_NAME_CHARS_MAX - 1}}}")

PRIORITIES = {"critical": 0, "high": 64, "normal": 128, "low": 192}
"""Named priorities; 0 runs first."""


def check_queue_name(name: object) -> str:
    """`name`, if it can name a queue. Raises `BadRequest` otherwise."""
    if type(name) is not str or not _QUEUE.fullmatch(name):
        shown = repr(name[:40]) if isinstance(name, str) else type(name).__name__
        raise BadRequest(
            f"{shown} cannot name a queue: use 1 to {QUEUE_NAME_CHARS_MAX} of a-z 0-9 . _ : -,"
            " beginning with a letter or digit"
        )
    return name
