"""What cannot be undone is asked about first, and never done when nobody can answer."""

from __future__ import annotations

import json

import pytest

from tests.cli.fakes import FakeClient, job_id, make_chore, make_dead_job, make_queue, run

DANGEROUS = [
    (["queue", "purge", "mail"], "purge_queue"),
    (["queue", "rm", "mail", "--force"], "delete_queue"),
    (["dlq", "purge", "mail", "--all"], "purge_dead"),
    (["dlq", "purge", "mail", "--error", "TimeoutError"], "purge_dead"),
    (["dlq", "purge", "mail", job_id(1)], "purge_dead"),
    (["dlq", "replay", "mail", "--all"], "replay"),
    (["dlq", "replay", "mail", "--older", "1d"], "replay"),
]


def broker() -> FakeClient:
    return FakeClient(
        queue_infos=[make_queue("mail", ready=1_284, dead=3)],
        jobs=[make_dead_job(1), make_dead_job(2), make_dead_job(3, error_type="ValueError")],
        chore_looks=[make_chore()],
    )


@pytest.mark.parametrize(("words", "operation"), DANGEROUS)
def test_without_a_terminal_it_is_refused(words: list[str], operation: str) -> None:
    client = broker()

    result = run(*words, client=client, interactive=False, stdin="y\n")

    assert result.exit_code == 2
    assert "pass -y to go ahead" in result.stderr
    assert client.asked_for(operation) == []


@pytest.mark.parametrize(("words", "operation"), DANGEROUS)
def test_a_no_does_nothing(words: list[str], operation: str) -> None:
    client = broker()

    result = run(*words, client=client, interactive=True, stdin="n\n")

    assert result.exit_code == 1
    assert "nothing was done" in result.stderr
    assert client.asked_for(operation) == []


@pytest.mark.parametrize("answer", ["\n", ""])
def test_no_answer_is_no_yes(answer: str) -> None:
    client = broker()

    result = run("queue", "purge", "mail", client=client, interactive=True, stdin=answer)

    assert result.exit_code != 0
    assert client.asked_for("purge_queue") == []


@pytest.mark.parametrize(("words", "operation"), DANGEROUS)
@pytest.mark.parametrize("how", ["answered", "flag"])
def test_a_yes_does_it(words: list[str], operation: str, how: str) -> None:
    client = broker()

    if how == "flag":
        result = run(*words, "-y", client=client)
    else:
        result = run(*words, client=client, interactive=True, stdin="y\n")

    assert result.exit_code == 0, result.stderr
    assert len(client.asked_for(operation)) == 1


def test_the_question_says_what_would_happen() -> None:
    purge = run("queue", "purge", "mail", client=broker(), interactive=True, stdin="n\n")
    replay = run(
        *["dlq", "replay", "mail", "--error", "TimeoutError", "--rate", "2/s"],
        client=broker(),
        interactive=True,
        stdin="n\n",
    )

    assert 'Drop 1,284 waiting jobs of "mail" for good?' in purge.stderr
    assert 'Replay 2 of 3 dead jobs of "mail"; about 1s at 2/s. Go ahead?' in replay.stderr
    assert "mail" not in purge.stdout + replay.stdout


def test_deleting_an_empty_queue_asks_nothing() -> None:
    client = FakeClient(queue_infos=[make_queue("mail")])

    assert run("queue", "rm", "mail", client=client).exit_code == 0
    assert run("queue", "rm", "mail", "--force", client=client).exit_code == 0
    assert client.asked_for("delete_queue") == [("mail", False), ("mail", True)]


def test_replaying_single_jobs_asks_nothing() -> None:
    client = broker()

    result = run("dlq", "replay", "mail", job_id(1), job_id(2), client=client)

    assert result.stdout == "replayed 2 jobs\n"


@pytest.mark.parametrize("verb", ["replay", "purge"])
def test_it_must_be_said_which_dead_jobs_are_meant(verb: str) -> None:
    for words in ([], ["--all", "--error", "X"], ["--all", job_id(1)], ["--task", "t", job_id(1)]):
        result = run("dlq", verb, "mail", *words, client=broker())

        assert result.exit_code == 2
        assert "ids, or filters, or --all" in result.stderr


def test_a_dry_run_counts_and_changes_nothing() -> None:
    client = broker()
    client.page_jobs_max = 1

    replay = run(
        *["dlq", "replay", "mail", "--error", "TimeoutError", "--rate", "50/s", "--dry-run"],
        client=client,
    )
    limited = run(*["dlq", "replay", "mail", "--all", "--limit", "1", "--dry-run"], client=client)
    purge = run(*["dlq", "purge", "mail", "--all", "--dry-run", "-o", "json"], client=client)
    by_id = run("dlq", "replay", "mail", job_id(1), "--dry-run", client=client)

    assert replay.stdout == 'would replay 2 of 3 dead jobs of "mail"; about 40ms at 50/s\n'
    assert limited.stdout == 'would replay 1 of 3 dead jobs of "mail"\n'
    assert json.loads(purge.stdout) == {
        "queue": "mail",
        "operation": "purge",
        "dry_run": True,
        "jobs": 3,
        "dead": 3,
    }
    assert by_id.stdout == 'would replay 1 of 1 job named, in "mail"\n'
    assert client.asked_for("replay") == client.asked_for("purge_dead") == []


def test_filters_limit_and_rate_reach_the_broker() -> None:
    client = broker()

    run(
        *[
            "dlq",
            "replay",
            "mail",
            "--error",
            "Time*",
            "--task",
            "mail.*",
            "--older",
            "1d",
            "--newer",
            "6h",
        ],
        *["--limit", "10", "--rate", "300/m", "-y"],
        client=client,
    )

    (asked,) = client.asked_for("replay")
    assert asked == (
        "mail",
        None,
        {
            "limit": 10,
            "rate": 5.0,
            "error_type": "Time*",
            "task": "mail.*",
            "older_than": 86_400.0,
            "newer_than": 21_600.0,
        },
    )


def test_a_mass_replay_is_followed_to_its_end() -> None:
    client = broker()
    client.chore_looks = [make_chore(state="running", done=1), make_chore(done=3)]

    result = run("dlq", "replay", "mail", "--all", "-y", client=client)

    assert result.stdout == "replayed 3 jobs\n"
    assert client.asked_for("chore") == [(7,), (7,)]


def test_a_mass_replay_that_had_to_skip_jobs_is_a_partial_success() -> None:
    client = broker()
    client.chore_looks = [make_chore(done=2, skipped=1)]

    result = run("dlq", "replay", "mail", "--all", "-y", client=client)

    assert result.exit_code == 3
    assert "replayed 2 jobs, 1 skipped" in result.stdout


def test_a_detached_replay_says_how_to_follow_it() -> None:
    client = broker()
    client.chore_looks = [make_chore(state="running")]

    result = run("dlq", "replay", "mail", "--all", "-y", "--detach", client=client)

    assert "tenure chore get 7 --follow" in result.stdout
    assert len(client.asked_for("chore")) == 1


@pytest.mark.parametrize("words", [["dlq", "replay", "mail"], ["dlq", "purge", "mail", "-y"]])
def test_one_unknown_id_of_several_is_a_partial_success(words: list[str]) -> None:
    result = run(*words, job_id(1), job_id(99), client=broker())

    assert result.exit_code == 3
    assert f"error: {job_id(99)}: there is no job" in result.stderr


def test_only_unknown_ids_are_not_found() -> None:
    client = broker()

    replayed = run("dlq", "replay", "mail", job_id(98), job_id(99), client=client)
    cancelled = run("job", "cancel", job_id(99), client=client)

    assert replayed.exit_code == cancelled.exit_code == 4
    assert replayed.stderr.count("error: ") == 2


def test_cancelling_tells_of_each_job() -> None:
    result = run("job", "cancel", job_id(1), job_id(99), client=broker())

    assert result.stdout == f"{job_id(1)}  cancelled\n"
    assert result.exit_code == 3
