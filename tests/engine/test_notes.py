"""What a running job notes: durable at once, with the job for as long as the job is kept."""

from __future__ import annotations

from typing import Any

import pytest

from tenure_protocol import limits
from tenure_protocol.errors import BadRequest, JobNotFound, LeaseLost, PayloadTooLarge
from tenure_storage.store import JOBS, NOTES, STATES
from tests.support.wire_jobs import Token, unwrapped
from tests.support.world import HOUR_MS, World

NOTED = ("progress", "log", "checkpoint")


def note(world: World, job: Token, **told: object) -> dict[str, Any]:
    """Notes something about one job. Raises its refusal."""
    [outcome] = world.call("note", [[[job[0], job[1], told]]])
    return unwrapped(outcome)


def notes(world: World, job_id: bytes) -> tuple[Any, ...]:
    """Progress, log and checkpoint as `get` shows them."""
    info = world.get(job_id)
    return tuple(info[name] for name in NOTED)


def rows(world: World) -> int:
    """How many notes are in the store."""
    return len(world.store.rows(NOTES))


def extra(world: World, queue: str = "q") -> dict[str, Any]:
    """What the next delivery tells of the past."""
    [row] = world.call("reserve", [[queue], 1, 0])
    return dict(row[8]) if len(row) > 8 else {}


def test_a_job_without_notes_shows_none(world: World) -> None:
    [job_id] = world.enqueue("q", 1)
    assert notes(world, job_id) == (None, [], None)
    assert notes(world, world.reserve_one().id) == (None, [], None)


def test_what_was_noted_is_shown_and_survives_a_crash(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    note(world, job, checkpoint=b"page 3", progress=[3, 10, "page 3"], log=["one", "two"])
    shown = ([3, 10, "page 3", world.wall_ms], ["one", "two"], b"page 3")
    assert notes(world, job.id) == shown
    world.crash()
    assert notes(world, job.id) == shown


def test_a_note_is_on_the_disk_before_its_reply(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    request = world.send("note", [[[job.id, job.attempt, {"checkpoint": b"x"}]]])
    assert not world.answered(request)
    world.seal()
    world.land()
    assert not world.answered(request)
    world.announce()
    assert world.result(request) == [0]


def test_a_note_of_nothing_writes_nothing(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    before = world.batches
    nothing: list[dict[str, object]] = [{}, {"log": []}, {"checkpoint": None, "progress": None}]
    for empty in nothing:
        assert world.call("note", [[[job.id, job.attempt, empty]]]) == [0]
    assert world.call("note", [[[job.id, job.attempt]]]) == [0]
    assert world.batches == before


def test_what_is_left_out_stays_as_it_was(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    note(world, job, checkpoint=b"first", progress=[1], log=["a"])
    note(world, job, progress=[2.5, None, None])
    note(world, job, log=["b"])
    assert notes(world, job.id) == ([2.5, None, None, world.wall_ms], ["a", "b"], b"first")
    note(world, job, checkpoint=b"")
    assert notes(world, job.id)[2] == b""


def test_only_the_last_lines_of_the_log_are_kept(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    for start in range(0, 60, 6):
        note(world, job, log=[f"line {start + more}" for more in range(6)])
    assert notes(world, job.id)[1] == [f"line {n}" for n in range(40, 60)]
    note(world, job, log=[f"many {n}" for n in range(500)])
    assert notes(world, job.id)[1] == [f"many {n}" for n in range(480, 500)]


# ---- limits ------------------------------------------------------------------------------


def test_a_checkpoint_may_be_as_long_as_the_limit_and_not_longer(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    longest = b"c" * limits.CHECKPOINT_BYTES_MAX
    note(world, job, checkpoint=longest)
    with pytest.raises(PayloadTooLarge) as refusal:
        note(world, job, checkpoint=longest + b"c", progress=[1])
    assert refusal.value.details == {"bytes": len(longest) + 1, "limit": len(longest)}
    assert notes(world, job.id) == (None, [], longest)


def test_the_refusal_of_one_item_concerns_that_item_alone(world: World) -> None:
    world.enqueue("q", 2)
    one, two = world.reserve("q", 2)
    too_long = {"checkpoint": b"c" * (limits.CHECKPOINT_BYTES_MAX + 1)}
    outcomes = world.call(
        "note", [[[one.id, 1, too_long], [two.id, 1, {"checkpoint": b"ok"}], [two.id, 2, {}]]]
    )
    assert [o if o == 0 else o[1] for o in outcomes] == ["PAYLOAD_TOO_LARGE", 0, "LEASE_LOST"]
    assert notes(world, one.id)[2] is None
    assert notes(world, two.id)[2] == b"ok"


def test_messages_and_lines_are_cut(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    message, line = limits.PROGRESS_MESSAGE_CHARS_MAX, limits.LOG_LINE_CHARS_MAX
    note(world, job, progress=[1, 2, "m" * message], log=["ö" * line])
    assert notes(world, job.id)[:2] == ([1, 2, "m" * message, world.wall_ms], ["ö" * line])
    note(world, job, progress=[1, 2, "m" * (message + 1)], log=["ö" * (line + 1)])
    assert notes(world, job.id)[0][2] == "m" * message
    assert notes(world, job.id)[1] == ["ö" * line] * 2


@pytest.mark.parametrize(
    "told",
    [
        {"checkpoint": "text"},
        {"progress": []},
        {"progress": 5},
        {"progress": ["1"]},
        {"progress": [True]},
        {"progress": [1, "2"]},
        {"progress": [1, 2, 3]},
        {"progress": [None]},
        {"log": "one line"},
        {"log": [b"bytes"]},
        {"log": ["ok", 1]},
    ],
    ids=str,
)
def test_a_note_of_another_kind_is_refused_and_changes_nothing(
    world: World, told: dict[str, object]
) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    with pytest.raises(BadRequest):
        note(world, job, **told)
    with pytest.raises(BadRequest):
        unwrapped(world.call("note", [[[job.id, job.attempt, "no map"]]])[0])
    assert notes(world, job.id) == (None, [], None)
    assert rows(world) == 0


def test_progress_that_is_no_number_is_refused(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    for odd in (float("nan"), float("inf")):
        with pytest.raises(BadRequest):
            note(world, job, progress=[odd])


# ---- who may note ------------------------------------------------------------------------


def test_only_the_attempt_that_holds_the_job_may_note(world: World) -> None:
    world.enqueue("q", 1)
    stale = world.reserve_one()
    world.pass_time(30_000)
    with pytest.raises(LeaseLost):
        note(world, stale, checkpoint=b"late")
    fresh = world.reserve_one()
    with pytest.raises(LeaseLost):
        note(world, stale, checkpoint=b"late")
    note(world, fresh, checkpoint=b"mine")
    assert notes(world, fresh.id)[2] == b"mine"


def test_a_settled_job_takes_no_notes(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    world.ack(job)
    with pytest.raises(LeaseLost):
        note(world, job, log=["after the end"])


def test_a_note_does_not_extend_the_lease(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    world.pass_time(29_000)
    note(world, job, progress=[1])
    world.pass_time(1_000)
    assert world.get(job.id)["lost"] == 1


# ---- with the job for ever ---------------------------------------------------------------


@pytest.mark.parametrize("how", ["lost", "released", "delayed", "failed", "timeout", "crashed"])
@pytest.mark.parametrize("killed", [False, True])
def test_notes_stay_with_the_job_however_its_attempt_ends(
    world: World, how: str, killed: bool
) -> None:
    world.create(retry=["fixed", 1_000, 0.0])
    world.enqueue("q", 1)
    job = world.reserve_one()
    note(world, job, checkpoint=b"half", progress=[5], log=["x"])
    if killed:
        world.crash()
    match how:
        case "lost":
            world.pass_time(30_000)
        case "released":
            world.release(job)
        case "delayed":
            world.release(job, 1_000)
        case kind:
            world.fail(job, kind=kind)
    if killed:
        world.crash()
    world.pass_time(1_000)
    progress, log, checkpoint = notes(world, job.id)
    assert (progress[0], log, checkpoint) == (5, ["x"], b"half")
    assert extra(world)["checkpoint"] == b"half"


def test_a_job_that_noted_and_is_given_back_in_one_batch_is_given_out_again(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    world.send("note", [[[job.id, 1, {"progress": [1]}]]])
    world.send("release", [[[job.id, 1]]])
    world.turn()
    assert world.counts() == {"ready": 1}
    again = world.reserve_one()
    assert (again.id, again.attempt) == (job.id, 2)
    world.ack(again)
    assert (rows(world), world.counts()) == (0, {})


def test_a_job_given_back_while_its_note_is_on_the_way_is_given_out_again(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    world.send("note", [[[job.id, 1, {"progress": [1]}]]])
    world.seal()
    world.land()
    world.send("release", [[[job.id, 1]]])
    world.announce()
    world.turn()
    assert world.reserve_one().attempt == 2


def test_a_job_whose_line_was_purged_meanwhile_notes_and_comes_back(world: World) -> None:
    world.enqueue("q", 2)
    job = world.reserve_one()
    world.call("queue.purge", {"queue": "q"})
    note(world, job, checkpoint=b"kept")
    world.release(job)
    world.live(5_000)
    assert extra(world) == {"checkpoint": b"kept"}


def test_dead_jobs_keep_their_notes_and_a_replay_brings_them_along(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    note(world, job, checkpoint=b"half", log=["so far"])
    world.fail(job, dead=True)
    assert notes(world, job.id) == (None, ["so far"], b"half")
    world.crash()
    world.call("dlq.replay", {"queue": "q", "ids": [job.id]})
    assert notes(world, job.id) == (None, ["so far"], b"half")
    assert extra(world) == {"checkpoint": b"half"}


def test_finished_jobs_keep_their_notes_for_their_retention(world: World) -> None:
    world.create(retention_ms=HOUR_MS)
    world.enqueue("q", 1)
    job = world.reserve_one()
    note(world, job, progress=[10, 10, "done"], log=["the end"])
    world.ack(job)
    assert notes(world, job.id) == ([10, 10, "done", world.wall_ms], ["the end"], None)
    world.live(HOUR_MS + 1_000)
    with pytest.raises(JobNotFound):
        world.get(job.id)
    assert rows(world) == 0


def test_who_waits_for_a_job_is_told_its_notes_kept_or_not(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    note(world, job, progress=[1, 1, None], checkpoint=b"c")
    waiting = world.send("wait", [job.id, 60_000])
    world.ack(job)
    told = world.result(waiting)
    assert (told["state"], told["progress"][:2], told["checkpoint"]) == ("succeeded", [1, 1], b"c")
    assert rows(world) == 0


def test_notes_go_with_the_job(world: World) -> None:
    def noted_job(**settings: object) -> tuple[str, Any]:
        name = f"q{len(world.session_ids)}-{len(settings)}-{world.random.random()}"[:40]
        world.create(name, **settings)
        world.enqueue(name, 1)
        job = world.reserve_one(name)
        note(world, job, checkpoint=b"c", progress=[1])
        assert rows(world) == 2
        return name, job

    _, job = noted_job()
    world.ack(job)
    assert rows(world) == 0

    _, job = noted_job(dlq=False, ended_retention_ms=0)
    world.fail(job, dead=True)
    assert rows(world) == 0

    name, job = noted_job()
    world.fail(job, dead=True)
    world.call("dlq.purge", {"queue": name, "ids": [job.id]})
    assert rows(world) == 0

    name, job = noted_job()
    world.fail(job, dead=True)
    world.call("dlq.purge", {"queue": name, "filter": {}})
    world.live(5_000)
    assert rows(world) == 0

    _, job = noted_job(dead_retention_ms=1_000)
    world.fail(job, dead=True)
    world.live(5_000)
    assert rows(world) == 0

    _, job = noted_job(ended_retention_ms=0)
    world.release(job)
    world.cancel(job.id)
    assert rows(world) == 0

    name, job = noted_job()
    world.release(job)
    world.call("queue.purge", {"queue": name})
    world.live(5_000)
    assert rows(world) == 0

    name, job = noted_job()
    world.fail(job, dead=True)
    world.call("queue.delete", {"queue": name, "force": True})
    world.live(5_000)
    assert rows(world) == 0
    assert world.store.rows(STATES) == {}


def test_jobs_of_memory_queues_note_too_and_leave_nothing(world: World) -> None:
    world.create("fast", durability="memory")
    world.enqueue("fast", 1)
    job = world.reserve_one("fast")
    note(world, job, checkpoint=b"c", progress=[1])
    world.release(job)
    assert extra(world, "fast") == {"checkpoint": b"c"}
    assert rows(world) == 0


def test_jobs_that_are_given_away_bring_their_checkpoint(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    note(world, job, checkpoint=b"c")
    world.release(job)
    [row] = world.call("reserve", [["q"], 1, 0, None, True])
    assert row[8] == {"checkpoint": b"c"}
    assert rows(world) == 0


# ---- listings and replies stay bounded -----------------------------------------------------


def test_listings_show_the_progress_alone(world: World) -> None:
    world.create(retention_ms=HOUR_MS)
    world.enqueue("q", 4)
    leased, dead, done, back = world.reserve("q", 4)
    for job in (leased, dead, done, back):
        note(world, job, checkpoint=b"c" * 1_000, progress=[job.attempt, 2, None], log=["x"])
    world.fail(dead, dead=True)
    world.ack(done)
    world.release(back)
    for state in ("leased", "dead", "succeeded", "ready"):
        [info] = world.peek("q", state)
        assert (info["progress"][:2], info["log"], info["checkpoint"]) == ([1, 2], [], None)


def test_a_reserve_of_jobs_with_long_checkpoints_fits_into_a_frame(world: World) -> None:
    small = World(reply_bytes_max=200_000)
    small.enqueue("q", 20)
    for job in small.reserve("q", 20):
        note(small, job, checkpoint=b"c" * 60_000)
        small.release(job)
    order = [info["id"] for info in small.peek("q", "ready")]
    got: list[bytes] = []
    while jobs := small.call("reserve", [["q"], 20, 0]):
        assert sum(len(row[8]["checkpoint"]) for row in jobs) <= 260_000
        got += [row[0] for row in jobs]
    assert got == order
    assert small.counts() == {"leased": 20}


# ---- damage ------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1])
def test_a_damaged_note_is_set_aside_and_the_job_goes_on(world: World, which: int) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    note(world, job, checkpoint=b"c", progress=[1], log=["x"])
    world.store.flip(NOTES, sorted(world.store.rows(NOTES))[which])
    world.crash()
    progress, log, checkpoint = notes(world, job.id)
    assert (progress is None, log, checkpoint) == [(True, [], b"c"), (False, ["x"], None)][which]
    note(world, job, checkpoint=b"again", log=["y"])
    world.release(job)
    assert extra(world) == {"checkpoint": b"again"}


def test_notes_of_a_job_whose_state_row_was_damaged_go_with_it(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    note(world, job, checkpoint=b"c")
    world.release(job)
    world.store.flip(STATES, job.id)
    world.crash()
    world.live(1_000)
    world.ack(world.reserve_one())
    assert rows(world) == 0


def test_a_note_costs_no_copy_of_the_body_but_the_first(world: World) -> None:
    world.enqueue("q", [b"x" * 100_000])
    job = world.reserve_one()
    note(world, job, progress=[1])
    for n in range(2, 5):
        world.send("note", [[[job.id, 1, {"progress": [n]}]]])
        sealed = world.seal()
        assert sealed is not None
        assert not sealed.batch.tables[JOBS]
        world.turn()


def test_a_note_does_not_forget_that_the_job_is_to_be_cancelled(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    world.cancel(job.id)
    note(world, job, progress=[1])
    assert world.extend(job) == {"cancel": True}
    assert world.fail(job)["state"] == "cancelled"
