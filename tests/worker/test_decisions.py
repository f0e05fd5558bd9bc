"""The worker's decisions, one by one, with time passed in."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any, cast

import msgpack
import pytest

from tenure.worker import crashes, endings, events
from tenure.worker.deadlines import NEVER_MS, Deadlines, Stage
from tenure.worker.health import HealthFile, answer, parse_address
from tenure.worker.heartbeat import Heartbeat
from tenure.worker.held import TIMEOUT_HEADER, Held, peek
from tenure.worker.log import Log, Output
from tenure.worker.pool import Pool
from tenure.worker.recycle import Limits, rss_of, why_recycle
from tenure.worker.reload import Watch
from tenure.worker.slots import Slots

NO_POOL = cast(Pool, None)


def packed(value: object) -> bytes:
    data: bytes | None = msgpack.packb(value)
    assert data is not None
    return data


# -- credit -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slots", "free"),
    [
        (Slots(size=4, ready=4), 4),
        (Slots(size=4, ready=4, held=3), 1),
        (Slots(size=4, ready=4, held=9), 0),
        (Slots(size=4, ready=0), 0),
        (Slots(size=4, ready=2, held=1), 1),
        (Slots(size=2, ready=2, prefetch=16), 34),
        (Slots(size=2, ready=1, prefetch=16, held=10), 7),
        (Slots(size=2, ready=3, prefetch=0), 2),
    ],
)
def test_no_more_is_asked_for_than_can_begin_at_once(slots: Slots, free: int) -> None:
    assert slots.free == free


# -- limits -----------------------------------------------------------------------------


def test_each_limit_is_told_once_and_in_the_order_of_time() -> None:
    limits = Deadlines()
    limits.arm(1, 300)
    limits.arm(2, 100)
    limits.arm(3, 200, Stage.FAIL)
    assert limits.alarm_ms == 100
    assert limits.due(99) == []
    assert limits.due(250) == [(2, Stage.LIMIT), (3, Stage.FAIL)]
    assert limits.due(300) == [(1, Stage.LIMIT)]
    assert limits.due(10_000) == []
    assert limits.alarm_ms == NEVER_MS


def test_a_job_that_ended_or_was_armed_again_is_not_told_of_its_old_limit() -> None:
    limits = Deadlines()
    limits.arm(1, 100)
    limits.arm(2, 100)
    limits.disarm(1)
    limits.arm(2, 500, Stage.STUCK)
    limits.disarm(9)
    assert limits.alarm_ms == 500
    assert limits.due(499) == []
    assert limits.due(500) == [(2, Stage.STUCK)]
    assert len(limits) == 0


@pytest.mark.parametrize("seed", range(20))
def test_limits_are_those_of_a_plain_dictionary(seed: int) -> None:
    dice = random.Random(seed)
    limits, plain = Deadlines(), dict[int, tuple[int, Stage]]()
    now_ms = 0
    for _ in range(500):
        key = dice.randrange(10)
        match dice.randrange(3):
            case 0:
                plain[key] = (now_ms + dice.randrange(50), dice.choice(list(Stage)))
                limits.arm(key, *plain[key])
            case 1:
                plain.pop(key, None)
                limits.disarm(key)
            case 2:
                now_ms += dice.randrange(30)
                due = {key: at for key, at in plain.items() if at[0] <= now_ms}
                assert dict(limits.due(now_ms)) == {key: at[1] for key, at in due.items()}
                for key in due:
                    del plain[key]
        assert limits.alarm_ms == min((at for at, _ in plain.values()), default=NEVER_MS)


# -- leases -----------------------------------------------------------------------------


def held(lease_ms: int, heartbeat: Heartbeat, now_ms: int) -> Held:
    row = [bytes(16), 1, "q", lease_ms, 0, b"", 5, 0]
    return Held(1, row, NO_POOL, heartbeat.took(lease_ms, now_ms))


def test_a_lease_is_extended_when_a_third_of_it_has_passed() -> None:
    heartbeat = Heartbeat(5_000)
    job = held(900, heartbeat, 1_000)
    assert heartbeat.alarm_ms == 1_300
    assert heartbeat.due([job], 1_100) == []
    assert heartbeat.due([job], 1_300) == [job]
    assert heartbeat.alarm_ms == 1_600


def test_long_leases_are_extended_every_few_seconds_all_the_same() -> None:
    heartbeat = Heartbeat(5_000)
    job = held(3_600_000, heartbeat, 0)
    assert heartbeat.alarm_ms == 5_000
    assert heartbeat.due([job], 5_000) == [job]


def test_leases_that_are_due_soon_are_extended_in_the_same_request() -> None:
    heartbeat = Heartbeat(5_000)
    jobs = [held(30_000, heartbeat, now_ms) for now_ms in (0, 500, 1_000, 4_000)]
    assert heartbeat.due(jobs, 5_000) == jobs[:3]
    assert heartbeat.alarm_ms == 9_000


def test_without_jobs_nothing_is_due_ever() -> None:
    heartbeat = Heartbeat(5_000)
    held(30_000, heartbeat, 0)
    assert heartbeat.due([], 5_000) == []
    assert heartbeat.alarm_ms == NEVER_MS


def test_after_a_break_all_leases_are_extended_at_once() -> None:
    heartbeat = Heartbeat(5_000)
    jobs = [held(30_000, heartbeat, 0) for _ in range(3)]
    heartbeat.at_once(jobs, 100)
    assert heartbeat.alarm_ms == 100
    assert heartbeat.due(jobs, 100) == jobs


@pytest.mark.parametrize("lease_ms", [100, 1_000, 30_000])
def test_no_lease_ends_before_its_next_extension(lease_ms: int) -> None:
    heartbeat = Heartbeat(5_000)
    jobs = [held(lease_ms, heartbeat, 0), held(60_000, heartbeat, 0)]
    last = [0, 0]
    now_ms = 0
    while now_ms < 100_000:
        now_ms = heartbeat.alarm_ms
        for job in heartbeat.due(jobs, now_ms):
            assert now_ms - last[jobs.index(job)] <= job.lease_ms // 2
            last[jobs.index(job)] = now_ms


# -- bodies -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["t", "x" * 31, "x" * 32, "x" * 255, "Grüße.an.alle"])
def test_the_task_is_read_off_the_front_of_the_body(name: str) -> None:
    body = packed([name, b"p" * 1000, {"other": 1}, 1])
    assert peek(body) == (name, None)


def test_the_jobs_own_limit_is_read_off_its_headers() -> None:
    body = packed(["t", b"p", {TIMEOUT_HEADER: 1500, "a": "b"}, 1])
    assert peek(body) == ("t", 1500)


@pytest.mark.parametrize("limit", [0, -1, "5", None, 1.5, True])
def test_a_limit_that_is_none_is_ignored(limit: object) -> None:
    assert peek(packed(["t", b"", {TIMEOUT_HEADER: limit}, 1])) == ("t", None)


def test_a_payload_that_looks_like_a_header_is_none() -> None:
    assert peek(packed(["t", b"tenure.timeout_ms", None, 1])) == ("t", None)


@pytest.mark.parametrize(
    "body", [b"", b"\x94", b"\x94\xd9", b"\x94\xa1", b"tenure.", b"\x94\xa1\xff"]
)
def test_what_is_no_body_has_no_task_and_harms_nobody(body: bytes) -> None:
    assert peek(body) == ("", None)


def test_a_job_that_was_lost_before_runs_alone() -> None:
    plain = [bytes(16), 1, "q", 1000, 0, b"", 5, 0]
    assert not Held(1, plain, NO_POOL, 0).alone
    assert not Held(1, [*plain, None], NO_POOL, 0).alone
    assert not Held(1, [*plain, {"checkpoint": b"x"}], NO_POOL, 0).alone
    assert Held(1, [*plain, {"lost": 1}], NO_POOL, 0).alone


# -- crashes ----------------------------------------------------------------------------


def test_the_only_job_of_a_dead_process_is_guilty() -> None:
    for role in ("host", "single", "isolated"):
        assert crashes.verdict(cast(Any, role), ["a"]) == ("a", (), [])


def test_of_jobs_that_ran_one_after_another_the_first_is_guilty() -> None:
    assert crashes.verdict("single", ["a", "b", "c"]) == ("a", (), ["b", "c"])


def test_of_jobs_that_ran_together_nobody_is_guilty_before_it_is_proven() -> None:
    assert crashes.verdict("host", ["a", "b"]) == (None, ["a", "b"], ())


def test_a_process_that_dies_idle_harms_no_job() -> None:
    assert crashes.verdict("host", []) == (None, (), ())


@pytest.mark.parametrize(
    ("returncode", "told"),
    [
        (0, "exit status 0"),
        (3, "exit status 3"),
        (-9, "killed by signal 9 (SIGKILL)"),
        (-11, "killed by signal 11 (SIGSEGV)"),
        (-99, "killed by signal 99"),
    ],
)
def test_the_end_of_a_process_is_told_in_words(returncode: int, told: str) -> None:
    assert crashes.how_it_ended(returncode) == told
    assert crashes.crash_map(returncode, "last\udc80")["message"] == told


# -- recycling --------------------------------------------------------------------------

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (Limits(), None),
        (Limits(jobs_max=10), "it has run 10 jobs"),
        (Limits(jobs_max=11), None),
        (Limits(rss_bytes_max=99 * MIB), "it uses 100 MiB, more than 99 MiB"),
        (Limits(rss_bytes_max=100 * MIB), None),
        (Limits(age_ms_max=60_000), "it is 1m old"),
        (Limits(age_ms_max=60_001), None),
    ],
)
def test_a_child_is_replaced_by_count_memory_and_age(limits: Limits, told: str | None) -> None:
    assert why_recycle(limits, jobs=10, rss_bytes=100 * MIB, age_ms=60_000) == told


def test_the_memory_of_a_process_is_known_and_that_of_none_is_nothing() -> None:
    assert rss_of(os.getpid()) > MIB
    assert rss_of(2**22 + 1) == 0


# -- hooks ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "outcome", "kinds"),
    [
        ("ack", 0, ["job.succeeded"]),
        ("ack", [0, {"repeated": True}], ["job.succeeded"]),
        ("ack", [1, "LEASE_LOST", "", False, {}], ["job.lost"]),
        ("ack", [1, "PAYLOAD_TOO_LARGE", "", False, {}], []),
        ("release", 0, ["job.released"]),
        ("fail", [0, {"state": "retrying"}], ["job.failed", "job.retrying"]),
        ("fail", [0, {"state": "dead", "reason": "attempts"}], ["job.failed", "job.dead"]),
        ("fail", [0, {"state": "cancelled"}], ["job.cancelled"]),
        ("fail", [0, {"repeated": True}], ["job.failed"]),
    ],
)
def test_hooks_follow_what_the_broker_says(op: str, outcome: Any, kinds: list[str]) -> None:
    assert events.events_of(op, outcome) == kinds


def test_a_hook_is_told_the_job_the_error_and_the_brokers_answer() -> None:
    body = packed(["t", b"", None, 1])
    job = Held(1, [bytes(16), 3, "q", 1000, 0, body, 5, 0], NO_POOL, 0)
    item = [job.id, 3, {"error_type": "E", "message": "m", "kind": "timeout"}]
    told = events.event_map(job, item, [0, {"state": "dead", "reason": "attempts"}])
    assert told == {
        "id": bytes(16), "task": "t", "queue": "q", "attempt": 3, "error_type": "E",
        "message": "m", "failure": "timeout", "state": "dead", "reason": "attempts",
    }  # fmt: skip


def test_what_the_worker_says_of_jobs_it_ended_fits_the_protocol() -> None:
    assert endings.timeout_map(1500, "x" * 20_000)["kind"] == "timeout"
    assert len(endings.timeout_map(1500, "x" * 20_000)["traceback"]) == 16_384
    assert endings.cancelled_map(ran=False)["error_type"] == "Cancelled"


# -- health -----------------------------------------------------------------------------


def status_of(response: bytes) -> tuple[int, dict[str, Any]]:
    head, _, body = response.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body) if body else {}


def test_health_checks_tell_alive_from_ready() -> None:
    def away() -> tuple[bool, dict[str, Any]]:
        return False, {"trouble": "no broker"}

    def fine() -> tuple[bool, dict[str, Any]]:
        return True, {}

    assert status_of(answer(b"GET /livez HTTP/1.1\r\n\r\n", away))[0] == 200
    assert status_of(answer(b"GET /readyz HTTP/1.1\r\n\r\n", away)) == (
        503,
        {"ready": False, "trouble": "no broker"},
    )
    assert status_of(answer(b"GET /readyz?x=1 HTTP/1.0\r\n\r\n", fine))[0] == 200
    assert answer(b"HEAD /readyz HTTP/1.1\r\n\r\n", fine).endswith(b"\r\n\r\n")
    assert status_of(answer(b"GET / HTTP/1.1\r\n\r\n", fine))[0] == 404
    assert status_of(answer(b"POST /readyz HTTP/1.1\r\n\r\n", fine))[0] == 405
    assert status_of(answer(b"nonsense\r\n\r\n", fine))[0] == 405


def test_the_health_file_is_there_as_long_as_the_worker_is_ready(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    file = HealthFile(str(path))
    file.write(True, {"busy": 1})
    assert json.loads(path.read_text()) == {"ready": True, "busy": 1}
    file.write(False, {})
    assert not path.exists()
    file.write(True, {})
    file.remove()
    assert list(tmp_path.iterdir()) == []
    HealthFile(str(tmp_path / "no" / "where")).write(True, {})


@pytest.mark.parametrize("text", ["", "8081", "h:", "h:x", "h:70000"])
def test_an_address_has_a_host_and_a_port(text: str) -> None:
    assert parse_address("127.0.0.1:0") == ("127.0.0.1", 0)
    assert parse_address("[::1]:8081") == ("::1", 8081)
    with pytest.raises(ValueError, match="must be HOST:PORT"):
        parse_address(text)


# -- files and lines ------------------------------------------------------------------------


def test_files_that_change_appear_or_go_are_noticed_once(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path in paths[:2]:
        path.touch()
    watch = Watch()
    watch.add(map(str, paths))
    assert watch.changed() == []
    os.utime(paths[0], ns=(1, 1))
    paths[1].unlink()
    paths[2].touch()
    assert watch.changed() == [str(path) for path in paths]
    assert watch.changed() == []
    watch.add([str(paths[0])])
    assert len(watch) == 3


def test_lines_are_for_people_or_for_programs(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        output = Output(file.fileno())
        for style in ("console", "json"):
            log = Log(output, style, colour=False, clock=lambda: 1_767_225_600_123)
            log.info("the worker starts", queues="a b", none=None, n=3)
            log.flush()
    first, second = path.read_text().splitlines()
    assert first == '00:00:00 info    the worker starts  queues="a b"  n=3'
    assert json.loads(second) == {
        "timestamp": "2026-01-01T00:00:00.123Z", "level": "info",
        "event": "the worker starts", "queues": "a b", "n": 3,
    }  # fmt: skip


def test_a_reader_that_stands_still_holds_nobody_up() -> None:
    read_fd, write_fd = os.pipe()
    output = Output(write_fd, backlog_bytes_max=200_000)
    for _ in range(100):
        output.write(b"x" * 10_000)  # far more than a pipe holds
    output.flush(0.01)
    os.close(read_fd)
    output.flush()
    os.close(write_fd)
