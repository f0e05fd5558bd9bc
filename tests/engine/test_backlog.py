"""Bounded work: memory is O(windows + leases), a restart is O(leases + non-empty lanes)."""

from __future__ import annotations

import pytest

from tenure_protocol.wire import pack
from tenure_storage.store import JOBS, LANES, LEASES, STATES, TABLES
from tests.support.counting_store import CountingStore
from tests.support.wire_jobs import body
from tests.support.world import DAY_MS, HOUR_MS, SECOND_MS, World

BACKLOG = 200_000
CHUNK = 10_000
WINDOW_BYTES = 1_000_000


def filled() -> CountingStore:
    """200,000 jobs in one queue: ready, delayed and retrying, in three priorities."""
    world = World(window_bytes_max=WINDOW_BYTES)
    world.create(retry=["fixed", DAY_MS, 0.5])
    bodies = [body(b"x" * 60)] * CHUNK
    for n in range(BACKLOG // CHUNK):
        kind = n % 4
        options: dict[str, object] = {"priority": (0, 128, 255)[n % 3]}
        if kind == 1:
            options["delay_ms"] = HOUR_MS + n
        world.engine.execute(
            world.session("p"), n + 10**6, "enqueue", ["q", bodies, None, None, options], world.now
        )
        sealed = world.engine.seal(world.now)
        assert sealed is not None
        world.store.commit(sealed.batch)
        world.engine.announce(world.now)
        world.engine.take_instant()
        if kind == 2:
            retry(world)
        window = world.engine.stats(world.now)["window_bytes"]
        assert isinstance(window, int)
        assert window <= WINDOW_BYTES
    return world.store


def retry(world: World) -> None:
    """Fails a few thousand jobs, so that they wait for another attempt."""
    for _ in range(3):
        jobs = world.reserve("q", 1_000)
        world.call("fail", [[[job.id, job.attempt, None] for job in jobs]])


@pytest.fixture(scope="module")
def backlog() -> CountingStore:
    return filled()


@pytest.fixture
def restarted(backlog: CountingStore) -> World:
    store = backlog.copy()
    return World(store=store, window_bytes_max=WINDOW_BYTES)


def window_bytes(world: World) -> int:
    window = world.engine.stats(world.now)["window_bytes"]
    assert isinstance(window, int)
    return window


def test_a_restart_reads_no_jobs_and_little_else(restarted: World) -> None:
    store = restarted.store
    assert store.scans[JOBS] == 0
    assert store.gets[JOBS] == 0
    assert store.rows_scanned[STATES] == 0
    assert store.rows_scanned[LANES] == 3
    read = sum(store.gets) + sum(store.rows_scanned)
    assert read <= 60, dict(zip(TABLES, store.rows_scanned, strict=True))
    assert window_bytes(restarted) == 0


def test_counts_are_known_after_a_restart_without_reading_jobs(restarted: World) -> None:
    counts = restarted.counts()
    assert sum(counts.values()) == BACKLOG
    assert counts["scheduled"] == 50_000
    assert counts["retrying"] == 15_000
    assert restarted.store.rows_scanned[JOBS] <= 4_096


def test_the_first_reserve_reads_a_window_and_not_the_backlog(restarted: World) -> None:
    [job] = restarted.reserve("q", 1)
    assert job.id[4] == 0
    assert restarted.store.rows_scanned[JOBS] <= 4_096
    assert window_bytes(restarted) <= WINDOW_BYTES


def test_leases_are_what_a_restart_reads(restarted: World) -> None:
    for _ in range(3):
        restarted.reserve("q", 1_000)
    restarted.store.reset_counters()
    restarted.crash()
    assert restarted.store.rows_scanned[JOBS] == 0
    assert 30 <= restarted.store.rows_scanned[LEASES] <= 40
    assert restarted.engine.lease_count == 3_000


def test_windows_stay_bounded_while_the_backlog_is_worked_off(restarted: World) -> None:
    restarted.store.reset_counters()
    for _ in range(20):
        jobs = restarted.reserve("q", 1_000)
        assert len(jobs) == 1_000
        restarted.call("ack", [[[job.id, job.attempt] for job in jobs]])
        assert window_bytes(restarted) <= WINDOW_BYTES
    # Each job is read about once: what a window gave up is read again, no more.
    assert restarted.store.rows_scanned[JOBS] <= 3 * 20_000


def test_what_is_read_ahead_of_a_queue_grows_with_its_use(restarted: World) -> None:
    restarted.store.reset_counters()
    for _ in range(20):
        jobs = restarted.reserve("q", 1_000)
        restarted.call("ack", [[[job.id, job.attempt] for job in jobs]])
    assert restarted.store.scans[JOBS] <= 20 + 20_000 // 300


def test_among_many_long_queues_little_is_read_for_a_job_of_each() -> None:
    world = World(window_bytes_max=500_000)
    queues = [f"q{n}" for n in range(60)]
    for queue in queues:
        world.enqueue(queue, [bytes(40)] * 300)
    world.crash()
    world.store.reset_counters()
    for _ in range(3):
        for queue in queues:
            assert len(world.reserve(queue, 1)) == 1
    assert window_bytes(world) <= 500_000
    assert world.store.rows_scanned[JOBS] <= 3 * 60 * 64


def test_delayed_jobs_that_come_due_are_counted_once_each(restarted: World) -> None:
    restarted.store.reset_counters()
    restarted.pass_time(HOUR_MS + SECOND_MS)
    for _ in range(200):
        restarted.pass_time(1)
        restarted.queue()
    counts = restarted.counts()
    assert (counts["ready"], counts["retrying"]) == (BACKLOG - 15_000, 15_000)
    assert restarted.store.rows_scanned[JOBS] <= 2 * 50_000
    assert window_bytes(restarted) <= WINDOW_BYTES


def test_looking_at_the_queue_again_and_again_reads_nothing(restarted: World) -> None:
    restarted.queue()
    restarted.store.reset_counters()
    for _ in range(100):
        restarted.pass_time(10)
        restarted.queue()
    assert restarted.store.rows_scanned[JOBS] <= 300
    assert sum(restarted.store.gets) <= 300


def test_many_empty_queues_cost_no_window(world: World) -> None:
    for n in range(500):
        world.create(f"q{n}")
    world.crash()
    assert window_bytes(world) == 0
    assert world.reserve([f"q{n}" for n in range(200)], 10) == []
    assert world.store.rows_scanned[JOBS] == 0


def test_a_large_job_does_not_make_a_window_of_large_jobs() -> None:
    world = World(window_bytes_max=2_000_000)
    for _ in range(30):
        world.enqueue("q", [bytes(500_000)])
    world.crash()
    for _ in range(30):
        [job] = world.reserve("q", 1)
        assert window_bytes(world) <= 2_600_000
        world.ack(job)


def test_a_reply_to_a_reserve_is_bounded_in_bytes(world: World) -> None:
    world.enqueue("q", [bytes(1_000_000)] * 12)
    seen = 0
    while seen < 12:
        jobs = world.reserve("q", 100)
        assert jobs
        size = len(pack([list(job) for job in jobs]))
        assert size < 12_000_000
        seen += len(jobs)
    assert seen == 12
