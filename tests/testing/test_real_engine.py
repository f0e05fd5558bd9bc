"""The broker of a test is the real one: frames, limits, refusals, queues."""

from __future__ import annotations

import threading

import pytest

from tenure import App, PayloadTooLarge, QueueFull
from tenure.tasks import connections
from tenure.testing import TestBroker, in_process_broker

app = App("tenure://nowhere.invalid")


@app.task
def note(text: str) -> None:
    """Notes nothing."""


def test_the_client_meets_the_real_server(tenure: TestBroker) -> None:
    tenure.client.ping()
    server = tenure.client.server
    assert server is not None
    assert server.server.startswith("tenure ")
    assert "notes" in server.features
    assert tenure.client.stats()["store"]["entries"]["jobs"] == 0


def test_limits_hold(tenure: TestBroker) -> None:
    note.enqueue("")
    server = app.client.server
    assert server is not None
    with pytest.raises(PayloadTooLarge):
        note.enqueue("x" * (server.payload_bytes_max + 1))


def test_settings_of_queues_hold(tenure: TestBroker) -> None:
    tenure.client.create_queue("default", max_jobs=1)
    note.enqueue("a")
    with pytest.raises(QueueFull):
        note.enqueue("b")
    tenure.client.pause_queue("default")
    assert tenure.run_until_idle() == 0
    tenure.client.resume_queue("default")
    assert tenure.run_until_idle() == 1


def test_queues_in_memory_work(tenure: TestBroker) -> None:
    tenure.client.create_queue("fast", durability="memory")
    note.using(queue="fast").enqueue("a")
    tenure.assert_enqueued(note, queue="fast")
    assert tenure.run_until_idle() == 1
    note.using(queue="fast").enqueue("b")
    tenure.restart()
    assert tenure.run_until_idle() == 0


def test_dead_jobs_are_replayed(tenure: TestBroker) -> None:
    note.using(max_attempts=1).enqueue("a")
    tenure.crash_next(note)
    tenure.run_until_idle()
    [job] = tenure.jobs(state="dead")
    tenure.client.replay("default", [job.id])
    tenure.advance("1s")
    assert tenure.run_until_idle() == 1
    assert job.state == "succeeded"


def test_threads_of_the_test_may_enqueue(tenure: TestBroker) -> None:
    def produce(name: int) -> None:
        for number in range(20):
            note.enqueue(f"{name} {number}")

    threads = [threading.Thread(target=produce, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tenure.run_until_idle() == 80


def test_a_client_that_is_closed_refuses(tenure: TestBroker) -> None:
    tenure.client.close()
    with pytest.raises(Exception, match="closed"):
        tenure.client.ping()
    note.enqueue("others go on")


def test_without_pytest_it_is_a_context_manager() -> None:
    with in_process_broker() as broker:
        note.enqueue("a")
        assert broker.run_until_idle() == 1
    assert connections.source() is None


def test_the_brokers_log_goes_to_logging(
    tenure: TestBroker, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level("INFO", logger="tenure.broker"):
        note.using(queue="fresh").enqueue("a")
    assert any("queue_created" in record.message for record in caplog.records)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == ""
