"""What `tenure worker` takes, and how it says what is wrong with it."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner

from tenure.cli import worker as module
from tenure.cli.dev import dev
from tenure.cli.errors import CliError
from tenure.worker.options import WorkerOptions
from tenure.worker.recycle import Limits
from tenure.worker.specs import PoolSpec


def options(monkeypatch: pytest.MonkeyPatch, *words: str) -> WorkerOptions:
    """The options that the words come to, without running a worker."""
    found: list[WorkerOptions] = []

    def run_worker(options: WorkerOptions) -> int:
        found.append(options)
        return 0

    monkeypatch.setattr("tenure.worker.main.run_worker", run_worker)
    module.worker.main(["shop.tasks:app", *words], standalone_mode=False, prog_name="tenure worker")
    return found[0]


@pytest.fixture(autouse=True)
def no_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "exit", lambda code: None)


def test_without_options_it_works_on_the_queues_of_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    found = options(monkeypatch)
    assert (found.app, found.queues, found.url) == ("shop.tasks:app", None, None)
    assert found.pools == (PoolSpec("main", "async", 32),)
    assert (found.grace_ms, found.heartbeat_ms, found.limits) == (30_000, 5_000, Limits())
    assert not found.burst
    assert not found.reload


def test_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = options(
        monkeypatch, "-q", "mail=4,bulk=1", "--pool", "process", "-c", "2", "--prefetch", "16",
        "--grace", "1m", "--max-rss", "500MB", "--max-age", "1h", "--max-jobs-per-child", "7",
        "--health", "127.0.0.1:8081", "--url", "tenure://x", "--name", "w", "--burst",
    )  # fmt: skip
    assert found.queues == {"mail": 4, "bulk": 1}
    assert found.pools == (PoolSpec("main", "process", 2, None, 16),)
    assert found.limits == Limits(jobs_max=7, rss_bytes_max=500_000_000, age_ms_max=3_600_000)
    assert (found.health, found.url, found.name) == (("127.0.0.1", 8081), "tenure://x", "w")
    assert found.burst


def test_queues_may_be_given_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert options(monkeypatch, "-q", "a", "-q", "b").queues == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-q", "a=1,b"], "mixes queues"),
        (["-c", "0"], "--concurrency must be 1"),
        (["--pool", "fiber"], "is not a pool"),
        (["--grace", "soon"], "--grace 'soon' is not a duration"),
        (["--max-rss", "much"], "--max-rss 'much' is not a size"),
        (["--max-rss", "500"], "--max-rss '500' is 500 bytes, .* at least 16.* with its unit"),
        (["--max-rss", "0"], "at least 16"),
        (["--max-age", "0s"], "--max-age must be at least 1s, not '0s'"),
        (["--heartbeat", "0s"], "--heartbeat must be at least 50ms, not '0s'"),
        (["-c", "5", "--pool", "io=async:2"], "--concurrency 5 has no effect"),
        (["-c", "5", "--pool", "process:2"], "--concurrency 5 has no effect"),
        (["-q", "a", "--pool", "io=async:2:b"], "--queues a has no effect"),
        (["--app-dir", "/no/where"], '--app-dir "/no/where" is not a directory'),
        (["--health", "8081"], "must be HOST:PORT"),
        (["--name", "x" * 200], "--name must have at most 128"),
    ],
)
def test_a_mistake_is_told_with_the_option(
    words: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CliError, match=told):
        options(monkeypatch, *words)


def test_pools_that_name_neither_size_nor_queues_take_those_of_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pools = ("--pool", "io=async", "--pool", "cpu=process:2:thumbs")
    found = options(monkeypatch, "-c", "5", "-q", "mail", *pools)
    assert [(pool.size, pool.queues) for pool in found.pools] == [(5, None), (2, ["thumbs"])]
    assert found.queues == ["mail"]


@pytest.mark.parametrize("app", ["shop", "shop:", ":app", "shop.py:app()", "shop tasks:app"])
def test_what_is_not_an_app_is_refused(app: str) -> None:
    with pytest.raises(CliError, match="is not MODULE:APP"):
        module.check_app(app)


def test_the_help_has_examples() -> None:
    for command in (module.worker, dev):
        done = CliRunner().invoke(command, ["--help"])
        assert done.exit_code == 0
        assert "Examples:" in done.output
