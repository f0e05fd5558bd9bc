"""What is fuzzed: by name, with inputs to begin with, and the code whose branches are looked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tenure.codecs import DECODED_BYTES_MAX
from tests.fuzz import http_side, pipes, replies, rows, sessions, texts, wires
from tests.fuzz.bounds import PEAK_BYTES_MAX


class Target(NamedTuple):
    """Something that takes any bytes and raises only if something is wrong."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    length_max: int
    """How long inputs are made."""
    share: int
    """How many of a thousand inputs of a run over all targets are for it."""
    close: Callable[[], None] = lambda: None
    peak_bytes_max: int = PEAK_BYTES_MAX
    """How much memory one input may hold at a time."""


TARGETS: dict[str, Target] = {
    "frames": Target(wires.frames, wires.seeds, 300, 130),
    "values": Target(wires.values, wires.seeds, 200, 130),
    "bodies": Target(wires.bodies, wires.seeds, 200, 130),
    "replies": Target(replies.replies, replies.seeds, 800, 60),
    "payloads": Target(
        replies.payloads, replies.seeds, 200, 80, peak_bytes_max=DECODED_BYTES_MAX + PEAK_BYTES_MAX
    ),
    "sessions": Target(sessions.talk, sessions.seeds, 2_000, 20),
    "settings": Target(texts.settings, texts.seeds, 80, 60),
    "kinds": Target(texts.kinds, texts.seeds, 40, 100),
    "names": Target(texts.names, texts.seeds, 60, 110),
    "rows": Target(rows.rows, rows.seeds, 100, 80),
    "journals": Target(rows.journals, rows.seeds, 120, 30),
    "stores": Target(rows.wrong_stores, rows.seeds, 300, 30),
    "pipes": Target(pipes.pipes, pipes.seeds, 200, 30, pipes.close),
    "http": Target(http_side.http, http_side.seeds, 100, 10, http_side.close),
}  # fmt: skip
"""Every target by its name."""
