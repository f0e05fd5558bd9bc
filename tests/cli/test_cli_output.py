"""What is printed: tables for people, stable JSON for programs, notes on stderr."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import pytest

from tenure_protocol.body import JSON, RAW, encode_body
from tests.cli.fakes import (
    FakeClient,
    job_id,
    make_chore,
    make_dead_job,
    make_group,
    make_job,
    make_queue,
    run,
)

QUEUE_FIELDS = [
    "name",
    "settings",
    "created_at_ms",
    "counts",
    "jobs",
    "bytes",
    "oldest_ready_age_ms",
    "waiting_reserves",
    "rates",
    "backlog_seconds",
    "totals",
]

JOB_FIELDS = [
    "id",
    "queue",
    "state",
    "task",
    "headers",
    "payload",
    "priority",
    "attempt",
    "max_attempts",
    "failures",
    "timeouts",
    "lost",
    "released",
    "enqueued_at_ms",
    "ready_at_ms",
    "expires_at_ms",
    "ended_at_ms",
    "lease_ms",
    "leased_until_ms",
    "worker",
    "origin",
    "unique",
    "cancel_asked",
    "reason",
    "durability",
    "result",
    "progress",
    "log",
    "checkpoint",
    "history",
]


def two_queues() -> FakeClient:
    return FakeClient(
        queue_infos=[
            make_queue("bulk", settings={"paused": True}, ready=88_102),
            make_queue("mail", ready=1_284, scheduled=40, leased=32, dead=7),
        ]
    )


def job_json(*words: str, client: FakeClient) -> dict[str, Any]:
    result = run(*words, "-o", "json", client=client)
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_queues_are_listed_one_per_line() -> None:
    lines = run("queue", "ls", client=two_queues()).stdout.splitlines()

    assert lines[0].split() == (
        [
            "QUEUE",
            "STATE",
            "READY",
            "DELAYED",
            "RETRYING",
            "LEASED",
            "DEAD",
            "OLDEST",
            "IN/S",
            "OUT/S",
            "DRAIN",
            "WAITING",
        ]
    )
    assert lines[1].split() == [
        "bulk",
        "paused",
        "88,102",
        *["0", "0", "0", "0", "2m10s", "210", "195", "–", "0"],
    ]
    assert lines[2].split() == [
        "mail",
        "running",
        "1,284",
        *["40", "0", "32", "7", "2m10s", "210", "195"],
        "grows",
        "0",
    ]
    assert all(line == line.rstrip() for line in lines)


def test_the_queue_list_as_json_has_the_documented_fields() -> None:
    record = json.loads(run("queue", "ls", "-o", "json", client=two_queues()).stdout)

    assert list(record) == ["queues"]
    assert list(record["queues"][0]) == QUEUE_FIELDS
    assert record["queues"][1]["oldest_ready_age_ms"] == 130_000


def test_ndjson_has_one_line_for_each_item() -> None:
    lines = run("queue", "ls", "-o", "ndjson", client=two_queues()).stdout.splitlines()

    assert [json.loads(line)["name"] for line in lines] == ["bulk", "mail"]


def test_a_job_as_json_has_the_documented_fields() -> None:
    client = FakeClient(jobs=[make_dead_job(1, payload={"to": "ada"})])

    record = job_json("job", "get", job_id(1), client=client)

    assert list(record) == JOB_FIELDS
    assert record["payload"] == {"to": "ada"}
    assert record["history"][0]["error_type"] == "TimeoutError"


@pytest.mark.parametrize("where", ["before", "between", "after", "environment"])
def test_the_output_format_may_stand_anywhere(where: str) -> None:
    words = {
        "before": ["-o", "json", "queue", "ls"],
        "between": ["queue", "-o", "json", "ls"],
        "after": ["queue", "ls", "-o", "json"],
        "environment": ["queue", "ls"],
    }[where]
    env = {"TENURE_OUTPUT": "json"} if where == "environment" else {}

    result = run(*words, client=two_queues(), env=dict(env))

    assert len(json.loads(result.stdout)["queues"]) == 2


def test_the_output_format_further_right_wins() -> None:
    result = run("-o", "ndjson", "queue", "ls", "-o", "json", client=two_queues())

    assert "queues" in json.loads(result.stdout)


def test_bytes_become_base64_and_raw_payloads_are_shown_so() -> None:
    body = encode_body("t", b"\x00\xff", None, RAW)

    record = job_json("job", "get", job_id(1), client=FakeClient(jobs=[make_job(1, body=body)]))

    assert record["payload"] == {"base64": "AP8="}


@pytest.mark.parametrize(
    "body", [encode_body("t", b"{broken", None, JSON), encode_body("t", b"x", None, 9)]
)
def test_a_payload_that_cannot_be_read_is_told_and_the_rest_shown(body: bytes) -> None:
    client = FakeClient(jobs=[make_job(1, body=body)])

    record = job_json("job", "get", job_id(1), client=client)
    shown = run("job", "get", job_id(1), client=client)

    assert record["task"] == "t"
    assert record["payload"] is None
    assert job_id(1) in record["payload_error"]
    assert shown.exit_code == 0
    assert "Payload   (" in shown.stdout


def test_a_body_that_cannot_be_read_is_told_and_the_rest_shown() -> None:
    client = FakeClient(queue_infos=[make_queue("mail")], jobs=[make_job(1, body=b"\xc1")])

    assert "payload_error" in job_json("job", "get", job_id(1), client=client)
    assert "(unreadable)" in run("job", "ls", "mail", client=client).stdout


def test_a_deeply_nested_payload_is_told_and_the_rest_shown() -> None:
    client = FakeClient(jobs=[make_job(1, body=encode_body("t", b"\x91" * 900 + b"\x01", None, 1))])

    assert "payload_error" in job_json("job", "get", job_id(1), client=client)


def test_text_of_strangers_is_shown_as_text_and_drives_nothing() -> None:
    job = make_dead_job(1, error_type="[bold]Boom[/bold]\x1b[31m", payload="a\x1b]0;b")
    client = FakeClient(queue_infos=[make_queue("mail", dead=1)], jobs=[job])

    for words in (
        ["dlq", "get", job.id],
        ["dlq", "ls", "mail"],
        ["dlq", "ls", "mail", "-o", "json"],
    ):
        result = run(*words, client=client)

        assert result.exit_code == 0
        assert "\x1b" not in result.output
        assert "[bold]Boom[/bold]" in result.stdout


def test_a_dead_job_is_shown_with_its_last_traceback_and_what_to_do_next() -> None:
    result = run("dlq", "get", job_id(1), client=FakeClient(jobs=[make_dead_job(1)]))

    assert "dead (attempts; used up 5 attempts)" in result.stdout
    assert "TimeoutError: Connection unexpectedly closed" in result.stdout
    assert 'File "mail.py", line 3' in result.stdout
    assert "by web-3/812" in result.stdout
    assert f"next: tenure dlq replay mail {job_id(1)}" in result.stderr


def test_a_job_that_is_not_dead_is_not_found_in_the_dlq() -> None:
    result = run("dlq", "get", job_id(1), client=FakeClient(jobs=[make_job(1)]))

    assert result.exit_code == 4
    assert "is not dead: it is ready" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["queue", "ls"],
        ["queue", "get", "fast"],
        ["queue", "create", "fast", "durability=memory"],
        ["status"],
        ["top", "-n", "1"],
        ["job", "get", job_id(1)],
    ],
)
def test_memory_durability_says_so_wherever_it_is_shown(words: list[str]) -> None:
    queue = make_queue("fast", settings={"durability": "memory"}, ready=1)
    job = make_job(1, queue="fast", durability="memory")

    result = run(*words, client=FakeClient(queue_infos=[queue], jobs=[job]))

    assert "memory: lost at restart" in result.stdout


def test_quiet_leaves_out_sentences_and_notes_but_not_results() -> None:
    client = two_queues()

    assert run("-q", "queue", "pause", "mail", client=client).output == ""
    assert run("-q", "queue", "ls", "nothing", client=client).output == ""
    assert run("-q", "queue", "ls", client=client).stdout.startswith("QUEUE")
    assert run("-q", "enqueue", "mail", "t", client=client).output == job_id(1) + "\n"


def test_what_was_done_is_a_sentence_for_people_and_a_record_for_programs() -> None:
    client = two_queues()

    assert run("queue", "pause", "mail", client=client).stdout == 'queue "mail" is paused\n'
    record = json.loads(run("queue", "purge", "mail", "-y", "-o", "json", client=client).stdout)
    assert record == {"queue": "mail", "purged": 3}


def test_a_listing_that_is_cut_says_how_to_go_on() -> None:
    jobs = [make_job(number) for number in range(5)]
    client = FakeClient(queue_infos=[make_queue("mail")], jobs=jobs, page_jobs_max=2)

    first = run("job", "ls", "mail", "-n", "3", "-o", "ndjson", client=client)
    cursor = first.stderr.split()[-1]
    second = run("job", "ls", "mail", "--cursor", cursor, "-o", "ndjson", client=client)

    assert first.stderr.startswith("more: --cursor ")
    ids = [json.loads(line)["id"] for line in (first.stdout + second.stdout).splitlines()]
    assert ids == [job.id for job in jobs]
    assert second.stderr == ""


def test_a_cursor_that_no_listing_printed_is_refused() -> None:
    result = run("job", "ls", "mail", "--cursor", "zz")

    assert result.exit_code == 2
    assert "is not a cursor" in result.stderr


def test_groups_are_sorted_by_size() -> None:
    client = FakeClient()
    client.groups = client.groups._replace(
        groups=[make_group(2, "ValueError"), make_group(1_272, "TimeoutError")], complete=False
    )

    result = run("dlq", "groups", "mail", client=client)

    lines = result.stdout.splitlines()
    assert lines[1].split()[:4] == ["1,272", "send_email", "TimeoutError", "attempts"]
    assert lines[2].split()[0] == "2"
    assert "lower bounds" in result.stderr


def test_chores_are_listed_and_followed() -> None:
    looks = [make_chore(state="running", done=1), make_chore(done=12)]
    client = FakeClient(chore_looks=looks)

    listed = run("chore", "ls", client=client)
    followed = run("chore", "get", "7", "--follow", "-o", "json", client=client)

    assert listed.stdout.splitlines()[1].split()[:5] == ["7", "replay", "mail", "running", "1"]
    assert json.loads(followed.stdout)["state"] == "finished"


def test_status_shows_the_broker_and_what_somebody_should_look_at() -> None:
    client = two_queues()
    client.stats_fields = {"damaged": 2, "store": {"used_bytes": 19 << 30, "max_bytes": 20 << 30}}

    result = run("status", client=client)

    assert "tenure 0.1.0 at tenure://localhost:7733, up 3h12m, serving" in result.stdout
    assert "19.0 GiB of 20.0 GiB (95%)" in result.stdout
    assert "! the store is 95% full" in result.stdout
    assert "! 2 damaged records set aside" in result.stdout
    assert '! queue "bulk" is paused with 88,102 ready jobs' in result.stdout
    assert '! queue "mail" has 7 dead jobs: tenure dlq groups mail' in result.stdout


def test_status_as_json_has_the_warnings_too() -> None:
    client = two_queues()
    client.stats_fields = {"draining": True}

    record = json.loads(run("status", "-o", "json", client=client).stdout)

    assert list(record) == ["url", "stats", "queues", "warnings"]
    assert "the broker is draining: tenure drain --off ends it" in record["warnings"]


def test_a_healthy_broker_has_no_warnings() -> None:
    result = run("status", client=FakeClient(queue_infos=[make_queue("mail", ready=0)]))

    assert "!" not in result.stdout


def test_top_ends_after_the_given_number_of_looks() -> None:
    client = two_queues()

    result = run("top", "-n", "2", "--interval", "100ms", "-o", "ndjson", client=client)

    looks = [json.loads(line) for line in result.stdout.splitlines()]
    assert [sorted(look) for look in looks] == [["queues", "stats"]] * 2


def test_top_refuses_an_interval_that_would_only_burden_the_broker() -> None:
    result = run("top", "--interval", "1ms")

    assert result.exit_code == 2
    assert "--interval must be at least 100ms" in result.stderr


def test_ping_tells_each_round_trip_and_the_median() -> None:
    result = run("ping", "-n", "3", client=FakeClient())

    lines = result.stdout.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("answer from tenure://localhost:7733: ")
    assert "median" in lines[3]

    record = json.loads(run("ping", "-n", "3", "-o", "json", client=FakeClient()).stdout)
    assert len(record["times_ms"]) == record["count"] == 3


def test_version_asks_the_broker_only_when_told_to() -> None:
    client = FakeClient()

    assert run("version", client=client).stdout.startswith(
        f"tenure {version('tenure')} (protocol 1, Python 3."
    )
    assert client.calls == []
    assert "server tenure 0.1.0" in run("version", "--server", client=client).stdout


def test_drain_and_its_end_are_told() -> None:
    client = FakeClient()

    assert run("drain", client=client).stdout == "the broker is draining\n"
    assert run("drain", "--off", client=client).stdout == "the broker takes new work again\n"
    assert client.asked_for("drain") == [(False,), (True,)]


def test_a_backup_is_told_with_its_place_and_size() -> None:
    result = run("backup", "create", "b1", client=FakeClient())

    assert "/var/lib/tenure/backups/b1 on the broker's disk: 3.0 MiB in 1.5s" in result.stdout
