"""`tenure workers`, and what `tenure job get` shows of a job that runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure.client import Client
from tenure.core import fleet
from tenure.info import AttemptRecord, Progress
from tenure_protocol.errors import WorkerSilent
from tests.cli.fakes import NOW_MS, FakeClient, job_id, make_job, make_worker, run
from tests.cli.processes import tenure
from tests.support.broker_process import BrokerProcess


def two_workers() -> FakeClient:
    return FakeClient(
        worker_infos=[make_worker(1), make_worker(2, name="bulk", state="lost", jobs=[], busy=0)]
    )


def test_workers_are_listed() -> None:
    result = run("workers", "ls", client=two_workers())
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0].split()[:4] == ["WORKER", "NAME", "STATE", "BUSY"]
    assert lines[1].split()[:4] == ["000001", "mailer", "consuming", "1/32"]
    assert "mail,bulk" in lines[1]
    assert "50.0 MiB" in lines[1]
    assert lines[2].split()[:4] == ["000002", "bulk", "lost", "0/32"]


def test_no_workers_is_a_note_and_no_table() -> None:
    result = run("workers", "ls")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no workers\n")


def test_workers_as_json_have_all_they_told() -> None:
    client = FakeClient(worker_infos=[make_worker(1, colour="blue")])
    [told] = json.loads(run("workers", "ls", "-o", "json", client=client).stdout)["workers"]
    assert (told["worker"], told["name"], told["colour"]) == ("000001", "mailer", "blue")
    assert told["jobs"] == [
        {
            "id": job_id(7), "attempt": 2, "task": "send_email", "queue": "mail",
            "started_at_ms": NOW_MS - 5_000, "pool": "main",
        }
    ]  # fmt: skip


def test_workers_as_ndjson_are_a_line_each() -> None:
    lines = run("workers", "ls", "-o", "ndjson", client=two_workers()).stdout.splitlines()
    assert [json.loads(line)["worker"] for line in lines] == ["000001", "000002"]


def test_a_worker_is_shown_with_its_pools_processes_and_jobs() -> None:
    result = run("workers", "get", "mailer", client=two_workers())
    assert result.exit_code == 0
    for text in (
        "000001  mailer  consuming", "shop:app", "812 on web-3, version 0.2.0", "1 of 32 slots",
        "1,234 done, 2 failed", "Pools", "kind async", "Processes", "pid 813", job_id(7), "send_email",
    ):  # fmt: skip
        assert text in result.stdout


def test_a_worker_that_nobody_knows_is_not_found() -> None:
    for words in (("get",), ("quiet",), ("resume",), ("stop",), ("stacks",)):
        result = run("workers", *words, "nobody", client=two_workers())
        assert result.exit_code == 4, words
        assert "there is no worker 'nobody'" in result.stderr


@pytest.mark.parametrize("do", ["quiet", "resume", "stop"])
def test_workers_are_told(do: str) -> None:
    client = two_workers()
    result = run("workers", do, "mailer", "000002", client=client)
    assert result.exit_code == 0
    assert result.stdout == f"mailer: told to {do}\n000002: told to {do}\n"
    assert client.asked_for("tell_worker") == [("mailer", do), ("000002", do)]


def test_telling_some_and_missing_others_is_done_in_part() -> None:
    result = run("workers", "stop", "mailer", "nobody", "-o", "json", client=two_workers())
    assert result.exit_code == 3
    assert json.loads(result.stdout)["workers"] == [
        {"worker": "mailer", "told": 1},
        {"worker": "nobody", "told": 0, "code": "WORKER_NOT_FOUND"},
    ]


def test_stacks_are_shown_and_cannot_drive_the_terminal() -> None:
    client = two_workers()
    result = run("workers", "stacks", "mailer", "--max-wait", "3s", client=client)
    assert result.exit_code == 0
    assert result.stdout.startswith("Thread 1:\n  line 5 ")
    assert "\x1b" not in result.stdout
    assert client.asked_for("worker_stacks") == [("mailer", 3.0)]


def test_a_silent_worker_is_worth_another_try() -> None:
    client = FakeClient(error=WorkerSilent("worker 000001 tells no stacks"))
    assert run("workers", "stacks", "000001", client=client).exit_code == 75


def test_odd_waits_are_wrong_usage() -> None:
    assert run("workers", "stacks", "mailer", "--max-wait", "soon").exit_code == 2


# ---- tenure job get ------------------------------------------------------------------------


def test_a_job_shows_its_progress_log_and_checkpoint() -> None:
    job = make_job(
        1,
        state="leased",
        worker="w1",
        progress=Progress(3, 12, "page 3", NOW_MS),
        log=("began", "line\x1b[2J"),
        checkpoint=b"c" * 2_048,
    )
    result = run("job", "get", job.id, client=FakeClient(jobs=[job]))
    assert "3 of 12 (25%): page 3" in result.stdout
    assert "2.0 KiB" in result.stdout
    assert "Log (its last lines)\n  began\n  line" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("progress", "shown"),
    [
        (Progress(1_500, None, None, NOW_MS), "1,500 ("),
        (Progress(0.5, 1.0, None, NOW_MS), "0.5 of 1.0 (50%)"),
        (Progress(0, 0, "nothing to do", NOW_MS), "0 of 0: nothing to do"),
    ],
)
def test_progress_is_told_in_words(progress: Progress, shown: str) -> None:
    job = make_job(1, progress=progress)
    assert shown in run("job", "get", job.id, client=FakeClient(jobs=[job])).stdout


def test_a_job_as_json_has_its_notes() -> None:
    job = make_job(1, progress=Progress(1, 2, None, NOW_MS), log=("a",), checkpoint=b"\0")
    told = json.loads(run("job", "get", job.id, "-o", "json", client=FakeClient(jobs=[job])).stdout)
    assert told["progress"] == {"n": 1, "total": 2, "message": None, "at_ms": NOW_MS}
    assert (told["log"], told["checkpoint"]) == (["a"], {"base64": "AA=="})


def test_the_reason_of_a_release_is_shown_in_the_history() -> None:
    past = AttemptRecord(1, NOW_MS, NOW_MS, "w1", "released", "", "snoozed: rate limit", "")
    job = make_job(1, history=(past,))
    assert "snoozed: rate limit" in run("job", "get", job.id, client=FakeClient(jobs=[job])).stdout


# ---- the real thing --------------------------------------------------------------------------


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path) as running:
        yield running


def test_the_command_sees_and_tells_a_real_worker(broker: BrokerProcess) -> None:
    with Client(broker.url) as worker:
        worker._link.call(fleet.register({"name": "mailer", "queues": ["mail"]}))
        listed = tenure(broker.url, "workers", "ls", "-o", "json")
        assert [each["name"] for each in json.loads(listed.stdout)["workers"]] == ["mailer"]
        assert tenure(broker.url, "workers", "quiet", "mailer").returncode == 0
        silent = tenure(broker.url, "workers", "stacks", "mailer", "--max-wait", "10ms")
        assert silent.returncode == 75
        assert "WORKER_SILENT" in silent.stderr
        worker.goodbye()
    assert tenure(broker.url, "workers", "get", "mailer").returncode == 4
