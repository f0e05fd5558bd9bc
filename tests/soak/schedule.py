"""When what happens in a soak: the whole of it follows from its length and its seed.

In the first part, the storm, the broker is killed or restarted every so often, and workers and
producers with it. In the second, the calm, the broker and the worker stay as they are, so that what
grows slowly has time to be seen; one client worker is killed every now and then even so.
"""

from __future__ import annotations

import random
from typing import NamedTuple

STORM_SHARE = 0.45
GAP_S_MIN, GAP_S_MAX = 3.0, 600.0
GAPS = 11
"""How many times the storm has room for the broker to be ended, in a run of an hour or less."""

AUDIT_EVERY_S = 60.0
AUDITS_MIN = 1


class Happening(NamedTuple):
    """At a time (s since the begin), this is done: to the broker, or to a place of the crew."""

    at_s: float
    what: str
    place: str


def happenings(seconds: float, seed: int, places: list[str]) -> list[Happening]:
    """Everything that is done, in order: "kill" and "stop" (each with a new start), "audit"."""
    rng = random.Random(seed)
    storm = seconds * STORM_SHARE
    gap = min(GAP_S_MAX, max(GAP_S_MIN, storm / GAPS))
    found: list[Happening] = []
    at = gap / 2
    while at < storm:
        # The first one is a kill, the second a stop, so that the shortest run has both.
        kill = rng.random() < 0.6 if len(found) > 2 else not found
        found.append(Happening(at, "kill" if kill else "stop", "broker"))
        beside = at + gap * rng.uniform(0.3, 0.7)
        found.append(Happening(beside, rng.choice(["kill", "stop"]), rng.choice(places)))
        at += gap * rng.uniform(0.9, 1.1)
    victims = [place for place in places if place[0] == "w"][-1:]
    at = storm + gap
    while at < seconds - gap and victims:
        found.append(Happening(at, "kill", victims[0]))
        at += gap
    audits = max(AUDITS_MIN, int(seconds / AUDIT_EVERY_S))
    found += [Happening(seconds * (number + 0.5) / audits, "audit", "") for number in range(audits)]
    return sorted(found)
