"""Both clients: notes of running jobs, crashes, reasons, and what the next delivery tells."""

from __future__ import annotations

from typing import Any

import pytest

from tenure import LeasedJob, LeaseLost, PayloadTooLarge
from tenure_protocol import limits


def take(client: Any, queue: str) -> LeasedJob:
    """The next job of a queue."""
    (job,) = client.reserve(queue, wait="10s")
    assert isinstance(job, LeasedJob)
    return job


def test_what_a_job_notes_is_seen_by_get(client: Any, queue: str) -> None:
    job_id = client.enqueue(queue, "t")
    job = take(client, queue)
    assert (job.lost, job.checkpoint) == (0, None)
    assert client.note(job, checkpoint=b"p3", progress=(3, 10, "page 3"), log=["a", "b"]) == {}
    info = client.get(job_id)
    assert info.progress[:3] == (3, 10, "page 3")
    assert info.progress.at_ms >= info.enqueued_at_ms
    assert (info.log, info.checkpoint) == (("a", "b"), b"p3")
    client.note((job.id, job.attempt), progress=(4,))
    assert client.get(job_id).progress[:3] == (4, None, None)


def test_the_next_attempt_has_the_checkpoint_and_knows_of_the_crash(
    client: Any, queue: str
) -> None:
    client.enqueue(queue, "t")
    job = take(client, queue)
    client.note(job, checkpoint=b"half")
    client.fail(job, "killed by signal 9 (SIGKILL)", kind="crashed", retry_in=0)
    again = take(client, queue)
    assert (again.attempt, again.used, again.lost, again.checkpoint) == (2, 1, 1, b"half")
    [past] = client.get(again.id).history
    assert (past.outcome, past.message) == ("crashed", "killed by signal 9 (SIGKILL)")


def test_the_reason_of_a_release_is_in_the_history(client: Any, queue: str) -> None:
    job_id = client.enqueue(queue, "t")
    client.release(take(client, queue), reason="snoozed: mail server is away")
    client.release(take(client, queue), delay=0.001, reason="x" * 5_000)
    client.release([take(client, queue)])
    told = [(past.outcome, past.message) for past in client.get(job_id).history]
    longest = "x" * limits.ERROR_MESSAGE_CHARS_MAX
    assert told == [
        ("released", "snoozed: mail server is away"), ("released", longest), ("released", ""),
    ]  # fmt: skip


def test_a_note_of_a_lost_lease_is_refused(client: Any, queue: str) -> None:
    client.enqueue(queue, "t")
    job = take(client, queue)
    client.release(job)
    with pytest.raises(LeaseLost):
        client.note(job, log=["too late"])


def test_a_checkpoint_that_is_too_long_is_refused(client: Any, queue: str) -> None:
    client.enqueue(queue, "t")
    job = take(client, queue)
    client.note(job, checkpoint=b"c" * limits.CHECKPOINT_BYTES_MAX)
    with pytest.raises(PayloadTooLarge):
        client.note(job, checkpoint=b"c" * (limits.CHECKPOINT_BYTES_MAX + 1))


def test_odd_notes_are_refused_before_they_leave(client: Any, queue: str) -> None:
    client.enqueue(queue, "t")
    job = take(client, queue)
    for odd in ({"checkpoint": "text"}, {"checkpoint": 5}, {"log": "one line"}, {"log": [1]}):
        with pytest.raises(TypeError):
            client.note(job, **odd)
    with pytest.raises(ValueError, match="crashed"):
        client.fail(job, "x", kind="vanished")


def test_text_that_is_not_unicode_is_noted_all_the_same(client: Any, queue: str) -> None:
    job_id = client.enqueue(queue, "t")
    client.note(take(client, queue), progress=(1, 2, "file \udcff"), log=["line \udcff"])
    info = client.get(job_id)
    assert (info.progress.message, info.log) == ("file \\udcff", ("line \\udcff",))
