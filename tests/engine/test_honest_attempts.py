"""Promise 6: only failures, timeouts and lost leases use up attempts; each is counted apart."""

from __future__ import annotations

from tests.support.world import World

COUNTERS = ("failures", "timeouts", "lost", "released")


def counters(world: World, job_id: bytes) -> dict[str, int]:
    info = world.get(job_id)
    return {name: info[name] for name in COUNTERS if info[name]}


def test_a_release_uses_up_nothing_however_often(world: World) -> None:
    [job_id] = world.enqueue("q", 1, max_attempts=1)
    for _ in range(30):
        world.release(world.reserve_one())
    job = world.reserve_one()
    assert (job.attempt, job.used) == (31, 0)
    assert counters(world, job_id) == {"released": 30}


def test_a_snooze_uses_up_nothing(world: World) -> None:
    [job_id] = world.enqueue("q", 1, max_attempts=1)
    for _ in range(5):
        world.release(world.reserve_one(), 60_000)
        assert world.reserve("q") == []
        world.pass_time(60_000)
    job = world.reserve_one()
    assert (job.attempt, job.used) == (6, 0)
    assert counters(world, job_id) == {"released": 5}


def test_a_goodbye_uses_up_nothing(world: World) -> None:
    [job_id] = world.enqueue("q", 1, max_attempts=1)
    for _ in range(3):
        world.reserve_one()
        world.call("goodbye", [None])
        world.disconnect("worker")
    job = world.reserve_one()
    assert (job.attempt, job.used) == (4, 0)
    assert world.state(job_id) == "leased"


def test_a_broker_restart_uses_up_nothing(world: World) -> None:
    world.enqueue("q", 1, max_attempts=1)
    job = world.reserve_one()
    for _ in range(5):
        world.crash()
    assert world.get(job.id)["lost"] == 0
    world.ack(job)


def test_failures_timeouts_and_lost_leases_are_counted_apart(world: World) -> None:
    world.create(poison_after=0, retry=["fixed", 0, 0.0])
    [job_id] = world.enqueue("q", 1, max_attempts=100)
    world.fail(world.reserve_one())
    world.fail(world.reserve_one(), kind="timeout")
    world.fail(world.reserve_one(), kind="timeout")
    for _ in range(3):
        world.reserve_one()
        world.pass_time(30_000)
    for _ in range(4):
        world.release(world.reserve_one())
    expected = {"failures": 1, "timeouts": 2, "lost": 3, "released": 4}
    assert counters(world, job_id) == expected
    world.crash()
    assert counters(world, job_id) == expected
    job = world.reserve_one()
    assert (job.attempt, job.used) == (11, 6)


def test_the_attempts_of_all_causes_together_are_bounded_by_max_attempts(world: World) -> None:
    world.create(poison_after=0, retry=["fixed", 0, 0.0])
    [job_id] = world.enqueue("q", 1, max_attempts=3)
    world.fail(world.reserve_one())
    world.fail(world.reserve_one(), kind="timeout")
    assert world.state(job_id) == "ready"
    world.reserve_one()
    world.pass_time(30_000)
    info = world.get(job_id)
    assert (info["state"], info["reason"]) == ("dead", "attempts")


def test_exactly_max_attempts_failures_kill_a_job(world: World) -> None:
    [job_id] = world.enqueue("q", 1, max_attempts=4)
    for used in range(3):
        job = world.reserve_one()
        assert (job.used, job.max_attempts) == (used, 4)
        assert world.fail(job, retry_in_ms=0)["state"] == "retrying"
    answer = world.fail(world.reserve_one())
    assert (answer["state"], answer["reason"]) == ("dead", "attempts")
    assert world.state(job_id) == "dead"
    assert world.reserve("q") == []


def test_five_attempts_unless_told_otherwise(world: World) -> None:
    world.enqueue("q", 1)
    for _ in range(4):
        assert world.fail(world.reserve_one(), retry_in_ms=0)["state"] == "retrying"
    assert world.fail(world.reserve_one(), retry_in_ms=0)["state"] == "dead"


def test_a_job_whose_worker_vanishes_three_times_is_poison(world: World) -> None:
    [job_id] = world.enqueue("q", 1, max_attempts=100)
    for _ in range(3):
        assert world.state(job_id) == "ready"
        world.reserve_one()
        world.pass_time(30_000)
    info = world.get(job_id)
    assert (info["state"], info["reason"], info["lost"]) == ("dead", "poison", 3)
    assert world.reserve("q") == []


def test_poison_is_counted_across_restarts(world: World) -> None:
    [job_id] = world.enqueue("q", 1, max_attempts=100)
    for _ in range(3):
        world.reserve_one()
        world.pass_time(29_000)
        world.crash()
        world.pass_time(30_000)
    assert world.get(job_id)["reason"] == "poison"


def test_poison_is_of_lost_leases_only(world: World) -> None:
    [job_id] = world.enqueue("q", 1, max_attempts=100)
    for _ in range(6):
        world.fail(world.reserve_one(), retry_in_ms=0)
        world.release(world.reserve_one())
    assert world.state(job_id) == "ready"


def test_the_poison_limit_is_the_queues(world: World) -> None:
    world.create("one", poison_after=1)
    world.create("never", poison_after=0)
    [one] = world.enqueue("one", 1, max_attempts=100)
    [never] = world.enqueue("never", 1, max_attempts=100)
    for _ in range(20):
        world.reserve(["one", "never"], 2)
        world.pass_time(30_000)
    assert world.get(one)["reason"] == "poison"
    assert world.state(never) == "ready"
    assert world.get(never)["lost"] == 20


def test_counters_survive_every_kind_of_settlement_and_a_crash(world: World) -> None:
    [job_id] = world.enqueue("q", 1, max_attempts=50)
    world.fail(world.reserve_one(), retry_in_ms=5_000)
    world.crash()
    world.pass_time(5_000)
    world.release(world.reserve_one(), 5_000)
    world.crash()
    world.pass_time(5_000)
    world.reserve_one()
    world.crash()
    world.turn()
    world.pass_time(30_000)
    assert counters(world, job_id) == {"failures": 1, "released": 1, "lost": 1}
    assert world.get(job_id)["attempt"] == 3
