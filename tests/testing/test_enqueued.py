"""`assert_enqueued` finds what was enqueued, and shows what was enqueued instead."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tenure import App
from tenure.testing import TestBroker

app = App("tenure://nowhere.invalid", queue="mail")


@app.task
def send_email(to: str, subject: str = "hello") -> None:
    """Sends nothing."""


@app.task(queue="reports")
async def report(year: int) -> None:
    """Reports nothing."""


@app.task
def move(job: str, queue: str, delay: int = 0) -> None:
    """Has parameters named like options."""


def test_a_job_is_found_by_its_task(tenure: TestBroker) -> None:
    send_email.enqueue("ada@example.org")
    job = tenure.assert_enqueued(send_email)
    assert job.args == {"to": "ada@example.org", "subject": "hello"}
    assert job.state == "ready"


def test_a_job_is_found_by_its_arguments_however_they_were_given(tenure: TestBroker) -> None:
    send_email.enqueue("ada@example.org")
    send_email.enqueue(subject="hi", to="bob@example.org")
    tenure.assert_enqueued(send_email, to="ada@example.org")
    tenure.assert_enqueued(send_email, "ada@example.org", "hello")
    tenure.assert_enqueued(send_email, "bob@example.org", subject="hi")


def test_a_job_is_found_by_its_queue_its_delay_and_its_number(tenure: TestBroker) -> None:
    send_email.using(delay="5m", queue="slow").enqueue("ada@example.org")
    report.enqueue(2024)
    report.enqueue(2024)
    tenure.assert_enqueued(send_email, queue="slow", delay="5m")
    tenure.assert_enqueued(send_email.s("ada@example.org"), queue="slow", delay=300)
    tenure.assert_enqueued(report.s(2024), count=2)
    tenure.assert_enqueued(report.s(2025), count=0)
    assert tenure.jobs(send_email)[0].delay == timedelta(minutes=5)


def test_a_job_counts_as_enqueued_after_it_has_run(tenure: TestBroker) -> None:
    send_email.enqueue("ada@example.org")
    assert tenure.run_until_idle() == 1
    tenure.assert_enqueued(send_email, "ada@example.org")


def test_a_job_held_by_its_unique_name_was_enqueued_once(tenure: TestBroker) -> None:
    once = send_email.using(unique="welcome-{to}")
    first = once.enqueue("ada@example.org")
    assert once.enqueue("ada@example.org").id == first.id
    tenure.assert_enqueued(send_email, count=1)


def test_many_at_once_are_all_seen(tenure: TestBroker) -> None:
    app.enqueue_many(report.s(year) for year in range(2500))
    tenure.assert_enqueued(report, count=2500)
    tenure.assert_enqueued(report, 2499)


def test_a_task_may_have_parameters_named_like_the_options(tenure: TestBroker) -> None:
    move.enqueue("j", queue="q", delay=3)
    tenure.assert_enqueued(move, "j", queue="q", delay=3)
    with pytest.raises(AssertionError):
        tenure.assert_enqueued(move, "j", queue="other", delay=3)


def test_the_failure_shows_what_was_enqueued_instead(tenure: TestBroker) -> None:
    send_email.using(delay="90s").enqueue("bob@example.org")
    report.enqueue(2024)
    tenure.run_until_idle()
    with pytest.raises(AssertionError) as caught:
        tenure.assert_enqueued(send_email.s("ada@example.org"), queue="mail")
    assert str(caught.value) == (
        "send_email(to='ada@example.org', subject='hello') queue='mail' was not enqueued."
        " Enqueued were:\n"
        "  send_email(to='bob@example.org') queue='mail' delay='90s' [scheduled]\n"
        "  report(year=2024) queue='reports' [succeeded]"
    )


def test_the_failure_says_so_when_nothing_was_enqueued(tenure: TestBroker) -> None:
    with pytest.raises(AssertionError, match=r"report\(…\) was not enqueued\. Nothing was"):
        tenure.assert_enqueued(report)


def test_the_failure_says_how_often_it_was_instead(tenure: TestBroker) -> None:
    report.enqueue(1)
    with pytest.raises(AssertionError, match=r"report\(year=1\) was enqueued once, not 2 times"):
        tenure.assert_enqueued(report.s(1), count=2)


def test_what_must_not_be_enqueued_is_shown(tenure: TestBroker) -> None:
    report.enqueue(1)
    tenure.assert_not_enqueued(report, 2)
    tenure.assert_not_enqueued(send_email)
    with pytest.raises(AssertionError, match=r"report\(…\) was enqueued(.|\n)*report\(year=1\)"):
        tenure.assert_not_enqueued(report)


def test_arguments_that_do_not_fit_the_task_are_an_error_of_the_test(tenure: TestBroker) -> None:
    with pytest.raises(TypeError, match="year"):
        tenure.assert_enqueued(report, "soon")  # type: ignore[call-overload]  # pyright: ignore
