"""Every state that lands in the store is sound, as `tenure store verify` judges it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenure_storage.lmdb_store import open_lmdb
from tenure_storage.store import DEAD, JOBS, META, STATES, TABLES, Batch
from tenure_storage.verify import Report, verify
from tests.engine.lane_history import History
from tests.engine.test_peek import populated
from tests.support.counting_store import CountingStore
from tests.support.world import World


def verified(store: CountingStore, path: Path) -> Report:
    """What `verify` says of the committed rows of a store."""
    path.mkdir()
    copy = open_lmdb(path, max_bytes=1 << 30)
    batch = Batch(1)
    for table in range(len(TABLES)):
        batch.tables[table].update(store.rows(table))
    copy.commit(batch)
    copy.close()
    return verify(path)


@pytest.mark.parametrize("seed", range(30))
def test_whatever_has_landed_is_sound_at_any_moment(seed: int, tmp_path: Path) -> None:
    history = History(seed)
    history.play(60 + 5 * seed)
    assert verified(history.world.store, tmp_path / "landed").errors == ()
    history.drain()
    assert verified(history.world.store, tmp_path / "drained").errors == ()


def test_jobs_in_every_state_are_sound(world: World, tmp_path: Path) -> None:
    populated(world)
    world.enqueue("q", 3, unique="u", producer=bytes(16), sequence=1)
    assert verified(world.store, tmp_path / "before").errors == ()
    world.crash()
    world.live(40_000)
    report = verified(world.store, tmp_path / "after")
    assert report.errors == ()
    assert report.rows["jobs"] > 10


@pytest.mark.parametrize("op", ["queue.purge", "queue.delete"])
def test_a_store_in_the_middle_of_a_sweep_is_sound(world: World, op: str, tmp_path: Path) -> None:
    populated(world)
    world.enqueue("q", 5_000, unique=None, expires_in_ms=50_000)
    world.call("queue.list", {})
    world.send(op, {"queue": "q", "force": True})
    for step in range(8):
        world.seal()
        world.land()
        world.announce()
        assert verified(world.store, tmp_path / f"step {step}").errors == ()
        world.tick_if_due()


def test_a_queue_that_is_deleted_while_a_replay_is_committed_leaves_nothing_behind(
    world: World, tmp_path: Path
) -> None:
    ids = world.enqueue("q", 2)
    for job in world.reserve("q", 2):
        world.fail(job, dead=True)
    world.send("dlq.replay", {"queue": "q", "ids": ids[:1]})
    world.seal()
    world.send("queue.delete", {"queue": "q", "force": True})
    world.tick_if_due()
    for step in range(2):
        world.land()
        world.announce()
        assert verified(world.store, tmp_path / f"step {step}").errors == ()
        world.seal()
    world.live(5_000)
    assert verified(world.store, tmp_path / "swept").errors == ()
    assert world.store.count(DEAD) == world.store.count(JOBS) == world.store.count(STATES) == 0


def test_memory_queues_that_came_before_and_after_a_restart_are_sound(
    world: World, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        world.create(name, durability="memory")
    world.call("queue.delete", {"queue": "a"})
    world.live(5_000)
    world.crash()
    world.create("c", durability="memory")
    assert verified(world.store, tmp_path / "after").errors == ()


def test_a_harmed_row_is_found_by_verify(world: World, tmp_path: Path) -> None:
    world.enqueue("q", 3)
    assert verified(world.store, tmp_path / "before").sound
    world.store.flip(META, b"batch")
    assert not verified(world.store, tmp_path / "after").sound
