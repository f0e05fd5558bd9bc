"""Named plans of bad weather, drawn from a seed. The same seed draws the same plan."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from tests.network.weather import CUTS, FAIR, LOUD_CUTS, Cut, Door, Lane, Step, Weather

EPISODE_S_MAX = 1.5
"""The longest partition of a plan, in seconds, but for `lapses`."""

Draw = Callable[[random.Random], Step]
"""Draws the next step of a plan."""


class Profile(NamedTuple):
    """How steps are drawn, and whether the link carries little (then jobs are kept small)."""

    draw: Draw
    slow: bool = False


def _latency(rng: random.Random) -> Step:
    up, down = (Lane(delay_s=rng.uniform(0, 0.08), jitter_s=rng.uniform(0, 0.05)) for _ in "ud")
    return Step(rng.uniform(0.2, 0.6), Weather(up, down))


def _cuts(cuts: tuple[Cut, ...], share: float) -> Draw:
    def draw(rng: random.Random) -> Step:
        weather = Weather(cuts=cuts, cut_share=rng.uniform(share / 2, share))
        return Step(rng.uniform(0.2, 0.6), weather)

    return draw


def _partition(*, up: bool, down: bool) -> Draw:
    def draw(rng: random.Random) -> Step:
        if rng.random() < 0.5:
            return Step(rng.uniform(0.1, 0.4), FAIR)
        weather = Weather(Lane(stalled=up), Lane(stalled=down))
        return Step(rng.uniform(0.1, EPISODE_S_MAX), weather)

    return draw


def _lapses(rng: random.Random) -> Step:
    if rng.random() < 0.4:
        return Step(rng.uniform(0.2, 0.8), FAIR)
    up, down = rng.choice([(True, True), (True, False), (False, True)])
    return Step(rng.uniform(1.0, 3.0), Weather(Lane(stalled=up), Lane(stalled=down)))


def _modem(rng: random.Random) -> Step:
    up, down = (Lane(delay_s=0.05, bytes_per_s=rng.choice([4_000, 9_000])) for _ in "ud")
    return Step(1.0, Weather(up, down))


def _drip(rng: random.Random) -> Step:
    lane = Lane(piece_bytes=1, bytes_per_s=rng.choice([2_000, 8_000]))
    return Step(1.0, rng.choice([Weather(up=lane), Weather(down=lane)]))


def _split(rng: random.Random) -> Step:
    up, down = (Lane(piece_bytes=rng.choice([1, 2, 3, 7])) for _ in "ud")
    return Step(rng.uniform(0.2, 0.6), Weather(up, down))


def _merge(rng: random.Random) -> Step:
    up, down = (Lane(merge_s=rng.uniform(0, 0.1)) for _ in "ud")
    return Step(rng.uniform(0.2, 0.6), Weather(up, down))


def _doors(*doors: Door) -> Draw:
    def draw(rng: random.Random) -> Step:
        if rng.random() < 0.5:
            return Step(rng.uniform(0.1, 0.4), FAIR)
        return Step(rng.uniform(0.05, 0.5), Weather(door=rng.choice(doors)), cut_all=True)

    return draw


def _storm(rng: random.Random) -> Step:
    return Step(rng.uniform(0.02, 0.25), FAIR, cut_all=True)


def _corrupt(rng: random.Random) -> Step:
    up, down = (Lane(flips=rng.choice([0.0, 0.01, 0.05])) for _ in "ud")
    return Step(rng.uniform(0.2, 0.6), Weather(up, down))


def _mixed(rng: random.Random) -> Step:
    draws = [
        name
        for name in PROFILES
        if name not in ("corrupt", "lapses", "mixed") and not is_slow(name)
    ]
    step = PROFILES[rng.choice(draws)].draw(rng)
    if rng.random() < 0.3:
        share = rng.uniform(0.01, 0.1)
        return replace(step, weather=replace(step.weather, cuts=CUTS, cut_share=share))
    return step


PROFILES: dict[str, Profile] = {
    "latency": Profile(_latency),
    "lost-requests": Profile(_cuts(("before", "inside"), 0.15)),
    "lost-replies": Profile(_cuts(("applied", "inside reply"), 0.15)),
    "resets": Profile(_cuts(LOUD_CUTS, 0.2)),
    "half-open": Profile(_cuts(("silence",), 0.05)),
    "requests-pass": Profile(_partition(up=False, down=True)),
    "replies-pass": Profile(_partition(up=True, down=False)),
    "partition": Profile(_partition(up=True, down=True)),
    "lapses": Profile(_lapses),
    "modem": Profile(_modem, slow=True),
    "drip": Profile(_drip, slow=True),
    "split": Profile(_split),
    "merge": Profile(_merge),
    "refused": Profile(_doors("refuse")),
    "slammed": Profile(_doors("close", "reset", "deaf")),
    "storm": Profile(_storm),
    "corrupt": Profile(_corrupt),
    "mixed": Profile(_mixed),
}
"""All profiles by name."""


def is_slow(name: str) -> bool:
    """Whether the link of a profile carries little."""
    return name in PROFILES and PROFILES[name].slow


def plan(name: str, seed: int, seconds: float) -> list[Step]:
    """The steps of a profile for about `seconds`."""

    def steps() -> Iterator[Step]:
        rng, left = random.Random(f"{name} {seed}"), seconds
        while left > 0:
            step = PROFILES[name].draw(rng)
            left -= step.seconds
            yield step

    return list(steps())
