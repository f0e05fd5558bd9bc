"""What a network may do to connections: the weather between clients and the broker, as values.

A *lane* is one direction: `up` to the broker, `down` from it. A *cut* ends one connection at a
chosen point of a request's life, which decides what the client can know:

    before        the request never reached the broker
    inside        half of its frame did
    applied       it was carried out, and its reply is lost
    inside reply  half of the reply arrived
    silence       from here on nothing arrives on either side, and nobody is told
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Door = Literal["open", "refuse", "close", "reset", "deaf"]
"""What a new connection meets: service, a closed port, an end at once (orderly or not), silence."""

Cut = Literal["before", "inside", "applied", "inside reply", "silence"]

CUTS: tuple[Cut, ...] = ("before", "inside", "applied", "inside reply", "silence")

LOUD_CUTS: tuple[Cut, ...] = ("before", "inside", "applied", "inside reply")


@dataclass(frozen=True, slots=True)
class Lane:
    """One direction.

    - `delay_s`, `jitter_s`: how late a frame is, and up to how much more.
    - `bytes_per_s`: the bandwidth; 0: none to speak of.
    - `piece_bytes`: the most bytes that arrive together; 0: as they came.
    - `merge_s`: bytes are held for so long and then arrive together.
    - `stalled`: nothing passes; what is on its way arrives when it passes again.
    - `flips`: the share of frames in which one byte is changed.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: int = 0
    piece_bytes: int = 0
    merge_s: float = 0.0
    stalled: bool = False
    flips: float = 0.0


@dataclass(frozen=True, slots=True)
class Weather:
    """All that happens at a time. `cut_share` is the share of requests that meet one of `cuts`."""

    up: Lane = Lane()
    down: Lane = Lane()
    door: Door = "open"
    cuts: tuple[Cut, ...] = ()
    cut_share: float = 0.0


FAIR = Weather()
"""Nothing happens: every byte passes at once."""


@dataclass(frozen=True, slots=True)
class Step:
    """A weather, how long it lasts, and whether all connections are cut when it comes."""

    seconds: float
    weather: Weather
    cut_all: bool = False
