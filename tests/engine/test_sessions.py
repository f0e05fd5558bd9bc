"""Sessions: goodbye gives back at once, a broken connection keeps its leases, resume adopts them."""

from __future__ import annotations

import pytest

from tenure_protocol.errors import LeaseLost
from tests.support.world import World


def test_a_goodbye_gives_all_leases_back_at_once(world: World) -> None:
    ids = world.enqueue("q", 5)
    world.reserve("q", 3)
    other = world.reserve_one(who="other")
    assert world.call("goodbye", [None]) == {"released": 3}
    assert world.counts() == {"ready": 4, "leased": 1}
    assert [job.id for job in world.reserve("q", 9, who="next")] == [*ids[:3], ids[4]]
    world.ack(other, who="other")


def test_a_goodbye_keeps_the_leases_it_names(world: World) -> None:
    world.enqueue("q", 3)
    a, b, _c = world.reserve("q", 3)
    assert world.call("goodbye", [[[b.id, b.attempt]]]) == {"released": 2}
    world.disconnect("worker")
    assert world.state(b.id) == "leased"
    assert world.state(a.id) == "ready"
    world.open("worker")
    world.ack(b)


def test_a_goodbye_is_answered_when_the_releases_are_durable(world: World) -> None:
    world.enqueue("q", 1)
    world.reserve_one()
    request = world.send("goodbye", [None])
    assert not world.answered(request)
    world.seal()
    world.land()
    assert not world.answered(request)
    world.announce()
    assert world.result(request) == {"released": 1}


def test_a_goodbye_without_leases_is_answered(world: World) -> None:
    assert world.call("goodbye", []) == {"released": 0}


def test_what_a_goodbye_gives_back_goes_to_a_waiting_reserve(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    request = world.send_reserve("q", wait_ms=60_000, who="other")
    world.turn()
    world.call("goodbye", [None])
    assert [got.id for got in world.jobs_of(request)] == [job.id]


def test_a_goodbye_ends_its_own_waiting_reserves(world: World) -> None:
    world.create()
    world.send_reserve("q", wait_ms=60_000)
    world.turn()
    world.call("goodbye", [None])
    world.disconnect("worker")
    [job_id] = world.enqueue("q", 1)
    assert world.state(job_id) == "ready"


def test_a_broken_connection_keeps_its_leases_until_they_run_out(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    world.disconnect("worker")
    world.pass_time(29_999)
    assert world.state(job.id) == "leased"
    world.pass_time(1)
    assert world.state(job.id) == "ready"


def test_a_resumed_session_holds_its_leases_again(world: World) -> None:
    world.enqueue("q", 2)
    a, b = world.reserve("q", 2)
    world.disconnect("worker")
    session = world.open("worker", resume=True)
    assert session.resumed
    world.ack(a)
    assert world.call("goodbye", [None]) == {"released": 1}
    assert world.state(b.id) == "ready"


def test_a_session_resumes_after_a_broker_restart(world: World) -> None:
    world.enqueue("q", 2)
    a, _b = world.reserve("q", 2)
    session_id = world.session_ids["worker"]
    world.crash()
    session = world.open("worker", resume=True)
    assert session.resumed
    assert session.id == session_id
    world.ack(a)
    assert world.call("goodbye", [None]) == {"released": 1}
    assert world.counts() == {"ready": 1}


def test_a_session_without_leases_has_nothing_to_resume(world: World) -> None:
    world.session("worker")
    world.disconnect("worker")
    assert not world.open("worker", resume=True).resumed


def test_a_session_id_nobody_had_is_not_resumed(world: World) -> None:
    session = world.engine.open_session(b"\x01" * 8, "stranger", "x:1", world.now)
    assert not session.resumed


def test_sessions_get_ids_of_their_own(world: World) -> None:
    ids = {world.session(f"c{n}").id for n in range(100)}
    assert len(ids) == 100
    assert all(len(session_id) == 8 for session_id in ids)
    assert world.engine.session_count == 100


def test_two_connections_of_one_session_do_not_end_each_others_waits(world: World) -> None:
    """A client reconnects before the broker noticed that the old connection is dead."""
    world.enqueue("q", 1)
    job = world.reserve_one()
    old = world.sessions["worker"]
    world.open("worker", resume=True)
    request = world.send_reserve("q", wait_ms=60_000)
    world.turn()
    world.engine.close_session(old, world.now)
    world.turn()
    world.enqueue("q", 1)
    assert len(world.jobs_of(request)) == 1
    world.ack(job)


def test_the_worker_that_holds_a_job_is_shown(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one(who="mailer-3")
    info = world.get(job.id)
    assert (info["worker"], info["leased_until_ms"]) == ("mailer-3", world.wall_ms + 30_000)
    world.release(job)
    assert (world.get(job.id)["worker"], world.get(job.id)["leased_until_ms"]) == (None, None)


def test_a_lease_that_ran_out_is_not_adopted(world: World) -> None:
    world.enqueue("q", 1)
    job = world.reserve_one()
    world.disconnect("worker")
    world.pass_time(30_000)
    assert not world.open("worker", resume=True).resumed
    with pytest.raises(LeaseLost):
        world.ack(job)
