"""The leases of one reserve share a row of the store, and each of them is exact all the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tenure_protocol.errors import LeaseLost
from tenure_storage.lease_layout import BundleRow, LeaseRow, unpack_lease
from tenure_storage.store import LEASES
from tests.support.wire_jobs import Leased
from tests.support.world import World

JOBS_PER_ROW = 100


def rows(world: World) -> list[LeaseRow | BundleRow]:
    """What the store says of leases."""
    return [unpack_lease(key, row) for key, row in world.store.rows(LEASES).items()]


def named(world: World) -> list[int]:
    """How many jobs the rows of several name."""
    return [len(row.ids) for row in rows(world) if isinstance(row, BundleRow)]


def acked(world: World, jobs: list[Leased]) -> None:
    assert world.call("ack", [[[job.id, job.attempt] for job in jobs]]) == [0] * len(jobs)


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [(2, [2]), (JOBS_PER_ROW, [100]), (JOBS_PER_ROW + 2, [100, 2]), (250, [100, 100, 50])],
)
def test_the_jobs_of_one_reserve_have_one_row_for_every_hundred(
    world: World, jobs: int, expected: list[int]
) -> None:
    ids = world.enqueue("q", jobs)
    assert [job.id for job in world.reserve("q", jobs)] == ids
    assert named(world) == expected
    assert [
        job_id for row in rows(world) if isinstance(row, BundleRow) for job_id in row.ids
    ] == ids
    assert world.engine.lease_count == jobs


@pytest.mark.parametrize("jobs", [1, JOBS_PER_ROW + 1])
def test_a_job_alone_has_a_row_of_its_own(world: World, jobs: int) -> None:
    ids = world.enqueue("q", jobs)
    world.reserve("q", jobs)
    [own] = [row for row in rows(world) if isinstance(row, LeaseRow)]
    assert (own.id, own.attempt) == (ids[-1], 1)


def test_jobs_with_leases_of_different_lengths_are_in_different_rows(world: World) -> None:
    lengths = [1_000, 2_000, 1_000, 2_000, 1_000]
    world.enqueue("q", [(b"job", {"lease_ms": lease_ms}) for lease_ms in lengths])
    assert [job.lease_ms for job in world.reserve("q", 5)] == lengths
    assert sorted(named(world)) == [2, 3]
    world.pass_time(1_000)
    assert [job.lease_ms for job in world.reserve("q", 5)] == [1_000] * 3


def test_the_row_goes_with_the_last_of_its_jobs(world: World) -> None:
    world.enqueue("q", 10)
    jobs = world.reserve("q", 10)
    for job in jobs[:-1]:
        acked(world, [job])
        assert len(rows(world)) == 1
    acked(world, jobs[-1:])
    assert rows(world) == []


def test_a_row_of_which_little_is_left_becomes_short(world: World) -> None:
    world.enqueue("q", JOBS_PER_ROW)
    jobs = world.reserve("q", JOBS_PER_ROW)
    acked(world, jobs[:74])
    assert named(world) == [100]
    acked(world, jobs[74:75])
    assert named(world) == [25]
    acked(world, jobs[75:-1])
    assert named(world) == [1]
    world.crash()
    assert world.engine.lease_count == 1
    assert world.extend(jobs[-1]) == {}
    acked(world, jobs[-1:])
    assert rows(world) == []


def test_jobs_of_several_rows_are_acked_in_any_order(world: World) -> None:
    world.enqueue("q", 300)
    jobs = [job for _ in range(3) for job in world.reserve("q", 100)]
    mixed = [
        job for three in zip(jobs[:100], jobs[100:200], jobs[200:], strict=True) for job in three
    ]
    acked(world, mixed[:150])
    assert (world.engine.lease_count, named(world)) == (150, [100, 100, 100])
    acked(world, mixed[150:])
    assert (world.engine.lease_count, rows(world)) == (0, [])
    assert world.queue()["bytes"] == 0


LEAVE: dict[str, Callable[[World, Leased], object]] = {
    "fail": lambda world, job: world.fail(job, retry_in_ms=5_000),
    "release": lambda world, job: world.release(job),
    "release with a delay": lambda world, job: world.release(job, 5_000),
    "die": lambda world, job: world.fail(job, dead=True),
}


@pytest.mark.parametrize("how", LEAVE)
def test_after_a_restart_only_what_was_leased_is_leased(world: World, how: str) -> None:
    world.enqueue("q", 9)
    jobs = world.reserve("q", 9)
    for job in jobs[::2]:
        LEAVE[how](world, job)
    world.crash()
    assert world.engine.lease_count == 4
    for job in jobs[::2]:
        with pytest.raises(LeaseLost):
            world.ack(job)
    for job in jobs[1::2]:
        assert world.ack(job) == {}
    assert rows(world) == []


STAY: dict[str, Callable[[World, Leased], object]] = {
    "extend to another length": lambda world, job: world.extend(job, 60_000),
    "note": lambda world, job: world.call("note", [[[job.id, 1, {"checkpoint": b"half"}]]]),
    "be asked to end": lambda world, job: world.cancel(job.id),
}


@pytest.mark.parametrize("how", STAY)
def test_a_lease_with_more_to_say_gets_a_row_of_its_own(world: World, how: str) -> None:
    world.enqueue("q", 4)
    jobs = world.reserve("q", 4)
    for job in jobs[:2]:
        STAY[how](world, job)
    own = [row for row in rows(world) if isinstance(row, LeaseRow)]
    assert [row.id for row in own] == [job.id for job in jobs[:2]]
    world.crash()
    assert world.engine.lease_count == 4
    for job in jobs[1:]:
        assert world.ack(job) == {}
    assert [row.id for row in rows(world) if isinstance(row, LeaseRow)] == [jobs[0].id]
    assert world.ack(jobs[0]) == {}
    assert (rows(world), world.engine.lease_count) == ([], 0)


def test_an_extension_by_the_same_time_writes_nothing(world: World) -> None:
    world.enqueue("q", 3)
    jobs = world.reserve("q", 3)
    batches = world.batches
    for job in jobs:
        assert world.extend(job, 30_000) == {}
    assert (world.batches, named(world)) == (batches, [3])
    world.pass_time(29_999)
    assert world.engine.lease_count == 3


def test_leases_that_run_out_leave_their_row(world: World) -> None:
    world.enqueue("q", 5)
    jobs = world.reserve("q", 5)
    world.pass_time(20_000)
    world.extend(jobs[2])
    world.pass_time(10_000)
    assert world.counts() == {"leased": 1, "ready": 4}
    world.crash()
    assert world.counts() == {"leased": 1, "ready": 4}
    assert world.ack(jobs[2]) == {}
    assert rows(world) == []


def test_a_listing_of_leased_jobs_keeps_to_its_pages(world: World) -> None:
    ids = world.enqueue("q", 25)
    world.reserve("q", 20)
    world.reserve("q", 1)
    world.reserve("q", 4)
    pages: list[list[bytes]] = []
    cursor: object = None
    while True:
        asked = {"queue": "q", "state": "leased", "limit": 6, "cursor": cursor}
        page = world.call("peek", asked)
        pages.append([job["id"] for job in page["jobs"]])
        cursor = page["cursor"]
        if cursor is None:
            break
    assert all(len(page) <= 6 for page in pages)
    assert [job_id for page in pages for job_id in page] == ids


def test_what_was_taken_in_one_go_is_given_back_when_its_queue_is_deleted(world: World) -> None:
    world.enqueue("q", 5)
    world.reserve("q", 5)
    world.call("queue.delete", {"queue": "q", "force": True})
    assert rows(world) == []
    assert world.engine.lease_count == 0
