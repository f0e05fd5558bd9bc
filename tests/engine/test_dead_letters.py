"""The dead-letter queue: list, filter, group, replay, purge."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from tenure_protocol.errors import BadRequest, ChoreNotFound, TooManyWaiting
from tenure_protocol.limits import CHORES_RUNNING_MAX, ERROR_TYPE_CHARS_MAX, TASK_BYTES_MAX
from tenure_storage.store import CHORES, DEAD, JOBS, STATES
from tests.support.wire_jobs import body
from tests.support.world import HOUR_MS, World


def kill(
    world: World, count: int, queue: str = "q", task: str = "task", **error: Any
) -> list[bytes]:
    """Enqueues jobs and fails them for good."""
    args: list[object] = [queue, [body(b"%d" % n, task) for n in range(count)]]
    ids, _ = world.call("enqueue", args)
    for start in range(0, count, 1_000):
        jobs = world.reserve(queue, min(1_000, count - start))
        details = {"error_type": "Boom", "message": "m", "dead": True, **error}
        outcomes = world.call("fail", [[[job.id, job.attempt, details] for job in jobs]])
        assert all(outcome[1]["state"] == "dead" for outcome in outcomes)
    return list(ids)


def settle(world: World, chore: int, most_ms: int = 600_000) -> dict[str, Any]:
    """Lets time pass until a chore is over."""
    for _ in range(most_ms // 1_000):
        info: dict[str, Any] = world.call("chore.get", {"chore": chore})
        if info["state"] != "running":
            return info
        world.live(1_000)
    raise AssertionError("the chore does not end")


def test_dead_letters_are_listed_oldest_first_page_by_page(world: World) -> None:
    ids = []
    for _ in range(25):
        ids += kill(world, 1)
        world.pass_time(10)
    for limit in (1, 7, 25, 1000):
        listed = world.pages("dlq.list", {"queue": "q"}, limit=limit)
        assert [job["id"] for job in listed] == ids
    assert world.counts() == {"dead": 25}


def test_letters_are_filtered_by_error_task_and_age(world: World) -> None:
    a = kill(world, 2, error_type="ValueError", task="mail.send")
    world.pass_time(HOUR_MS)
    b = kill(world, 2, error_type="KeyError", task="mail.fetch")
    c = kill(world, 1, error_type="ValueErrorish", task="pay")

    def found(**filters: Any) -> list[bytes]:
        return [job["id"] for job in world.dead(**filters)]

    assert found(error_type="ValueError") == a
    assert found(error_type="ValueError*") == a + c
    assert found(task="mail.*") == a + b
    assert found(task="mail.fetch") == b
    assert found(task="mail.") == []
    assert found(older_than_ms=HOUR_MS // 2) == a
    assert found(newer_than_ms=HOUR_MS // 2) == b + c
    assert found(task="mail.*", newer_than_ms=HOUR_MS // 2) == b
    assert found(error_type="Nothing") == []


def test_bodies_can_be_left_out(world: World) -> None:
    kill(world, 1)
    [with_body] = world.dead(bodies=True)
    [without] = world.dead(bodies=False)
    assert with_body["body"]
    assert not without.get("body")


def test_letters_are_grouped_by_task_error_and_reason(world: World) -> None:
    first = world.wall_ms
    kill(world, 3, error_type="A", task="t1")
    world.pass_time(1_000)
    kill(world, 2, error_type="A", task="t1")
    kill(world, 1, error_type="B", task="t2")
    answer = world.call("dlq.groups", {"queue": "q"})
    assert answer["complete"] is True
    groups = {(g["task"], g["error_type"]): g for g in answer["groups"]}
    assert {key: g["count"] for key, g in groups.items()} == {("t1", "A"): 5, ("t2", "B"): 1}
    group = groups["t1", "A"]
    assert (group["first_at_ms"], group["last_at_ms"]) == (first, world.wall_ms)
    assert group["reason"] == "asked"
    assert world.state(group["example"]) == "dead"


def test_a_replay_by_id_brings_a_job_back_with_id_history_and_fresh_counters(world: World) -> None:
    [job_id] = kill(world, 1)
    before = world.get(job_id)
    [outcome] = world.call("dlq.replay", {"queue": "q", "ids": [job_id]})["outcomes"]
    assert outcome == 0 or outcome[0] == 0
    assert world.counts() == {"ready": 1}
    world.crash()
    job = world.reserve_one()
    assert (job.id, job.attempt, job.used) == (job_id, 2, 0)
    info = world.get(job_id)
    assert info["failures"] == 0
    assert info["history"] == before["history"]
    assert info["body"] == before["body"]
    assert info["enqueued_at_ms"] == before["enqueued_at_ms"]
    world.ack(job)
    assert world.store.count(DEAD) == 0
    assert world.store.count(STATES) == 0


def test_a_replayed_job_has_all_its_attempts_again(world: World) -> None:
    [job_id] = world.enqueue("q", 1, max_attempts=2)
    for _ in range(2):
        world.fail(world.reserve_one(), retry_in_ms=0)
    world.call("dlq.replay", {"queue": "q", "ids": [job_id]})
    assert world.fail(world.reserve_one(), retry_in_ms=0)["state"] == "retrying"
    assert world.fail(world.reserve_one(), retry_in_ms=0)["state"] == "dead"
    assert len(world.get(job_id)["history"]) == 4


def test_ids_that_are_not_dead_letters_are_refused_one_by_one(world: World) -> None:
    [dead] = kill(world, 1)
    [alive] = world.enqueue("q", 1)
    [elsewhere] = kill(world, 1, queue="other")
    ids = [bytes(16), alive, dead, elsewhere, dead]
    outcomes = world.call("dlq.replay", {"queue": "q", "ids": ids})["outcomes"]
    codes = [0 if o == 0 or o[0] == 0 else o[1] for o in outcomes]
    assert codes[2] == 0
    assert codes[0] == "JOB_NOT_FOUND"
    assert all(codes[n] != 0 for n in (1, 3, 4))
    assert world.counts() == {"ready": 2}
    assert world.counts("other") == {"dead": 1}


def test_a_replay_by_filter_moves_what_matches_and_nothing_else(world: World) -> None:
    yes = kill(world, 30, error_type="Timeout")
    no = kill(world, 20, error_type="Bug")
    chore = world.call("dlq.replay", {"queue": "q", "filter": {"error_type": "Timeout"}})["chore"]
    info = settle(world, chore)
    assert (info["state"], info["done"], info["kind"], info["queue"]) == (
        "finished",
        30,
        "replay",
        "q",
    )
    assert sorted(job.id for job in world.reserve("q", 100)) == sorted(yes)
    assert [job["id"] for job in world.dead()] == no


def test_a_replay_is_limited_to_a_number(world: World) -> None:
    ids = kill(world, 30)
    chore = world.call("dlq.replay", {"queue": "q", "filter": {}, "limit": 12})["chore"]
    assert settle(world, chore)["done"] == 12
    assert sorted(job.id for job in world.reserve("q", 100)) == sorted(ids[:12])
    assert len(world.dead()) == 18


def test_a_replay_is_limited_to_a_rate(world: World) -> None:
    kill(world, 100)
    chore = world.call("dlq.replay", {"queue": "q", "filter": {}, "rate": 10.0})["chore"]
    for second in range(1, 8):
        world.live(1_000)
        done = world.call("chore.get", {"chore": chore})["done"]
        assert 10 * (second - 1) <= done <= 10 * (second + 1) + 1, (second, done)
    assert settle(world, chore)["done"] == 100


def test_a_replay_by_filter_goes_on_after_a_crash(world: World) -> None:
    ids = kill(world, 100)
    chore = world.call("dlq.replay", {"queue": "q", "filter": {}, "rate": 10.0})["chore"]
    for _ in range(4):
        world.live(1_000)
    world.crash()
    world.turn()
    assert world.call("chore.get", {"chore": chore})["state"] == "running"
    settle(world, chore)
    assert sorted(job.id for job in world.reserve("q", 200)) == sorted(ids)
    assert world.counts() == {"leased": 100}
    assert world.store.count(CHORES) == 0


def test_a_replay_does_not_replay_what_dies_again_after_it_began(world: World) -> None:
    kill(world, 5)
    chore = world.call("dlq.replay", {"queue": "q", "filter": {}, "rate": 1.0})["chore"]
    for _ in range(12):
        world.live(1_000)
        for job in world.reserve("q", 5):
            world.fail(job, dead=True)
    info = world.call("chore.get", {"chore": chore})
    assert (info["state"], info["done"]) == ("finished", 5)
    assert len(world.dead()) == 5


def test_a_chore_can_be_cancelled(world: World) -> None:
    kill(world, 100)
    chore = world.call("dlq.replay", {"queue": "q", "filter": {}, "rate": 10.0})["chore"]
    world.pass_time(1_000)
    info = world.call("chore.cancel", {"chore": chore})
    assert info["state"] == "cancelled"
    left = world.counts()["dead"]
    world.pass_time(5_000)
    assert world.counts()["dead"] == left >= 70
    world.crash()
    world.pass_time(5_000)
    assert world.counts()["dead"] == left


def test_chores_are_listed(world: World) -> None:
    kill(world, 10)
    chore = world.call("dlq.replay", {"queue": "q", "filter": {}, "rate": 1.0})["chore"]
    listed = world.call("chore.list", {})["chores"]
    assert [info["chore"] for info in listed if info["kind"] == "replay"] == [chore]
    with pytest.raises(ChoreNotFound):
        world.call("chore.get", {"chore": 4_000_000})


def test_letters_are_purged_by_id(world: World) -> None:
    a, b, c = kill(world, 3)
    outcomes = world.call("dlq.purge", {"queue": "q", "ids": [b, bytes(16)]})["outcomes"]
    assert outcomes[0] == 0 or outcomes[0][0] == 0
    assert outcomes[1][:2] == [1, "JOB_NOT_FOUND"]
    world.crash()
    assert [job["id"] for job in world.dead()] == [a, c]
    assert world.state(b) == "gone"
    assert world.counts() == {"dead": 2}


def test_letters_are_purged_by_filter_in_slices(world: World) -> None:
    kill(world, 3_000, error_type="A")
    keep = kill(world, 5, error_type="B")
    chore = world.call("dlq.purge", {"queue": "q", "filter": {"error_type": "A"}})["chore"]
    assert settle(world, chore)["done"] == 3_000
    assert [job["id"] for job in world.dead()] == keep
    assert world.counts() == {"dead": 5}
    assert world.store.count(STATES) == 5


def test_a_purge_by_filter_goes_on_after_a_crash_at_every_slice(world: World) -> None:
    kill(world, 6_000)
    world.send("dlq.purge", {"queue": "q", "filter": {}})
    for _ in range(100):
        world.seal()
        world.land()
        world.crash()
        world.tick_if_due()
        if not world.engine.alarm_mono_ms(world.now):
            break
    world.pass_time(10_000)
    assert world.counts() == {}
    assert world.store.count(DEAD) == 0
    assert world.store.count(CHORES) == 0


def test_replayed_jobs_are_in_the_order_in_which_they_died(world: World) -> None:
    ids = kill(world, 10)
    settle(world, world.call("dlq.replay", {"queue": "q", "filter": {}})["chore"])
    assert [job.id for job in world.reserve("q", 10)] == ids


def test_a_replay_of_letters_whose_name_is_taken_skips_them(world: World) -> None:
    world.enqueue("q", [(b"", {"unique": "u1"}), (b"", {"unique": "u2"})])
    for job in world.reserve("q", 2):
        world.fail(job, dead=True)
    world.enqueue("q", 1, unique="u1")
    info = settle(world, world.call("dlq.replay", {"queue": "q", "filter": {}})["chore"])
    assert (info["done"], info["skipped"]) == (1, 1)
    assert world.counts() == {"ready": 2, "dead": 1}


def test_dead_jobs_leave_the_jobs_table(world: World) -> None:
    kill(world, 10)
    assert world.store.count(JOBS) == 0
    assert world.store.count(DEAD) == 10


@pytest.mark.parametrize("op", ["dlq.replay", "dlq.purge"])
@pytest.mark.parametrize(
    "more",
    [
        {"ids": []},
        {"filter": 7},
        {"filter": {"error_type": 7}},
        {"filter": {"older_than_ms": -1}},
        {"filter": {}, "limit": 0},
        {"filter": {}, "rate": 0},
    ],
)
def test_impossible_selections_are_refused(world: World, op: str, more: dict[str, Any]) -> None:
    kill(world, 1)
    with pytest.raises(BadRequest):
        world.call(op, {"queue": "q", **more})
    assert world.counts() == {"dead": 1}


@pytest.mark.parametrize("op", ["dlq.list", "dlq.replay", "dlq.purge"])
@pytest.mark.parametrize("end", ["", "*"])
@pytest.mark.parametrize(
    ("field", "longest", "most"),
    [
        ("error_type", "é" * ERROR_TYPE_CHARS_MAX, ERROR_TYPE_CHARS_MAX),
        ("task", "é" * (TASK_BYTES_MAX // 2) + "e", TASK_BYTES_MAX),
    ],
)
def test_a_filter_is_no_longer_than_what_it_could_match(
    world: World, op: str, end: str, field: str, longest: str, most: int
) -> None:
    [job_id] = kill(world, 1, **{field: longest})

    def asked(text: str) -> dict[str, Any]:
        wanted = {field: text + end}
        return {"queue": "q", **(wanted if op == "dlq.list" else {"filter": wanted})}

    with pytest.raises(BadRequest, match=str(most)) as refused:
        world.call(op, asked(longest + "e"))
    assert refused.value.details == {"field": field, "limit": most}
    assert world.counts() == {"dead": 1}
    found = world.call(op, asked(longest))
    if op == "dlq.list":
        assert [job["id"] for job in found["jobs"]] == [job_id]
    else:
        assert settle(world, found["chore"])["done"] == 1


@pytest.mark.parametrize("op", ["dlq.replay", "dlq.purge"])
def test_so_many_chores_are_at_work_and_the_next_says_so(world: World, op: str) -> None:
    ids = kill(world, 4 * CHORES_RUNNING_MAX)
    slowly = {"queue": "q", "filter": {}, "rate": 0.001}
    running = [world.call(op, slowly)["chore"] for _ in range(CHORES_RUNNING_MAX)]
    for _ in range(2):
        with pytest.raises(TooManyWaiting, match=r"chore\.list") as refused:
            world.call(op, slowly)
        assert refused.value.retryable
        assert refused.value.details == {"limit": CHORES_RUNNING_MAX}
        assert len(world.call("chore.list", {})["chores"]) == CHORES_RUNNING_MAX
        world.crash()
        world.turn()
    assert world.call(op, {"queue": "q", "ids": [ids[-1]]})["outcomes"] == [0]
    world.call("queue.purge", {"queue": "q"})
    world.call("chore.cancel", {"chore": running[0]})
    world.call(op, slowly)
    with pytest.raises(TooManyWaiting):
        world.call(op, slowly)


def kept_of_chores(error_type: str, task: str) -> int:
    """What a hundred chores with such filters leave in memory when they are over, in bytes."""
    world = World()
    kill(world, 1)
    tracemalloc.start()
    for n in range(100):
        wanted = {"error_type": f"{n}{error_type}", "task": f"{n}{task}"}
        world.call("dlq.purge", {"queue": "q", "filter": wanted})
    world.live(1_000)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {chore["state"] for chore in world.call("chore.list", {})["chores"]} == {"finished"}
    return kept


def test_a_chore_that_is_over_forgets_its_filter() -> None:
    assert kept_of_chores("x" * 250, "y" * 250) < kept_of_chores("x", "y") + 10_000
