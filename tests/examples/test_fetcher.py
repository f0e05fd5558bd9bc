"""The fetcher: a server that makes it hard, and both sides' accounts compared."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from examples.fetcher.retry_after import PAUSE_S_DEFAULT, PAUSE_S_MAX, pause_s
from examples.fetcher.tasks import ATTEMPTS, REDIRECTS_MAX
from tests.examples.runs import run_example

NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_every_page_that_there_is_gets_fetched_from_a_server_that_makes_it_hard(
    tmp_path: Path,
) -> None:
    printed = run_example("fetcher", tmp_path)
    assert "of 10 enqueued again 10 were known" in printed
    rows = re.findall(r"^(\w+) +(\d+) +(\d+) +(\d+)$", printed, re.M)
    fetched = {kind: int(number) for kind, number, _, _ in rows}
    dead = {kind: int(number) for kind, _, number, _ in rows if int(number)}
    requests = {kind: int(number) for kind, _, _, number in rows}
    assert dead == {"missing": 5, "gone": 5, "down": 3, "circle": 2}
    # These answer when all hundred are asked for at the same time.
    assert fetched["together"] == 100
    assert requests["flaky"] == 3 * fetched["flaky"]
    assert requests["broken"] == 3 * fetched["broken"]
    assert requests["closed"] == 2 * fetched["closed"]
    assert requests["limited"] > fetched["limited"]
    assert (requests["missing"], requests["gone"]) == (5, 5)
    assert requests["down"] == 3 * ATTEMPTS
    assert requests["circle"] == 2 * REDIRECTS_MAX
    assert re.search(
        r"^sum: 322 addresses = 307 pages \+ 15 dead letters;.*; 0 wrong$", printed, re.M
    )
    assert ", 0 came back too early" in printed


@pytest.mark.parametrize(
    ("header", "date", "seconds"),
    [
        ("120", None, 120.0),
        (" 0 ", None, 0.0),
        ("Tue, 01 Jan 2030 12:00:30 GMT", None, 30.0),
        # The server's clock is an hour behind ours; what counts is the difference on its own.
        ("Tue, 01 Jan 2030 11:00:30 GMT", "Tue, 01 Jan 2030 11:00:20 GMT", 10.0),
        ("Tue, 01 Jan 2030 12:00:30 GMT", "nonsense", 30.0),
        ("Tuesday, 01-Jan-30 12:00:30 GMT", None, 30.0),
        ("Tue Jan  1 12:00:30 2030", None, 30.0),
        ("Tue, 01 Jan 2030 11:00:00 GMT", None, 0.0),
        ("Tue, 01 Jan 2999 11:00:00 GMT", None, PAUSE_S_MAX),
        ("9" * 5000, None, PAUSE_S_MAX),
        (None, None, PAUSE_S_DEFAULT),
        ("", None, PAUSE_S_DEFAULT),
        ("soon", None, PAUSE_S_DEFAULT),
        ("-5", None, PAUSE_S_DEFAULT),
        ("1.5", None, PAUSE_S_DEFAULT),
        ("Tue, 41 Jan 2030 12:00:30 GMT", None, PAUSE_S_DEFAULT),
    ],
)
def test_a_server_is_left_alone_for_as_long_as_it_says(
    header: str | None, date: str | None, seconds: float
) -> None:
    assert pause_s(header, date, NOW) == seconds
