"""Time stands still until the test moves it; what falls due on the way happens at its time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tenure import App, RetryLater
from tenure.testing import TestBroker

app = App("tenure://nowhere.invalid")
ran: list[str] = []


@app.task
def note(name: str) -> None:
    """Notes its name."""
    ran.append(name)


@app.task
def not_now() -> None:
    """Comes back in an hour."""
    ran.append("asked")
    if len(ran) < 2:
        raise RetryLater("1h", "busy")


def test_the_clock_stands_still(tenure: TestBroker) -> None:
    before = tenure.now
    note.enqueue("a")
    tenure.run_until_idle()
    assert tenure.now == before
    assert abs(before - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_delayed_job_runs_when_its_time_has_come(tenure: TestBroker) -> None:
    ran.clear()
    before = tenure.now
    note.using(delay="1h").enqueue("later")
    assert tenure.run_until_idle() == 0
    tenure.advance("59m")
    assert tenure.run_until_idle() == 0
    tenure.advance("1m")
    assert tenure.run_until_idle() == 1
    assert ran == ["later"]
    assert tenure.now - before == timedelta(hours=1)


def test_moments_of_the_real_clock_mean_what_they_say(tenure: TestBroker) -> None:
    note.using(run_at=datetime.now(UTC) + timedelta(days=1)).enqueue("tomorrow")
    assert tenure.run_until_idle() == 0
    tenure.advance("25h")
    assert tenure.run_until_idle() == 1


def test_a_job_put_off_uses_up_no_attempt(tenure: TestBroker) -> None:
    ran.clear()
    not_now.enqueue()
    assert tenure.run_until_idle() == 1
    [job] = tenure.jobs()
    assert job.state == "scheduled"
    assert job.info.history[-1].message == "busy"
    tenure.advance("1h")
    assert tenure.run_until_idle() == 1
    assert job.state == "succeeded"
    assert job.info.failures == 0


def test_a_job_that_expires_does_so_on_the_way(tenure: TestBroker) -> None:
    note.using(expires="10m").enqueue("stale")
    tenure.advance("1h")
    assert tenure.run_until_idle() == 0
    assert tenure.jobs()[0].state == "expired"


def test_a_kept_result_is_forgotten_in_time(tenure: TestBroker) -> None:
    handle = note.using(result_ttl="1h").enqueue("a")
    tenure.run_until_idle()
    assert handle.status() == "succeeded"
    tenure.advance("2h")
    assert handle.status() == "unknown"
    assert tenure.jobs()[0].state == "succeeded"


def test_a_year_passes_at_once(tenure: TestBroker) -> None:
    note.using(delay="365d").enqueue("old")
    tenure.advance("365d")
    assert tenure.run_until_idle() == 1


def test_a_reserve_that_waits_lets_time_pass_until_a_job_is_due(tenure: TestBroker) -> None:
    before = tenure.now
    note.using(delay="7s").enqueue("soon")
    [job] = tenure.client.reserve("default", wait="1m")
    assert tenure.now - before == timedelta(seconds=7)
    tenure.client.ack(job)
    assert tenure.client.reserve("default", wait="1m") == []
    assert tenure.now - before == timedelta(seconds=67)
    assert tenure.jobs()[0].state == "succeeded"


def test_a_lease_that_nobody_extends_runs_out(tenure: TestBroker) -> None:
    note.enqueue("a")
    [job] = tenure.client.reserve("default", lease="30s")
    tenure.advance("29s")
    assert tenure.jobs()[0].state == "leased"
    tenure.advance("2s")
    assert tenure.jobs()[0].state == "ready"
    assert tenure.jobs()[0].info.lost == 1
    assert job.attempt == 1


def test_a_job_that_lets_time_pass_keeps_its_lease(tenure: TestBroker) -> None:
    seen: list[int] = []

    @app.task(name="slow-job")
    def slow() -> None:
        tenure.advance("1h")
        seen.append(1)

    slow.enqueue()
    assert tenure.run_until_idle() == 1
    [job] = tenure.jobs(slow)
    assert job.state == "succeeded"
    assert seen == [1]
