"""A filter over dead jobs that finds none says so, and which error types there are."""

from __future__ import annotations

import pytest

from tenure import Client
from tests.cli.processes import tenure

FULL = "tenure.errors.ArgumentError"


def bury(url: str, queue: str, *error_types: str) -> None:
    with Client(url) as client:
        for error_type in error_types:
            client.enqueue(queue, "work", {})
            [job] = client.reserve(queue, wait="10s")
            made = type(error_type.rpartition(".")[2], (Exception,), {})
            made.__module__ = error_type.rpartition(".")[0] or "builtins"
            client.fail(job, made("no good"), dead=True)


def test_an_error_type_that_is_not_written_in_full_is_told_as_it_is_written(url: str) -> None:
    bury(url, "short", FULL, FULL, "ValueError")

    done = tenure(url, "dlq", "ls", "short", "--error", "ArgumentError")

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        "no dead jobs match: none has the error type ArgumentError; there are"
        f" {FULL} (2), ValueError (1). Did you mean {FULL}?\n"
    )
    assert tenure(url, "dlq", "ls", "short", "--error", FULL).stdout.count(FULL) == 2


@pytest.mark.parametrize("verb", ["replay", "purge"])
def test_so_does_what_acts_on_them(verb: str, url: str) -> None:
    queue = f"act-{verb}"
    bury(url, queue, FULL)

    done = tenure(url, "dlq", verb, queue, "--error", "ArgumentError", "--dry-run")

    assert "0 of 1 dead job" in done.stdout
    assert f"Did you mean {FULL}?" in done.stderr


def test_other_filters_without_a_match_say_no_more_than_that(url: str) -> None:
    bury(url, "other", "ValueError")

    for words in (["--task", "nobody"], ["--error", "Value*", "--older", "1d"]):
        assert tenure(url, "dlq", "ls", "other", *words).stderr == "no dead jobs match\n"


def test_a_listing_that_shows_all_there_is_does_not_promise_more(url: str) -> None:
    bury(url, "whole", "ValueError", "ValueError", "KeyError")

    assert tenure(url, "dlq", "ls", "whole", "-n", "3").stderr == ""
    assert tenure(url, "dlq", "ls", "whole", "-n", "2", "--error", "ValueError").stderr == ""
    assert "more: --cursor" in tenure(url, "dlq", "ls", "whole", "-n", "2").stderr
