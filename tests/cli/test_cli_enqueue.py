"""`tenure enqueue`: payloads from words, and files of which every line is accounted for."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tenure import Retry
from tenure.cli import enqueuefile
from tenure.errors import CannotConnect, PayloadTooLarge, QueueFull, RequestTimeout
from tests.cli.fakes import FakeClient, job_id, make_dead_job, make_job, run


def enqueued_payload(*words: str) -> Any:
    client = FakeClient()
    result = run("enqueue", "mail", "send_email", *words, client=client)
    assert result.exit_code == 0, result.stderr
    ((_, _, payload, _),) = client.asked_for("enqueue")
    return payload


def lines_file(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "jobs.ndjson"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def good(count: int) -> list[str]:
    return [json.dumps({"task": "t", "payload": number}) for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("words", "payload"),
    [
        ([], None),
        (['{"to": "ada"}'], {"to": "ada"}),
        (["[1, 2]"], [1, 2]),
        (["7"], 7),
        (["null"], None),
        (["to=ada@example.org"], {"to": "ada@example.org"}),
        (
            ["n=3", 'text="3"', "ok=true", "list=[1]"],
            {"n": 3, "text": "3", "ok": True, "list": [1]},
        ),
        (["query=a=b"], {"query": "a=b"}),
        (["empty="], {"empty": ""}),
    ],
)
def test_the_payload_is_json_or_pairs(words: list[str], payload: object) -> None:
    assert enqueued_payload(*words) == payload


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["word"], "neither JSON nor name=value"),
        (['{"a=b'], "neither JSON nor name=value"),
        (["a=1", "word"], "'word' is not name=value"),
        (["a=1", "a=2"], '"a" is given twice'),
        (["=1", "b=2"], "'=1' is not name=value"),
        (["a:=1"], "'a:=1' has a colon too many: write 'a=1'"),
        (["a=1", "list:=[1]"], "write 'list=[1]'"),
    ],
)
def test_a_payload_that_is_neither_is_refused(words: list[str], said: str) -> None:
    client = FakeClient()

    result = run("enqueue", "mail", "send_email", *words, client=client)

    assert result.exit_code == 2
    assert said in result.stderr
    assert client.calls == []


def test_the_id_is_all_that_is_printed() -> None:
    assert run("enqueue", "mail", "t").output == job_id(1) + "\n"
    record = json.loads(run("enqueue", "mail", "t", "-o", "json").stdout)
    assert record == {"id": job_id(1), "queue": "mail", "existing": False}


def test_an_id_that_was_there_already_is_told() -> None:
    result = run("enqueue", "mail", "t", "--unique", "taken")

    assert result.stdout == job_id(1) + "\n"
    assert "has that unique name already" in result.stderr


def test_every_option_reaches_the_client() -> None:
    client = FakeClient()

    run(
        *[
            "enqueue",
            "mail",
            "t",
            "--delay",
            "5m",
            "--priority",
            "high",
            "--unique",
            "u",
            "--max-attempts",
            "3",
        ],
        *[
            "--retry",
            "fixed:5s",
            "--lease",
            "1m",
            "--expires",
            "1d",
            "--retention",
            "1h",
            "--header",
            "a=b",
        ],
        client=client,
    )

    ((_, _, _, options),) = client.asked_for("enqueue")
    assert options == {
        "delay": timedelta(minutes=5),
        "priority": 64,
        "unique": "u",
        "max_attempts": 3,
        "retry": Retry.fixed("5s"),
        "lease": timedelta(minutes=1),
        "expires": timedelta(days=1),
        "retention": timedelta(hours=1),
        "headers": {"a": "b"},
    }


def test_run_at_reaches_the_client() -> None:
    client = FakeClient()

    run("enqueue", "mail", "t", "--run-at", "2026-11-22T03:00:00Z", client=client)

    assert client.asked_for("enqueue")[0][3] == {"run_at": 1_795_316_400.0}


@pytest.mark.parametrize(
    "words",
    [
        ["--delay", "soon"],
        ["--run-at", "soon"],
        ["--delay", "1s", "--run-at", "2026-11-22"],
        ["--priority", "urgent"],
        ["--max-attempts", "0"],
        ["--lease", "1ms"],
        ["--header", "x"],
        ["--max-wait", "5s"],
        ["--keep-going"],
        ["--from-line", "3"],
    ],
)
def test_a_wrong_option_is_wrong_usage(words: list[str]) -> None:
    client = FakeClient()

    result = run("enqueue", "mail", "t", *words, client=client)

    assert result.exit_code == 2
    assert client.calls == []


def test_a_dry_run_of_one_job_asks_nobody() -> None:
    client = FakeClient()

    result = run("enqueue", "mail", "t", "a=1", "--dry-run", client=client)

    assert (result.exit_code, result.stdout, client.calls) == (0, "", [])


def test_waiting_shows_the_end_and_keeps_the_job_long_enough_to_see_it() -> None:
    client = FakeClient(jobs=[make_job(1, state="succeeded", result_bytes=b"\x02[42]")])

    result = run("enqueue", "mail", "t", "--wait", "-o", "json", client=client)

    assert result.exit_code == 0
    assert json.loads(result.stdout)["result"] == [42]
    assert client.asked_for("enqueue")[0][3] == {"retention": timedelta(minutes=10)}


def test_waiting_for_a_job_that_dies_fails_and_says_why() -> None:
    result = run("enqueue", "mail", "t", "--wait", client=FakeClient(jobs=[make_dead_job(1)]))

    assert result.exit_code == 1
    assert "ended dead: TimeoutError: Connection unexpectedly closed" in result.stderr


def test_waiting_in_vain_is_a_time_out() -> None:
    client = FakeClient(jobs=[make_job(1)])

    waited = run("job", "wait", job_id(1), "--max-wait", "0s", client=client)
    enqueued = run("enqueue", "mail", "t", "--wait", "--max-wait", "0s", client=client)

    assert waited.exit_code == enqueued.exit_code == 75
    assert "has not ended in time; it is ready" in waited.stderr


def test_waiting_for_several_jobs_fails_when_one_does() -> None:
    client = FakeClient(jobs=[make_job(1, state="succeeded"), make_dead_job(2)])

    assert run("job", "wait", job_id(1), client=client).exit_code == 0
    assert run("job", "wait", job_id(1), job_id(2), client=client).exit_code == 1


# -- files ---------------------------------------------------------------------------------


def test_every_line_of_a_file_is_enqueued(tmp_path: Path) -> None:
    client = FakeClient()
    path = lines_file(tmp_path, *good(3), "", '{"task": "other"}')

    result = run("enqueue", "mail", "-f", path, "-o", "json", client=client)

    record = json.loads(result.stdout)
    assert (record["jobs"], record["blank_lines"], record["bad_lines"]) == (4, 1, 0)
    assert [job.task for job in client.enqueued] == ["t", "t", "t", "other"]


def test_a_large_file_goes_in_chunks_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enqueuefile, "CHUNK_JOBS", 10)
    client = FakeClient()

    result = run("enqueue", "mail", "-f", lines_file(tmp_path, *good(25)), client=client)

    assert result.stdout.startswith('enqueued 25 jobs in "mail"')
    assert client.asked_for("enqueue_many") == [("mail", 10), ("mail", 10), ("mail", 5)]
    assert [job.payload for job in client.enqueued] == list(range(1, 26))


def test_ndjson_output_names_the_id_of_every_line(tmp_path: Path) -> None:
    path = lines_file(tmp_path, *good(1), "", *good(1))

    result = run("enqueue", "mail", "-f", path, "-o", "ndjson")

    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"line": 1, "id": job_id(1), "existing": False},
        {"line": 3, "id": job_id(2), "existing": False},
    ]


def test_one_bad_line_of_a_file_keeps_everything_from_being_sent(tmp_path: Path) -> None:
    client = FakeClient()
    path = lines_file(tmp_path, *good(2), "oops", '{"task": "a", "prio": 1}', *good(1))

    result = run("enqueue", "mail", "-f", path, client=client)

    assert result.exit_code == 1
    assert f"error: {path}:3: not JSON" in result.stderr
    assert f'error: {path}:4: no field "prio"; did you mean "priority"?' in result.stderr
    assert f"2 bad lines in {path}; nothing was sent" in result.stderr
    assert client.asked_for("enqueue_many") == []


def test_bad_lines_can_be_left_out_and_are_all_named(tmp_path: Path) -> None:
    client = FakeClient()
    path = lines_file(tmp_path, *good(2), "oops", *good(1))

    result = run("enqueue", "mail", "-f", path, "--keep-going", client=client)

    assert result.exit_code == 3
    assert len(client.enqueued) == 3
    assert f"error: {path}:3: not JSON" in result.stderr
    assert "1 bad line left out" in result.stderr


def test_a_file_of_bad_lines_only_is_no_partial_success(tmp_path: Path) -> None:
    result = run("enqueue", "mail", "-f", lines_file(tmp_path, "oops"), "--keep-going")

    assert result.exit_code == 1


def test_standard_input_stops_at_the_first_bad_line_and_says_where_to_go_on() -> None:
    client = FakeClient()
    lines = [*good(2), "oops", *good(1)]

    result = run("enqueue", "mail", "-f", "-", client=client, stdin="\n".join(lines))

    assert result.exit_code == 3
    assert len(client.enqueued) == 2
    assert "error: standard input:3: not JSON" in result.stderr
    assert "2 jobs stored (go on with --from-line 3)" in result.stderr


def test_from_line_goes_on_where_it_was_told() -> None:
    client = FakeClient()

    run("enqueue", "mail", "-f", "-", "--from-line", "3", client=client, stdin="\n".join(good(4)))

    assert [job.payload for job in client.enqueued] == [3, 4]


def test_the_task_and_options_are_for_lines_that_do_not_say() -> None:
    client = FakeClient()
    lines = '{"payload": 1}\n{"task": "own", "priority": 1}'

    run("enqueue", "mail", "given", "--priority", "9", "-f", "-", client=client, stdin=lines)

    assert [(job.task, job.options.get("priority")) for job in client.enqueued] == [
        ("given", 9),
        ("own", 1),
    ]


def test_a_dry_run_of_a_file_checks_it_and_asks_nobody(tmp_path: Path) -> None:
    client = FakeClient()

    fine = run(*["enqueue", "m", "--dry-run", "-f", lines_file(tmp_path, *good(5))], client=client)
    bad = run(*["enqueue", "m", "--dry-run", "-f", lines_file(tmp_path, "oops")], client=client)

    assert fine.stdout == 'would enqueue 5 jobs in "m"\n'
    assert bad.exit_code == 1
    assert client.calls == []


def test_a_queue_that_fills_up_leaves_no_doubt_about_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enqueuefile, "CHUNK_JOBS", 10)
    client = FakeClient(error=QueueFull("the queue is full"), taken=14)

    result = run("enqueue", "mail", "-f", lines_file(tmp_path, *good(25)), client=client)

    assert result.exit_code == 3
    assert result.stderr == (
        "error: the queue is full (QUEUE_FULL); 14 jobs stored, not confirmed: lines 15-20"
        " (go on with --from-line 15)\n"
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [(QueueFull("full"), 75), (CannotConnect("nobody there"), 69), (RequestTimeout("late"), 75)],
)
def test_when_nothing_was_confirmed_the_cause_decides_the_exit_code(
    tmp_path: Path, error: Exception, code: int
) -> None:
    client = FakeClient(error=error, taken=0)

    result = run("enqueue", "mail", "-f", lines_file(tmp_path, *good(3)), client=client)

    assert result.exit_code == code
    assert "no job was confirmed" in result.stderr


def test_a_job_that_the_broker_refuses_is_named_by_its_line(tmp_path: Path) -> None:
    refusal = PayloadTooLarge("the payload has 9 bytes; the limit is 8", details={"index": 1})
    path = lines_file(tmp_path, "", *good(3))

    result = run("enqueue", "mail", "-f", path, client=FakeClient(error=refusal, taken=0))

    assert f"error: {path}:3: the payload has 9 bytes" in result.stderr


@pytest.mark.parametrize("words", [["a=1"], ["--wait"]])
def test_a_file_goes_with_neither_a_payload_nor_wait(words: list[str]) -> None:
    result = run("enqueue", "mail", "t", *words, "-f", "-")

    assert result.exit_code == 2


def test_a_missing_file_is_not_found() -> None:
    result = run("enqueue", "mail", "-f", "no/such/file")

    assert result.exit_code == 4
    assert "error: no/such/file cannot be read: No such file or directory" in result.stderr
