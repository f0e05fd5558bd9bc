"""The command as a process, against a real broker process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tenure import Client
from tests.cli.processes import TENURE, TIMEOUT_S, read_json, surroundings, tenure, wait_until
from tests.support.broker_process import BrokerProcess


def bury(url: str, queue: str, count: int) -> list[str]:
    """Let `count` jobs die: of TimeoutError and ValueError in turn."""
    with Client(url) as client:
        ids = [str(client.enqueue(queue, "work", {"n": number})) for number in range(count)]
        for number, job in enumerate(client.reserve(queue, max_jobs=count, wait="10s")):
            error: Exception = ValueError("bad") if number % 2 else TimeoutError("too long")
            client.fail(job, error, dead=True)
    return ids


# -- the life of a job ----------------------------------------------------------------------


def test_a_job_is_enqueued_seen_worked_and_found_with_its_result(url: str) -> None:
    job_id = tenure(
        url, *["enqueue", "life", "send", "n=1", "--retention", "1h", "--priority", "high"]
    ).stdout
    job_id = job_id.strip()

    assert read_json(url, "queue", "get", "life")["counts"]["ready"] == 1
    (peeked,) = read_json(url, "queue", "peek", "life")["jobs"]
    assert (peeked["id"], peeked["payload"], peeked["priority"]) == (job_id, {"n": 1}, 64)

    with Client(url) as client:
        (job,) = client.reserve("life")
        assert read_json(url, "job", "get", job_id)["state"] == "leased"
        client.ack(job, {"sent": True})

    found = read_json(url, "job", "get", job_id)
    assert (found["state"], found["result"]) == ("succeeded", {"sent": True})


def test_an_enqueue_can_wait_for_the_result(url: str) -> None:
    def work() -> None:
        with Client(url) as client:
            (job,) = client.reserve("answers", wait="30s")
            client.ack(job, job.payload["n"] * 2)

    worker = threading.Thread(target=work)
    worker.start()
    done = tenure(
        url, *["enqueue", "answers", "double", "n=21", "--wait", "--max-wait", "30s", "-o", "json"]
    )
    worker.join(TIMEOUT_S)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"] == 42


def test_waiting_for_a_job_that_nobody_works_on_ends_in_time(url: str) -> None:
    job_id = tenure(url, "enqueue", "idle", "t").stdout.strip()

    done = tenure(url, "job", "wait", job_id, "--max-wait", "100ms")

    assert done.returncode == 75
    assert "has not ended in time; it is ready" in done.stderr


def test_a_cancelled_job_is_found_cancelled(url: str) -> None:
    job_id = tenure(url, "enqueue", "calls", "t", "--delay", "1d").stdout.strip()

    assert tenure(url, "job", "cancel", job_id).stdout == f"{job_id}  cancelled\n"
    assert read_json(url, "job", "ls", "calls", "-s", "cancelled")["jobs"][0]["id"] == job_id
    again = tenure(url, "job", "cancel", "0" * 25 + "1")
    assert again.returncode == 4
    assert "(JOB_NOT_FOUND)" in again.stderr


def test_a_unique_name_gives_the_same_id_twice(url: str) -> None:
    first = tenure(url, "enqueue", "once", "t", "--unique", "nightly")
    second = tenure(url, "enqueue", "once", "t", "--unique", "nightly")

    assert first.stdout == second.stdout
    assert first.stderr == ""
    assert "has that unique name already" in second.stderr


# -- files ----------------------------------------------------------------------------------


def test_every_line_of_a_large_file_is_stored_once(url: str, tmp_path: Path) -> None:
    path = tmp_path / "jobs.ndjson"
    path.write_text("".join(json.dumps({"task": "t", "payload": n}) + "\n" for n in range(12_000)))

    done = tenure(url, "enqueue", "bulk", "--file", str(path), "-o", "ndjson")

    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["line"] for row in rows] == list(range(1, 12_001))
    assert len({row["id"] for row in rows}) == 12_000
    assert read_json(url, "queue", "get", "bulk")["counts"]["ready"] == 12_000
    listed = tenure(url, *["job", "ls", "bulk", "-n", "2500", "-o", "ndjson"]).stdout.splitlines()
    assert [json.loads(line)["payload"] for line in listed] == list(range(2_500))


def test_a_payload_over_the_brokers_limit_is_named_by_its_line(url: str, tmp_path: Path) -> None:
    path = tmp_path / "jobs.ndjson"
    noise = os.urandom(1_200_000).hex()
    path.write_text(f'{{"task":"t"}}\n{{"task":"t","payload":"{noise}"}}\n')

    done = tenure(url, "enqueue", "large", "--file", str(path))

    assert done.returncode == 1
    assert f"error: {path}:2: " in done.stderr
    assert "nothing was sent" in done.stderr


def test_an_enqueue_from_standard_input_goes_on_after_the_brokers_death(
    own_broker: BrokerProcess,
) -> None:
    process = subprocess.Popen(
        [*TENURE, "enqueue", "q", "--file", "-", "-o", "json"],
        env=surroundings(own_broker.url),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    line = '{"task": "t"}\n'
    process.stdin.write(line * 7_000)
    process.stdin.flush()

    def some_are_stored() -> bool:
        with Client(own_broker.url) as client:
            return any(info.jobs >= 1_000 for info in client.queues())

    wait_until(some_are_stored)
    own_broker.restart(kill=True)
    out, _ = process.communicate(line * 3_000, timeout=TIMEOUT_S)

    assert process.returncode == 0
    assert json.loads(out)["jobs"] == 10_000
    with Client(own_broker.url) as client:
        assert client.queue("q").jobs == 10_000


# -- queues ---------------------------------------------------------------------------------


def test_a_queue_is_created_set_paused_resumed_and_deleted(url: str) -> None:
    created = tenure(
        url, *["queue", "create", "shop", "lease=1m", "retry=steps:1s,1m", "max_jobs=3"]
    )
    assert created.returncode == 0, created.stderr
    assert tenure(url, "queue", "create", "shop", "lease=2m").returncode == 5

    assert tenure(url, "queue", "set", "shop", "priority=low", "lease=2m").returncode == 0
    settings = read_json(url, "queue", "get", "shop")["settings"]
    assert (settings["lease_ms"], settings["priority"]) == (120_000, 192)
    assert settings["retry"][:2] == ["steps", [1_000, 60_000]]

    assert tenure(url, "queue", "pause", "shop").returncode == 0
    assert "paused" in tenure(url, "queue", "ls", "shop").stdout
    assert tenure(url, "queue", "resume", "shop").returncode == 0
    assert [tenure(url, "enqueue", "shop", "t").returncode for _ in range(4)] == [0, 0, 0, 75]
    assert tenure(url, "queue", "rm", "shop").returncode == 5
    assert tenure(url, "queue", "purge", "shop", "-y").stdout == 'dropped 3 jobs of "shop"\n'
    assert tenure(url, "queue", "rm", "shop").returncode == 0
    assert tenure(url, "queue", "get", "shop").returncode == 4


def test_a_misspelt_queue_gets_a_suggestion(url: str) -> None:
    tenure(url, "queue", "create", "newsletter")

    done = tenure(url, "queue", "get", "newsleter")

    assert done.returncode == 4
    assert done.stderr == (
        'error: queue "newsleter" not found; did you mean "newsletter"? (QUEUE_NOT_FOUND)\n'
    )


def test_a_memory_queue_says_that_it_is_lost_at_restart(url: str) -> None:
    assert (
        "memory: lost at restart"
        in tenure(url, "queue", "create", "fast", "durability=memory").stdout
    )
    tenure(url, "enqueue", "fast", "t")

    for words in (["queue", "ls"], ["queue", "get", "fast"], ["status"], ["top", "-n", "1"]):
        assert "memory: lost at restart" in tenure(url, *words).stdout


# -- dead letters ---------------------------------------------------------------------------


def test_dead_jobs_are_grouped_shown_replayed_and_purged(url: str) -> None:
    ids = bury(url, "mail", 12)

    groups = read_json(url, "dlq", "groups", "mail")["groups"]
    assert {(g["error_type"], g["count"]) for g in groups} == {
        ("TimeoutError", 6),
        ("ValueError", 6),
    }
    assert "TimeoutError: too long" in tenure(url, "dlq", "get", ids[0]).stdout
    listed = read_json(url, "dlq", "ls", "mail", "--error", "Value*", "-n", "4")
    assert [job["history"][0]["error_type"] for job in listed["jobs"]] == ["ValueError"] * 4
    assert listed["cursor"]

    dry = tenure(url, *["dlq", "replay", "mail", "--error", "TimeoutError", "--dry-run"])
    assert dry.stdout == 'would replay 6 of 12 dead jobs of "mail"\n'
    refused = tenure(url, *["dlq", "replay", "mail", "--error", "TimeoutError"])
    assert refused.returncode == 2
    assert "-y" in refused.stderr
    replayed = tenure(
        url, *["dlq", "replay", "mail", "--error", "TimeoutError", "--rate", "100/s", "-y"]
    )
    assert (replayed.returncode, replayed.stdout) == (0, "replayed 6 jobs\n")
    assert tenure(url, "dlq", "replay", "mail", ids[1]).stdout == "replayed 1 job\n"
    assert read_json(url, "queue", "get", "mail")["counts"]["ready"] == 7

    purged = tenure(url, *["dlq", "purge", "mail", "--all", "-y"])
    assert (purged.returncode, purged.stdout) == (0, "deleted 5 jobs\n")
    assert tenure(url, "dlq", "ls", "mail", "-o", "ndjson").stdout == ""
    kinds = [chore["kind"] for chore in read_json(url, "chore", "ls")["chores"]]
    assert "replay" in kinds


def test_a_slow_replay_can_be_left_alone_followed_and_cancelled(url: str) -> None:
    bury(url, "slow", 30)

    left = read_json(url, *["dlq", "replay", "slow", "--all", "--rate", "1/m", "-y", "--detach"])
    number = str(left["chore"])
    assert left["state"] == "running"
    cancelled = read_json(url, "chore", "cancel", number)
    followed = tenure(url, "chore", "get", number, "--follow")

    assert cancelled["state"] == "cancelled"
    assert cancelled["done"] < 30
    assert followed.returncode == 0
    assert "cancelled" in followed.stdout
    assert tenure(url, "chore", "get", "4000000").returncode == 4


# -- the broker -----------------------------------------------------------------------------


def test_a_queue_that_exists_otherwise_is_a_conflict_that_names_the_command(url: str) -> None:
    assert tenure(url, "queue", "create", "made", "max_attempts=3").returncode == 0
    done = tenure(url, "queue", "create", "made", "max_attempts=4")

    assert done.returncode == 5
    assert "tenure queue set made NAME=VALUE changes them" in done.stderr


def test_the_median_of_two_round_trips_is_between_them(url: str) -> None:
    told = read_json(url, "ping", "-n", "2")

    assert told["median_ms"] == pytest.approx(sum(told["times_ms"]) / 2, abs=0.001)


def test_ping_status_top_and_version_answer(url: str) -> None:
    assert len(read_json(url, "ping", "-n", "5")["times_ms"]) == 5
    assert "serving" in tenure(url, "status").stdout
    assert read_json(url, "status")["stats"]["server"].startswith("tenure ")
    looks = tenure(
        url, *["top", "-n", "2", "--interval", "100ms", "-o", "ndjson"]
    ).stdout.splitlines()
    assert len(looks) == 2
    assert read_json(url, "version", "--server")["server"].startswith("tenure ")


def test_without_a_broker_the_command_says_so_and_ends_with_69() -> None:
    for words in (["ping"], ["queue", "ls"], ["version", "--server"]):
        done = tenure("tenure://127.0.0.1:1", *words)

        assert done.returncode == 69
        assert "connection refused" in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_url_that_is_none_is_a_configuration_error() -> None:
    done = tenure("http://127.0.0.1:1", "ping")

    assert done.returncode == 78
    assert "must begin with tenure://" in done.stderr


def test_a_draining_broker_refuses_enqueues_until_it_is_told_otherwise(
    own_broker: BrokerProcess,
) -> None:
    url = own_broker.url

    assert tenure(url, "drain").returncode == 0
    assert tenure(url, "enqueue", "q", "t", "--timeout", "2s").returncode == 75
    assert "draining" in tenure(url, "status").stdout
    assert tenure(url, "drain", "--off").returncode == 0
    assert tenure(url, "enqueue", "q", "t").returncode == 0


# -- data -----------------------------------------------------------------------------------


def test_a_backup_of_a_working_broker_is_restored_and_sound(
    own_broker: BrokerProcess, tmp_path: Path
) -> None:
    url, data = own_broker.url, str(own_broker.data_dir)
    tenure(url, "enqueue", "q", "t", "--unique", "u")
    tenure(url, "enqueue", "q", "t", "--delay", "1d")
    in_use = tenure(url, "store", "verify", data)
    made = read_json(url, "backup", "create", "first")
    restored = str(tmp_path / "restored")

    assert in_use.returncode == 5
    assert f"in use by process {own_broker.pid}" in in_use.stderr
    assert tenure(url, "backup", "restore", made["path"], "--data-dir", restored).returncode == 0
    assert tenure(url, "backup", "restore", made["path"], "--data-dir", restored).returncode == 1
    verified = read_json(url, "store", "verify", restored)
    assert (verified["sound"], verified["rows"]["jobs"]) == (True, 2)
    assert read_json(url, "store", "info", restored)["queues"] == ["q"]
    assert tenure(url, "store", "compact", restored).returncode == 0
    assert tenure(url, "store", "verify", restored).returncode == 0

    own_broker.stop()
    assert tenure(url, "store", "verify", data).returncode == 0
    own_broker.start()


def test_a_damaged_store_is_not_sound(own_broker: BrokerProcess) -> None:
    url, data = own_broker.url, own_broker.data_dir / "data.mdb"
    tenure(url, "enqueue", "q", "needle-in-the-store")
    own_broker.stop()
    content = bytearray(data.read_bytes())
    for place in range(len(content)):
        if content.startswith(b"needle", place):
            content[place] ^= 1
            break
    else:
        raise AssertionError("the job is not in the store")
    while (place := content.find(b"needle")) >= 0:
        content[place] ^= 1  # older pages may hold it too
    data.write_bytes(content)

    done = tenure(url, "store", "verify", str(own_broker.data_dir))

    assert done.returncode == 1
    assert "not sound" in done.stdout
    assert "job " in done.stdout
    assert "error" in done.stderr


def test_a_data_directory_that_is_missing_or_empty_is_told(tmp_path: Path) -> None:
    assert tenure("tenure://x", "store", "info", str(tmp_path / "none")).returncode == 4
    empty = tenure("tenure://x", "store", "info", str(tmp_path))
    assert empty.returncode == 1
    assert "there is no store in" in empty.stderr


# -- tenure server --------------------------------------------------------------------------


def test_tenure_server_runs_a_broker_until_it_is_told_to_stop(tmp_path: Path) -> None:
    ports = tmp_path / "ports.json"
    words = (
        "server --ephemeral --listen 127.0.0.1:0 --http off --log-format json --log-level warning"
    )
    process = subprocess.Popen(
        [*TENURE, *words.split(), "--port-file", str(ports)],
        env=surroundings("tenure://127.0.0.1:1"),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        wait_until(lambda: ports.exists() or process.poll() is not None)
        assert process.poll() is None, process.stderr and process.stderr.read()
        host, port = json.loads(ports.read_text())["listen"]
        assert tenure(f"tenure://{host}:{port}", "ping").returncode == 0

        process.send_signal(signal.SIGTERM)

        assert process.wait(TIMEOUT_S) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        assert process.stderr is not None
        process.stderr.close()


def test_tenure_server_checks_its_configuration(tmp_path: Path) -> None:
    config = tmp_path / "tenure.toml"
    config.write_text("[limits]\nconnections = 7\n")
    words = ["server", "--config", str(config), "--check-config", "--data-dir", str(tmp_path)]

    good = tenure("", *words)
    config.write_text("[limits]\nconections = 7\n")
    bad = tenure("", *words)

    assert good.returncode == 0, good.stderr
    assert "connections = 7" in good.stdout
    assert bad.returncode == 78
    assert "conections" in bad.stderr
