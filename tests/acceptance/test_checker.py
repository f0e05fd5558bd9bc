"""The checker of the kill test finds what is planted, and nothing in a clean story."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.checker import Line, check

LEASE_S = 2.0


def line(t: float, who: str, event: str, **fields: Any) -> Line:
    return {"t": t, "who": who, "event": event, **fields}


def got(t: float, who: str, *jobs: tuple[str, str, int], digest: str = "h") -> list[Line]:
    rows = [{"key": key, "id": job, "attempt": n, "hash": digest} for key, job, n in jobs]
    return [line(t - 0.1, who, "reserve"), line(t, who, "got", jobs=rows, lease_s=LEASE_S)]


def settle(
    t: float, who: str, job: str, attempt: int, how: str = "ack", end: str = "settled"
) -> list[Line]:
    token = {"id": job, "attempt": attempt, "how": how}
    return [line(t, who, "settle", **token), line(t + 0.1, who, end, **token)]


def story(*parts: list[Line], dead: list[str] | None = None) -> list[Line]:
    begin = [
        line(0.0, "p", "enqueue", jobs={"p-1": "h", "p-2": "h"}),
        line(0.1, "p", "enqueued", jobs={"p-1": "A", "p-2": "B"}),
        line(0.2, "p", "enqueue", jobs={"p-3": "h", "p-4": "h"}),
        line(0.3, "p", "enqueue refused", jobs=["p-4"]),
    ]
    lines = begin + [entry for part in parts for entry in part]
    lines.sort(key=lambda entry: entry["t"])
    return [*lines, line(99.0, "d", "drained", dead=dead or [])]


CLEAN = [
    got(1.0, "w", ("p-1", "A", 1), ("p-2", "B", 1)),
    settle(1.1, "w", "A", 1),
    settle(1.3, "w", "B", 1),
]


def test_a_clean_story_has_no_violation() -> None:
    verdict = check(story(*CLEAN))
    assert verdict.violations == []
    assert verdict.counts["confirmed"] == 2
    assert verdict.counts["ack"] == 2


def test_what_is_unknown_may_be_either() -> None:
    recovered = [*got(3.0, "w", ("p-3", "C", 1)), *settle(3.1, "w", "C", 1)]
    assert check(story(*CLEAN, recovered)).violations == []
    unknown = settle(1.3, "w", "B", 1, end="settle unknown")
    again = [*got(9.0, "v", ("p-2", "B", 2)), *settle(9.1, "v", "B", 2)]
    assert check(story(CLEAN[0], CLEAN[1], unknown, again)).violations == []
    refused = settle(1.3, "w", "B", 1, end="settle refused")
    assert check(story(CLEAN[0], CLEAN[1], refused)).violations != []
    kill = [line(1.35, "k", "broker killed")]
    assert check(story(CLEAN[0], CLEAN[1], refused, kill)).violations == []


@pytest.mark.parametrize(
    ("lines", "promise"),
    [
        (story(got(1.0, "w", ("p-1", "A", 1)), settle(1.1, "w", "A", 1)), "nothing lost"),
        (story(CLEAN[0], CLEAN[1]), "nothing lost"),
        (story(*CLEAN, got(9.0, "v", ("p-1", "A", 2))), "no confirmed ack comes back"),
        (story(*CLEAN, got(9.0, "v", ("p-9", "Z", 1))), "nothing from nowhere"),
        (story(*CLEAN, got(9.0, "v", ("p-4", "Z", 1))), "nothing from nowhere"),
        (story(*CLEAN, got(9.0, "v", ("p-3", "Z", 1), digest="x")), "nothing from nowhere"),
        (story(*CLEAN, got(9.0, "v", ("p-1", "Z", 1))), "no doubles"),
        (story(*CLEAN, got(1.05, "v", ("p-1", "A", 1))), "exclusive"),
        (story(CLEAN[0], CLEAN[1], got(1.9, "v", ("p-2", "B", 2)),
               settle(2.0, "v", "B", 2)), "exclusive"),
        (story(got(1.0, "w", ("p-2", "B", 1), ("p-1", "A", 1)), *CLEAN[1:]), "order"),
        (story(CLEAN[0], CLEAN[1], settle(1.3, "w", "B", 1, "bury")), "nothing dropped"),
        (story(*CLEAN, dead=["A"]), "nothing dropped"),
        (story(*CLEAN)[:-1], "drain"),
    ],
)  # fmt: skip
def test_a_planted_violation_is_found(lines: list[Line], promise: str) -> None:
    assert promise in [violation.split(":")[0] for violation in check(lines).violations]


def test_a_lease_that_ran_out_or_was_given_back_is_no_overlap() -> None:
    late = [*got(3.5, "v", ("p-2", "B", 2)), *settle(3.6, "v", "B", 2)]
    assert check(story(CLEAN[0], CLEAN[1], late)).violations == []
    back = settle(1.3, "w", "B", 1, "release")
    soon = [*got(1.5, "v", ("p-2", "B", 2)), *settle(1.6, "v", "B", 2)]
    assert check(story(CLEAN[0], CLEAN[1], back, soon)).violations == []
