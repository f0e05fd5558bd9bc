"""Both clients against the real broker, in a process of its own."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tenure import (
    BadRequest,
    Enqueued,
    JobNotFound,
    LeaseLost,
    NewJob,
    OutcomeUnknown,
    PartlyEnqueued,
    PayloadTooLarge,
    QueueExists,
    QueueFull,
    QueueNotEmpty,
    QueueNotFound,
    Reconnect,
    Retry,
)
from tenure_protocol.durations import Duration
from tests.client.both import Connect, InThread
from tests.support.broker_process import BrokerProcess

SECONDS_MAX = 30.0


def take(client: Any, queue: str, wait: Duration = "10s") -> Any:
    """The next job of a queue."""
    (job,) = client.reserve(queue, wait=wait)
    return job


def until_a_reserve_waits(client: Any) -> None:
    """Ask the broker until it holds a waiting reserve."""
    end = time.monotonic() + SECONDS_MAX
    while client.stats()["waiting_reserves"] == 0:
        assert time.monotonic() < end, "no reserve reached the broker"


def test_a_job_goes_from_enqueue_to_ack_with_its_payload_and_headers(
    client: Any, queue: str
) -> None:
    job_id = client.enqueue(queue, "resize", {"w": 3}, headers={"trace": "t1"})
    job = take(client, queue)

    assert (job.id, job.attempt, job.queue) == (job_id, 1, queue)
    assert (job.task, job.payload, job.headers) == ("resize", {"w": 3}, {"trace": "t1"})
    assert job.leased_until > datetime.now(UTC)
    assert client.ack(job) == {}
    with pytest.raises(JobNotFound):
        client.get(job_id)


@pytest.mark.parametrize(
    ("codec", "payload"), [("json", {"a": [1, None]}), ("raw", b"\x00\xff"), ("msgpack", [b"x"])]
)
def test_each_codec_brings_a_payload_back(
    client: Any, queue: str, codec: str, payload: object
) -> None:
    client.enqueue(queue, "t", payload, codec=codec)

    assert take(client, queue).payload == payload


def test_a_long_payload_travels_compressed_if_the_client_is_asked_to(
    client: Any, queue: str, broker: BrokerProcess, connect: Connect
) -> None:
    text = "long " * 100_000
    with connect(broker.url, compress_over=True) as compressing:
        job_id = compressing.enqueue(queue, "t", text)
    plain_id = client.enqueue(queue, "t", text)

    assert len(client.get(job_id).body_bytes) < 10_000
    assert len(client.get(plain_id).body_bytes) > len(text)
    assert [take(client, queue).payload, take(client, queue).payload] == [text, text]


def test_the_result_of_a_job_reaches_who_waits_for_it(
    client: Any, queue: str, broker: BrokerProcess, connect: Connect
) -> None:
    job_id = client.enqueue(queue, "t", retention="1h")
    with connect(broker.url) as other:
        waiting = InThread(other.wait, job_id, timeout="20s")
        client.ack(take(client, queue), {"pages": 3})

        assert waiting.result().result == {"pages": 3}
    info = client.get(job_id)
    assert (info.state, info.ended, info.result) == ("succeeded", True, {"pages": 3})


def test_a_wait_that_is_over_tells_how_the_job_is(client: Any, queue: str) -> None:
    job_id = client.enqueue(queue, "t")

    assert client.wait(job_id, timeout=0.01).state == "ready"


def test_a_failed_job_is_retried_by_its_policy_and_keeps_its_history(
    client: Any, queue: str
) -> None:
    job_id = client.enqueue(queue, "t", retry=Retry.fixed("1h"))
    try:
        raise ValueError("bad size")
    except ValueError as error:
        info = client.fail(take(client, queue), error)

    assert info["state"] == "retrying"
    told = client.get(job_id)
    assert (told.state, told.failures, told.max_attempts) == ("retrying", 1, 5)
    assert (told.error_type, told.error_message) == ("ValueError", "bad size")
    assert "raise ValueError" in told.history[0].traceback
    assert told.origin.startswith("tester@")


def test_retry_in_overrides_the_policy(client: Any, queue: str) -> None:
    client.enqueue(queue, "t", retry=Retry.fixed("1h"))
    client.fail(take(client, queue), "not yet", retry_in=0)

    assert take(client, queue).attempt == 2


def test_a_released_job_comes_back_with_no_attempt_used(client: Any, queue: str) -> None:
    client.enqueue(queue, "t")
    client.release(take(client, queue))
    job = take(client, queue)

    assert (job.attempt, job.used) == (2, 0)


def test_an_old_attempt_is_refused_alone_and_among_many(client: Any, queue: str) -> None:
    ids = client.enqueue_many(queue, [NewJob("t"), NewJob("t")])
    jobs = client.reserve(queue, max_jobs=2, wait="10s")
    assert [job.id for job in jobs] == ids
    stale = (jobs[0].id, 99)

    with pytest.raises(LeaseLost):
        client.ack(stale)
    refused, done = client.ack([stale, jobs[1]])
    assert (refused.ok, done.ok) == (False, True)
    assert isinstance(refused.error, LeaseLost)


def test_many_are_acked_each_with_its_own_result(client: Any, queue: str) -> None:
    ids = client.enqueue_many(queue, [NewJob("t")] * 3, retention="1h")
    jobs = client.reserve(queue, max_jobs=3, wait="10s")

    assert all(outcome.ok for outcome in client.ack(jobs, results=[1, "two", None]))
    assert [client.get(job_id).result for job_id in ids] == [1, "two", None]


def test_extend_moves_the_end_of_the_lease_and_tells_of_a_cancel(client: Any, queue: str) -> None:
    job_id = client.enqueue(queue, "t", lease="1m")
    job = take(client, queue)
    first_end = job.leased_until

    assert client.extend(job, "1h") == {}
    assert job.leased_until - first_end > timedelta(minutes=50)
    assert client.cancel(job_id)["asked"] is True
    assert client.extend(job)["cancel"] is True


def test_a_cancelled_job_is_never_delivered(client: Any, queue: str) -> None:
    job_id = client.enqueue(queue, "t")

    assert client.cancel(job_id)["state"] == "cancelled"
    assert client.get(job_id).state == "cancelled"
    assert client.reserve(queue) == []


def test_a_unique_name_finds_the_job_that_holds_it(client: Any, queue: str) -> None:
    first = client.enqueue(queue, "t", unique="order-7")
    second = client.enqueue(queue, "t", unique="order-7")
    many = client.enqueue_many(queue, [NewJob("t", unique="order-7"), NewJob("t")])

    assert (first.existing, second.existing) == (False, True)
    assert first == second == many[0]
    assert isinstance(many[0], Enqueued)
    assert many[0].existing


def test_priorities_and_delays_decide_the_order(client: Any, queue: str) -> None:
    client.enqueue(queue, "later", delay="1h")
    client.enqueue(queue, "at", run_at=datetime.now(UTC) + timedelta(hours=1))
    client.enqueue(queue, "low", priority="low")
    client.enqueue(queue, "high", priority="high")
    client.enqueue(queue, "first", priority=0)

    jobs = client.reserve(queue, max_jobs=10, wait="10s")

    assert [job.task for job in jobs] == ["first", "high", "low"]
    assert client.queue(queue).counts["scheduled"] == 2


def test_thousands_of_jobs_go_in_and_out_in_order(client: Any, queue: str) -> None:
    ids = client.enqueue_many(queue, (NewJob("t", number) for number in range(5_000)))
    jobs: list[Any] = []
    while len(jobs) < 5_000:
        batch = client.reserve(queue, max_jobs=1_000, wait="10s")
        assert batch
        jobs += batch

    assert [job.id for job in jobs] == ids
    assert [job.payload for job in jobs] == list(range(5_000))
    assert all(outcome.ok for outcome in client.ack(jobs))


def test_queues_are_served_in_order_or_by_weight(client: Any, queue: str) -> None:
    other = f"{queue[:120]}-b"
    client.enqueue_many(other, [NewJob("b")] * 20)
    client.enqueue_many(queue, [NewJob("a")] * 20)

    strict = client.reserve([queue, other], max_jobs=20, wait="10s")
    assert {job.task for job in strict} == {"a"}
    client.release(strict)
    weighted = client.reserve({queue: 1, other: 1}, max_jobs=20, wait="10s")
    assert {job.task for job in weighted} == {"a", "b"}


def test_a_waiting_reserve_gets_the_job_that_comes(
    client: Any, queue: str, broker: BrokerProcess, connect: Connect
) -> None:
    with connect(broker.url) as other:
        waiting = InThread(other.reserve, queue, wait="20s")
        job_id = client.enqueue(queue, "t")

        assert [job.id for job in waiting.result()] == [job_id]


def test_jobs_that_ack_themselves_are_done_when_they_leave(client: Any, queue: str) -> None:
    job_id = client.enqueue(queue, "t", 5)
    (job,) = client.reserve(queue, wait="10s", auto_ack=True)

    assert job.payload == 5
    with pytest.raises(JobNotFound):
        client.get(job_id)


def test_a_queue_is_made_changed_paused_and_deleted(client: Any, queue: str) -> None:
    made = client.create_queue(queue, lease="2m", max_jobs=1)
    assert (made.name, made.settings["lease_ms"], made.paused) == (queue, 120_000, False)
    assert client.create_queue(queue, lease="2m", max_jobs=1).name == queue
    with pytest.raises(QueueExists):
        client.create_queue(queue, lease="3m")

    client.enqueue(queue, "t")
    with pytest.raises(QueueFull) as full:
        client.enqueue(queue, "t")
    assert full.value.retryable

    assert client.configure_queue(queue, max_jobs=0).settings["max_jobs"] == 0
    with pytest.raises(BadRequest):
        client.configure_queue(queue, durability="memory")
    assert client.pause_queue(queue).paused
    assert client.reserve(queue) == []
    assert not client.resume_queue(queue).paused
    assert queue in [info.name for info in client.queues(queue)]
    with pytest.raises(QueueNotEmpty):
        client.delete_queue(queue)
    assert client.purge_queue(queue) == 1
    client.delete_queue(queue, force=True)
    with pytest.raises(QueueNotFound):
        client.queue(queue)


def test_jobs_are_listed_page_by_page(client: Any, queue: str) -> None:
    ids = client.enqueue_many(queue, [NewJob("t", number) for number in range(25)])
    found: list[str] = []
    cursor = None
    while True:
        page = client.peek(queue, limit=10, cursor=cursor)
        found += [info.id for info in page.jobs]
        cursor = page.cursor
        if cursor is None:
            break

    assert found == ids
    assert client.peek(queue, limit=1).jobs[0].payload == 0
    assert client.peek(queue, limit=1, bodies=False).jobs[0].payload is None


def test_dead_jobs_are_listed_grouped_replayed_and_purged(client: Any, queue: str) -> None:
    ids = client.enqueue_many(queue, [NewJob("bad"), NewJob("bad"), NewJob("worse")])
    for job in client.reserve(queue, max_jobs=3, wait="10s"):
        client.fail(job, KeyError(job.task), dead=True)

    page = client.dead_jobs(queue, task="bad")
    assert [info.id for info in page.jobs] == ids[:2]
    assert {info.reason for info in page.jobs} == {"asked"}
    groups = {group.task: group for group in client.dead_groups(queue).groups}
    assert (groups["bad"].count, groups["bad"].error_type) == (2, "KeyError")

    (outcome,) = client.replay(queue, [ids[0]])
    assert outcome.ok
    again = take(client, queue)
    assert (again.id, again.used) == (ids[0], 0)
    (outcome,) = client.purge_dead(queue, [ids[1]])
    assert outcome.ok
    assert [info.id for info in client.dead_jobs(queue).jobs] == [ids[2]]

    number = client.replay(queue, error_type="Key*", limit=10)
    assert take(client, queue).id == ids[2]
    assert client.chore(number).queue == queue
    assert number in [chore.chore for chore in client.chores()]


def test_a_payload_over_the_limit_is_refused_with_its_place(client: Any, queue: str) -> None:
    jobs = [NewJob("t", b""), NewJob("t", Random(7).randbytes(1024 * 1024 + 1))]

    with pytest.raises(PartlyEnqueued) as stopped:
        client.enqueue_many(queue, jobs, codec="raw")
    assert [job_id is None for job_id in stopped.value.ids] == [False, True]
    refused = stopped.value.__cause__
    assert isinstance(refused, PayloadTooLarge)
    assert refused.details["index"] == 1


def test_a_goodbye_gives_back_what_is_not_kept(
    client: Any, queue: str, broker: BrokerProcess, connect: Connect
) -> None:
    client.enqueue_many(queue, [NewJob("t")] * 3)
    with connect(broker.url) as leaving:
        jobs = leaving.reserve(queue, max_jobs=3, wait="10s")

        assert leaving.goodbye(keep=jobs[0]) == 2
    assert {job.id for job in client.reserve(queue, max_jobs=3, wait="10s")} == {
        job.id for job in jobs[1:]
    }
    assert client.ack((jobs[0].id, jobs[0].attempt)) == {}


def test_a_backup_is_written_while_the_broker_works(client: Any, queue: str) -> None:
    client.enqueue(queue, "t")
    made = client.backup(f"of-{type(client).__name__.lower()}")

    assert made.bytes > 0
    assert Path(made.path).exists()


def test_the_broker_tells_its_figures_and_itself(client: Any) -> None:
    assert client.ping() > 0
    assert client.stats()["draining"] is False
    assert client.server.server.startswith("tenure ")


def test_a_draining_broker_takes_nothing_new_until_it_is_told_otherwise(
    client: Any, queue: str
) -> None:
    from tenure import Draining

    client.enqueue(queue, "t")
    job = take(client, queue)
    assert client.drain() is True
    try:
        with pytest.raises(Draining):
            client.enqueue(queue, "t")
        assert client.ack(job) == {}
    finally:
        assert client.drain(off=True) is False
    client.enqueue(queue, "t")


@pytest.mark.parametrize("kill", [False, True], ids=["SIGTERM", "SIGKILL"])
def test_a_restart_of_the_broker_is_hidden_from_producers_and_workers(
    connect: Connect, tmp_path: Path, kill: bool
) -> None:
    quick = Reconnect(base_ms=5, cap_ms=50)
    with (
        BrokerProcess(tmp_path) as broker,
        connect(broker.url, reconnect=quick) as producer,
        connect(broker.url, reconnect=quick) as worker,
    ):
        first = producer.enqueue("mail", "t", 0)
        (held,) = worker.reserve("mail", wait="10s")
        asking = InThread(worker.reserve, "other", wait="30s")
        until_a_reserve_waits(producer)

        broker.restart(kill=kill)

        second = producer.enqueue("other", "t", 1)
        jobs = asking.result() or worker.reserve("other", wait="10s")
        assert [job.id for job in jobs] == [second]
        assert worker.ack(held) == {}
        with pytest.raises(JobNotFound):
            producer.get(first)


def test_producers_under_kill_store_every_job_once(connect: Connect, tmp_path: Path) -> None:
    quick = Reconnect(base_ms=5, cap_ms=50)
    many = threading.Event()
    confirmed: list[str] = []

    def produce(client: Any) -> None:
        for number in range(300):
            confirmed.append(client.enqueue("mail", "t", number))
            if number == 50:
                many.set()

    with BrokerProcess(tmp_path) as broker, connect(broker.url, reconnect=quick) as client:
        producing = InThread(produce, client)
        assert many.wait(SECONDS_MAX)
        broker.restart(kill=True)
        producing.result()
        jobs = client.reserve("mail", max_jobs=1_000, wait="10s")

    assert sorted(job.payload for job in jobs) == list(range(300))
    assert sorted(job.id for job in jobs) == sorted(confirmed)


def test_what_is_not_repeated_says_so_when_the_broker_dies(
    connect: Connect, tmp_path: Path
) -> None:
    with BrokerProcess(tmp_path) as broker, connect(broker.url) as client:
        client.ping()
        waiting = InThread(client.reserve, "mail", wait="30s", auto_ack=True)
        until_a_reserve_waits(client)
        broker.kill()

        with pytest.raises(OutcomeUnknown, match="reserve"):
            waiting.result()
