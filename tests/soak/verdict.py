"""Whether something grew: a robust slope over the second part of a run, held against a bound.

A figure of a process begins anew when the process does, so its moments are only compared with
moments of the same life, each after its warm-up; then lives are compared with each other at their
ends. A figure of the store goes on through restarts: all of them are one life.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.stats import median

WARM_UP_SHARE = 0.3
"""The part of a life, and of a run, that is not looked at."""

POINTS_MIN = 8
"""A life with fewer looks after its warm-up says nothing."""

LIVES_MIN = 5
"""Of fewer lives nothing is said: three are in rising order by chance once in six times."""

RISING_SHARE = 0.6
"""A figure that grows has this share of its pairs of moments rising, and more."""

POINTS_MAX = 400
"""Longer series are thinned to medians of neighbours: pairs are many."""

Point = tuple[float, float, int]
"""When (s), how much, and in which life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """How much a figure may rise over the part of the run that is judged.

    The larger of `share` of its median and `floor`, in the figure's unit.
    """

    share: float
    floor: float
    lives: bool
    """Whether the figure begins anew with its process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How one figure went. `rise` is its slope times the time that was judged: the run, or the
    longest life."""

    name: str
    median: float
    rise: float
    allowed: float
    rising_share: float
    points: int
    grew: bool

    def text(self) -> str:
        """One line."""
        word = "GREW" if self.grew else "ok"
        return (
            f"{word:<5} {self.name:<28} median {self.median:>10.2f}  rise {self.rise:>+9.2f}"
            f"  allowed {self.allowed:>8.2f}  ({self.points} looks)"
        )


_MEMORY = Bound(share=0.10, floor=4.0, lives=True)
_COUNT = Bound(share=0.10, floor=4.0, lives=True)
_STORE = Bound(share=0.15, floor=4.0, lives=False)
_ROWS = Bound(share=0.30, floor=800.0, lives=False)
_LATENCY = Bound(share=1.0, floor=20.0, lives=False)

_BROKER_MEMORY = Bound(share=0.10, floor=12.0, lives=True)
"""It remembers the last 65,536 settled attempts and no more: 8 MB once they are there (measured),
which takes eleven minutes at a hundred jobs a second. In a run of an hour that is the warm-up of its
last life; in a short one it is what rises."""

BOUNDS = {
    "broker MB": _BROKER_MEMORY,
    "broker descriptors": _COUNT,
    "broker threads": Bound(share=0.0, floor=2.0, lives=True),
    "worker MB": _MEMORY,
    "worker descriptors": _COUNT,
    "worker threads": Bound(share=0.25, floor=4.0, lives=True),
    "client worker MB": _MEMORY,
    "client worker descriptors": _COUNT,
    "producer MB": _MEMORY,
    "producer descriptors": _COUNT,
    "store used MB": _STORE,
    "data file MB": Bound(share=0.25, floor=8.0, lives=False),
    "free MB": Bound(share=0.30, floor=8.0, lives=False),
    "journal MB": Bound(share=0.0, floor=0.1, lives=False),
    "window MB": Bound(share=0.30, floor=2.0, lives=False),
    "queues": Bound(share=0.10, floor=2.0, lives=False),
    "leases": Bound(share=0.30, floor=50.0, lives=False),
    "sessions": Bound(share=0.10, floor=4.0, lives=False),
    "connections": Bound(share=0.10, floor=4.0, lives=False),
    "jobs": _ROWS,
    "jobs rows": _ROWS,
    "leases rows": Bound(share=0.30, floor=50.0, lives=False),
    "states rows": _ROWS,
    "dead rows": _ROWS,
    "finished rows": _ROWS,
    "due rows": _ROWS,
    "unique rows": _ROWS,
    "producers rows": Bound(share=0.30, floor=2_500.0, lives=False),
    "queues rows": Bound(share=0.10, floor=2.0, lives=False),
    "lanes rows": Bound(share=0.20, floor=20.0, lives=False),
    "chores rows": Bound(share=0.0, floor=4.0, lives=False),
    "damaged rows": Bound(share=0.0, floor=0.0, lives=False),
    "notes rows": _ROWS,
    "meta rows": Bound(share=0.20, floor=20.0, lives=False),
    "enqueue p50 ms": _LATENCY,
    "enqueue p99 ms": Bound(share=2.0, floor=100.0, lives=False),
    "start p50 ms": _LATENCY,
    "start p99 ms": Bound(share=2.0, floor=300.0, lives=False),
    "checker MB": Bound(share=0.15, floor=10.0, lives=False),
    "checker jobs": _ROWS,
}
"""What may not grow, and by how much it may differ all the same."""


def judge(name: str, points: Sequence[Point], bound: Bound) -> Growth | None:
    """Whether a figure grew; None if there is too little to say.

    `points` are in the order of time and of the whole run.
    """
    kept = _later_part(points, lives=bound.lives)
    if len(kept) < POINTS_MIN:
        return None
    kept = _thinned(kept)
    middle = median([value for _, value, _ in kept])
    allowed = max(bound.share * abs(middle), bound.floor)
    slopes = _slopes(kept, lives=bound.lives)
    if not slopes:
        return None
    # In a process that is ended every few minutes nothing rises for longer than that.
    judged_s = max(map(_length_s, _lives(kept).values())) if bound.lives else _length_s(kept)
    rise = median(slopes) * judged_s
    rising = sum(slope > 0 for slope in slopes) / len(slopes)
    return Growth(
        name=name,
        median=middle,
        rise=rise,
        allowed=allowed,
        rising_share=rising,
        points=len(kept),
        grew=rise > allowed and rising > RISING_SHARE,
    )


def _lives(points: Sequence[Point]) -> dict[int, list[Point]]:
    of_life: dict[int, list[Point]] = {}
    for point in points:
        of_life.setdefault(point[2], []).append(point)
    return of_life


def _length_s(points: Sequence[Point]) -> float:
    return points[-1][0] - points[0][0]


def _later_part(points: Sequence[Point], *, lives: bool) -> list[Point]:
    """What is left when warm-ups are left out: of the run, or of each life."""
    if not lives:
        return list(points[int(len(points) * WARM_UP_SHARE) :])
    kept: list[Point] = []
    for own in _lives(points).values():
        later = own[int(len(own) * WARM_UP_SHARE) :]
        kept += later if len(later) >= POINTS_MIN else []
    return kept


def _thinned(points: list[Point]) -> list[Point]:
    """At most about POINTS_MAX points: medians of neighbours of one life."""
    size = -(-len(points) // POINTS_MAX)
    if size == 1:
        return points
    thin: list[Point] = []
    start = 0
    while start < len(points):
        life = points[start][2]
        group = [point for point in points[start : start + size] if point[2] == life]
        moments, values = [point[0] for point in group], [point[1] for point in group]
        thin.append((median(moments), median(values), life))
        start += len(group)
    return thin


def _slopes(points: Sequence[Point], *, lives: bool) -> list[float]:
    """The slope of every pair of moments (Theil-Sen), within a life if lives begin anew."""
    return [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for number, earlier in enumerate(points)
        for later in points[number + 1 :]
        if later[0] > earlier[0] and (not lives or later[2] == earlier[2])
    ]


def between_lives(name: str, points: Sequence[Point], bound: Bound) -> Growth | None:
    """Whether each life of a process ends higher than the one before, at the same age.

    None if fewer than `LIVES_MIN` lives can be compared.
    """
    ends = _ends(points)
    if len(ends) < LIVES_MIN:
        return None
    middle = median([value for _, value, _ in ends])
    slopes = _slopes(ends, lives=False)
    rise = median(slopes) * (ends[-1][0] - ends[0][0])
    allowed = max(bound.share * abs(middle), bound.floor)
    rising = sum(slope > 0 for slope in slopes) / len(slopes)
    return Growth(
        name=f"{name}, life by life",
        median=middle,
        rise=rise,
        allowed=allowed,
        rising_share=rising,
        points=len(ends),
        grew=rise > allowed and rising > RISING_SHARE,
    )


def _ends(points: Sequence[Point]) -> list[Point]:
    """One point for each life that was long enough, all taken at the same age."""
    long_enough = [own for own in _lives(points).values() if len(own) >= POINTS_MIN]
    if not long_enough:
        return []
    age = min(len(own) for own in long_enough)
    return [
        (own[0][0], median([value for _, value, _ in own[age // 2 : age]]), own[0][2])
        for own in long_enough
    ]
