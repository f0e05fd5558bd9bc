"""How full a store is, when enqueues stop, and the reserve that keeps the way out open."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenure_storage.capacity import (
    GIB,
    MIB,
    RESERVE_NAME,
    CapacityGuard,
    Level,
    default_max_bytes,
    disk_free_bytes,
    hold_reserve,
    map_bytes_for,
    next_level,
    release_reserve,
    reserve_bytes_for,
)
from tenure_storage.store import JOBS, StoreSizes
from tests.storage.sample import batch, jobs_batch, open_small

FLOOR = 10 * MIB
PLENTY = 100 * GIB


def sizes(used: int) -> StoreSizes:
    return StoreSizes(used, used, 1000, 4000, 0, 0, ())


def level(used: int, before: Level, free: int = PLENTY) -> Level:
    return next_level(sizes(used), disk_free=free, disk_floor_bytes=FLOOR, before=before)


@pytest.mark.parametrize(
    ("used", "before", "after"),
    [
        (0, "ok", "ok"),
        (799, "ok", "ok"),
        (800, "ok", "warn"),
        (750, "warn", "warn"),
        (749, "warn", "ok"),
        (999, "warn", "warn"),
        (1000, "ok", "full"),
        (1000, "warn", "full"),
        (950, "full", "full"),
        (949, "full", "warn"),
        (950, "warn", "warn"),
        (749, "full", "ok"),
    ],
)
def test_the_level_follows_what_is_used_and_does_not_flutter(
    used: int, before: Level, after: Level
) -> None:
    assert level(used, before) == after


@pytest.mark.parametrize(
    ("floors", "before", "after"),
    [
        (2.0, "ok", "ok"),
        (1.99, "ok", "warn"),
        (2.49, "warn", "warn"),
        (2.5, "warn", "ok"),
        (0.99, "warn", "full"),
        (1.0, "warn", "warn"),
        (1.49, "full", "full"),
        (1.5, "full", "warn"),
        (3.0, "full", "ok"),
    ],
)
def test_the_level_follows_the_free_disk_too(floors: float, before: Level, after: Level) -> None:
    assert level(0, before, int(floors * FLOOR)) == after


def test_a_small_store_and_a_large_one_get_a_map_with_headroom() -> None:
    assert map_bytes_for(64 * MIB) == GIB
    assert map_bytes_for(100 * GIB) == 400 * GIB
    for max_bytes in (1, 64 * MIB, GIB, 10_000 * GIB, 1 << 45):
        assert map_bytes_for(max_bytes) >= max_bytes + max_bytes // 4 + 64 * MIB


def test_the_reserve_is_a_share_within_bounds() -> None:
    assert reserve_bytes_for(GIB) == 64 * MIB
    assert reserve_bytes_for(20 * GIB) == 20 * GIB // 100
    assert reserve_bytes_for(1000 * GIB) == 256 * MIB


def test_the_default_capacity_is_a_share_of_the_disk_with_what_the_store_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenure_storage.capacity.disk_free_bytes", lambda _: 10 * GIB)
    assert default_max_bytes(tmp_path) == 8 * GIB
    hold_reserve(tmp_path, 20 * MIB)
    assert default_max_bytes(tmp_path) == pytest.approx(8 * GIB + 16 * MIB, abs=MIB)


def test_free_disk_is_known_before_the_data_directory_is_there(tmp_path: Path) -> None:
    assert disk_free_bytes(tmp_path / "not" / "yet") > 0


def test_the_reserve_takes_real_disk_and_gives_it_back(tmp_path: Path) -> None:
    assert hold_reserve(tmp_path, 4 * MIB)
    reserve = tmp_path / RESERVE_NAME
    assert reserve.stat().st_blocks * 512 >= 4 * MIB
    assert reserve.stat().st_size == 4 * MIB
    assert reserve.stat().st_mode & 0o777 == 0o600

    assert release_reserve(tmp_path) >= 4 * MIB
    assert not reserve.exists()
    assert release_reserve(tmp_path) == 0


def test_a_reserve_that_does_not_fit_is_not_held_in_part(tmp_path: Path) -> None:
    assert not hold_reserve(tmp_path, 1 << 50)
    assert not (tmp_path / RESERVE_NAME).exists()


def test_a_full_disk_releases_the_reserve_and_stays_full_until_there_is_room(
    tmp_path: Path,
) -> None:
    reserve = 2 * MIB
    guard = CapacityGuard(tmp_path, reserve_bytes=reserve)
    assert guard.update(sizes(0), disk_free=PLENTY) == "ok"
    assert (tmp_path / RESERVE_NAME).exists()

    assert guard.update(sizes(0), disk_free=reserve - 1) == "full"
    assert not (tmp_path / RESERVE_NAME).exists()
    # The reserve is free now, but it is owed: it does not end the alarm.
    assert guard.update(sizes(0), disk_free=2 * reserve - 1) == "full"
    assert guard.update(sizes(0), disk_free=2 * reserve + reserve // 2 - 1) == "full"
    assert guard.update(sizes(0), disk_free=2 * reserve + reserve // 2) == "warn"
    assert not (tmp_path / RESERVE_NAME).exists()
    assert guard.update(sizes(0), disk_free=3 * reserve + reserve // 2) == "ok"
    assert (tmp_path / RESERVE_NAME).exists()


def test_a_full_store_on_a_roomy_disk_keeps_its_reserve(tmp_path: Path) -> None:
    guard = CapacityGuard(tmp_path, reserve_bytes=MIB)
    guard.update(sizes(0), disk_free=PLENTY)

    assert guard.update(sizes(1000), disk_free=PLENTY) == "full"
    assert (tmp_path / RESERVE_NAME).exists()


def test_a_reserve_is_recognised_after_a_restart(tmp_path: Path) -> None:
    CapacityGuard(tmp_path, reserve_bytes=MIB).update(sizes(0), disk_free=PLENTY)
    guard = CapacityGuard(tmp_path, reserve_bytes=MIB)

    assert guard.holds_reserve
    assert guard.update(sizes(0), disk_free=MIB + MIB // 2) == "warn"


def test_a_refused_reserve_is_not_asked_for_at_every_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def refuse(path: Path, reserve_bytes: int) -> bool:
        asked.append(reserve_bytes)
        return False

    monkeypatch.setattr("tenure_storage.capacity.hold_reserve", refuse)
    guard = CapacityGuard(tmp_path, reserve_bytes=MIB)
    for _ in range(5):
        guard.update(sizes(0), disk_free=10 * MIB)
    assert len(asked) == 1
    guard.update(sizes(0), disk_free=11 * MIB + 1)
    assert len(asked) == 2


def test_used_bytes_fall_when_jobs_are_deleted_though_the_file_does_not_shrink(
    tmp_path: Path,
) -> None:
    store = open_small(tmp_path)
    store.commit(jobs_batch(0, 20_000))
    full = store.sizes()
    made = jobs_batch(0, 20_000, number=2)
    store.commit(batch(*((JOBS, key, None) for key in made.tables[JOBS])))
    store.commit(jobs_batch(0, 1, number=3))
    after = store.sizes()
    store.close()

    assert full.used_bytes > 20_000 * 160
    assert after.used_bytes < full.used_bytes // 20
    assert after.file_bytes >= full.file_bytes
    assert after.free_pages > 700


def test_a_store_above_its_capacity_still_settles_jobs(tmp_path: Path) -> None:
    store = open_small(tmp_path)
    number = 0
    while (
        next_level(store.sizes(), disk_free=PLENTY, disk_floor_bytes=FLOOR, before="ok") != "full"
    ):
        store.commit(jobs_batch(number * 20, 20, number=number, value=b"x" * 100_000))
        number += 1
    used = store.sizes().used_bytes
    keys = [key for key, _ in store.scan(JOBS, b"", b"\xff" * 17, 1 << 20, 1 << 40)]
    for key in keys[::3]:
        store.commit(batch((JOBS, key, None)))

    assert store.sizes().used_bytes < used * 3 // 4
    store.close()
