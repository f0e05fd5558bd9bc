"""Looking at jobs without taking them: by state, page by page, with bounded work."""

from __future__ import annotations

import pytest

from tenure_protocol.errors import BadRequest, QueueNotFound
from tenure_protocol.limits import ERROR_MESSAGE_CHARS_MAX, TRACEBACK_CHARS_MAX
from tenure_protocol.wire import pack
from tenure_storage.store import JOBS
from tests.support.world import HOUR_MS, World

STATES = ("ready", "scheduled", "retrying", "leased", "dead", "succeeded", "cancelled", "expired")


def populated(world: World, each: int = 3) -> dict[str, list[bytes]]:
    """A queue with `each` jobs in every state."""
    world.create(retention_ms=HOUR_MS, ended_retention_ms=HOUR_MS)
    found: dict[str, list[bytes]] = {state: [] for state in STATES}
    for state in ("succeeded", "dead", "retrying", "leased"):
        found[state] = world.enqueue("q", each)
        for job in world.reserve("q", each, lease_ms=HOUR_MS):
            if state == "succeeded":
                world.ack(job)
            elif state == "dead":
                world.fail(job, dead=True)
            elif state == "retrying":
                world.fail(job, retry_in_ms=HOUR_MS)
    found["cancelled"] = world.enqueue("q", each)
    for job_id in found["cancelled"]:
        world.cancel(job_id)
    found["expired"] = world.enqueue("q", each, expires_in_ms=1)
    world.pass_time(1)
    found["scheduled"] = world.enqueue("q", each, delay_ms=HOUR_MS)
    found["ready"] = world.enqueue("q", each, priority=200) + world.enqueue("q", each, priority=3)
    return found


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("limit", [1, 2, 1000])
@pytest.mark.parametrize("crash", [False, True])
def test_every_state_is_listed_whole_and_alone(
    world: World, state: str, limit: int, crash: bool
) -> None:
    expected = populated(world)
    if crash:
        world.crash()
    listed = world.peek("q", state, limit=limit)
    assert sorted(job["id"] for job in listed) == sorted(expected[state])
    assert {job["state"] for job in listed} == {state}
    assert all(job["queue"] == "q" for job in listed)


def test_the_counts_equal_what_is_listed(world: World) -> None:
    populated(world, 4)
    counts = world.counts()
    assert counts == {state: len(world.peek("q", state)) for state in STATES}


def test_ready_jobs_are_listed_in_the_order_they_leave(world: World) -> None:
    world.enqueue("q", 5, priority=9)
    world.enqueue("q", 5, priority=2)
    listed = [job["id"] for job in world.peek("q", "ready", limit=3)]
    assert listed == [job.id for job in world.reserve("q", 10)]


def test_peeking_takes_nothing_and_changes_nothing(world: World) -> None:
    world.enqueue("q", 5)
    before = world.batches
    first, second = world.peek("q", "ready"), world.peek("q", "ready")
    assert first == second
    assert world.batches == before
    assert all(job["attempt"] == 0 for job in first)


def test_bodies_can_be_left_out(world: World) -> None:
    world.enqueue("q", [b"x" * 100])
    [with_body] = world.call("peek", {"queue": "q", "state": "ready", "limit": 1})["jobs"]
    assert b"x" * 100 in with_body["body"]
    args = {"queue": "q", "state": "ready", "limit": 1, "bodies": False}
    [without] = world.call("peek", args)["jobs"]
    assert not without.get("body")


def test_a_job_that_is_not_committed_yet_is_not_lost_from_the_listing(world: World) -> None:
    world.create()
    world.send_enqueue("q", 2)
    world.seal()
    world.land()
    world.turn()
    assert len(world.peek("q", "ready")) == 2


def test_a_page_reads_a_bounded_number_of_rows(world: World) -> None:
    world.create(max_jobs=0)
    world.enqueue("q", 10_000, delay_ms=HOUR_MS)
    world.enqueue("q", 10_000)
    for state in ("retrying", "scheduled", "ready"):
        world.store.reset_counters()
        page = world.call("peek", {"queue": "q", "state": state, "limit": 10})
        assert len(page["jobs"]) <= 10
        assert world.store.rows_scanned[JOBS] <= 8_192


def test_jobs_of_other_queues_are_not_listed(world: World) -> None:
    world.enqueue("a", 2)
    ids = world.enqueue("b", 2)
    assert [job["id"] for job in world.peek("b", "ready")] == ids


def test_large_bodies_do_not_make_large_pages(world: World) -> None:
    world.enqueue("q", [bytes(900_000)] * 15)
    page = world.call("peek", {"queue": "q", "state": "ready", "limit": 1000})
    assert sum(len(job["body"]) for job in page["jobs"]) < 12_000_000
    assert page["cursor"] is not None
    assert len(world.peek("q", "ready")) == 15


def with_long_histories(world: World, jobs: int, attempts: int) -> list[bytes]:
    """Jobs that have failed, each time with as much to tell as is kept."""
    world.create(max_attempts=attempts + 1, retry=["fixed", 0, 0], retention_ms=HOUR_MS)
    ids = world.enqueue("q", jobs)
    error = {"message": "m" * ERROR_MESSAGE_CHARS_MAX, "traceback": "t" * TRACEBACK_CHARS_MAX}
    for _ in range(attempts):
        leased = world.reserve("q", jobs)
        world.call("fail", [[[job.id, job.attempt, error] for job in leased]])
    return ids


@pytest.mark.parametrize("state", ["ready", "leased", "dead", "succeeded"])
def test_long_histories_do_not_make_large_pages(state: str) -> None:
    world = World(reply_bytes_max=1_000_000)
    ids = with_long_histories(world, 30, 4)
    leased = [] if state == "ready" else world.reserve("q", 30)
    for job in leased if state in ("dead", "succeeded") else []:
        world.ack(job) if state == "succeeded" else world.fail(job, dead=True)
    seen: list[bytes] = []
    cursor: object = None
    while not seen or cursor is not None:
        page = world.call("peek", {"queue": "q", "state": state, "limit": 1000, "cursor": cursor})
        assert len(pack(page)) < 1_150_000, "the limit, and one job more"
        seen += [job["id"] for job in page["jobs"]]
        cursor = page["cursor"]
    assert sorted(seen) == sorted(ids)


@pytest.mark.parametrize("state", ["ready", "dead"])
def test_what_a_long_reply_holds_is_told_with_history_and_notes(world: World, state: str) -> None:
    [job_id] = with_long_histories(world, 1, 5)
    job = world.reserve_one()
    notes = {"checkpoint": bytes(65_536), "log": ["l" * 1_000] * 20}
    world.call("note", [[[job.id, job.attempt, notes]]])
    world.release(job) if state == "ready" else world.fail(job, dead=True)
    info = world.get(job_id)
    assert info["state"] == state
    world.engine.execute(world.session("worker"), 1_000, "get", [job_id], world.now)
    assert world.engine.bulk_bytes > 0.95 * len(pack(info)) > 150_000


@pytest.mark.parametrize(
    "args",
    [
        {"state": "ready", "limit": 5},
        {"queue": "q", "state": "odd", "limit": 5},
        {"queue": "q", "state": "ready", "limit": 0},
        {"queue": "q", "state": "ready", "limit": 1001},
        {"queue": "q", "state": "ready", "limit": 5, "cursor": 7},
        {"queue": "q", "state": "ready", "limit": 5, "bodies": "yes"},
        {"queue": None, "state": "ready", "limit": 5},
    ],
)
def test_impossible_listings_are_refused(world: World, args: dict[str, object]) -> None:
    world.enqueue("q", 1)
    with pytest.raises(BadRequest):
        world.call("peek", args)


@pytest.mark.parametrize("cursor", [b"", b"\x00", b"\xff" * 64, b"abc" * 5])
@pytest.mark.parametrize("state", STATES)
def test_a_forged_cursor_shows_no_other_queues_jobs(
    world: World, cursor: bytes, state: str
) -> None:
    populated(world)
    world.enqueue("other", 3)
    try:
        page = world.call("peek", {"queue": "q", "state": state, "limit": 1000, "cursor": cursor})
    except BadRequest:
        return
    assert all(job["queue"] == "q" for job in page["jobs"])


def test_a_queue_that_does_not_exist_cannot_be_looked_at(world: World) -> None:
    with pytest.raises(QueueNotFound):
        world.call("peek", {"queue": "nowhere", "state": "ready", "limit": 5})
