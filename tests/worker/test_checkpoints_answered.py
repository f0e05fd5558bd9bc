"""Whoever waits for a checkpoint is answered, and nobody else."""

from __future__ import annotations

from typing import Any, cast

from tenure.errors import RequestTimeout
from tests.worker.test_settling import Listener, noted, until


async def test_a_checkpoint_of_a_lost_job_is_answered_while_the_broker_is_away() -> None:
    _, notes, held, child, _ = noted(RequestTimeout("late"))
    notes.checkpoint(held, 7, b"x", 0)
    notes.flush(0, all_of_it=False)
    held.over = True
    await until(lambda: not notes.busy)
    assert child.heard == [["saved", 1, 7, "its lease is lost"]], "else its thread waits for ever"


async def test_the_answer_to_a_dead_process_does_not_go_to_the_one_where_the_job_runs_again() -> (
    None
):
    _, notes, held, child, _ = noted("ok")
    notes.checkpoint(held, 1, b"x", 0)
    notes.flush(0, all_of_it=False)
    child.jobs.clear()
    another = Listener(held)
    held.child = cast(Any, another)
    await until(lambda: not notes.busy)
    assert another.heard == [], "its own checkpoint 1 is another one, and may not be durable yet"
    notes.checkpoint(held, 1, b"y", 0)
    notes.flush(0, all_of_it=False)
    await until(lambda: another.heard)
    assert another.heard == [["saved", 1, 1, None]]
