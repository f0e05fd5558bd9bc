"""Short rounds of bad weather for both clients and the worker; `python -m tests.network` has more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.network.callers import Kind
from tests.network.client_rounds import Round, run_round
from tests.network.judge import Report
from tests.network.worker_rounds import run_worker_round

SECONDS = 0.8
SEED = 7


def told(report: Report, who: str, profile: str) -> str:
    """The violations, and how to see them again."""
    again = f"python -m tests.network --rounds 1 --seed {SEED} --profile {profile} --who {who}"
    return "\n".join([*report.violations, f"{again} --seconds {SECONDS}"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_clients_keep_every_promise_in_bad_weather(kind: Kind, url: str) -> None:
    report = run_round(Round(kind, "mixed", SEED, SECONDS, url))

    assert report.violations == [], told(report, kind, "mixed")
    assert report.counts["confirmed"] > 0


@pytest.mark.slow
def test_changed_bytes_harm_nobody_but_those_who_sent_them(url: str) -> None:
    report = run_round(Round("sync", "corrupt", SEED, SECONDS / 2, url))

    assert report.violations == [], told(report, "sync", "corrupt")
    assert report.counts["confirmed"] > 0


@pytest.mark.slow
def test_a_worker_runs_every_job_once_in_bad_weather(url: str, tmp_path: Path) -> None:
    report = run_worker_round("resets", SEED, SECONDS, url, tmp_path)

    assert report.violations == [], told(report, "worker", "resets")
    assert report.counts["confirmed"] > 0
