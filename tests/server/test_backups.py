"""`backup.create` over the wire."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tenure_server import backups
from tenure_storage.backup import backup_to, restore
from tenure_storage.journaled_store import open_journaled
from tests.server.support import body, running


async def test_a_backup_made_while_the_broker_works_restores_what_was_confirmed(
    place: Path,
) -> None:
    store = open_journaled(place / "data", max_bytes=64 << 20)
    async with running({"data_dir": place / "data"}, store=store) as broker:
        wire = await broker.hello()
        ids, _ = await wire.do("enqueue", ["q", [body()] * 100])

        made = await wire.do("backup.create", {"name": "monday"})
        await wire.do("enqueue", ["q", [body()]])

        assert made["path"] == str(place / "data" / "backups" / "monday")
        assert made["bytes"] > 4096
        assert made["ms"] >= 0
        assert broker.hub.counters.backup_at_ms > 0
    store.close()

    restore(Path(made["path"]), place / "restored")
    again = open_journaled(place / "restored", max_bytes=64 << 20)
    async with running(store=again) as broker:
        wire = await broker.hello()
        jobs = await wire.do("reserve", [["q"], 1000, 0])
        assert [job[0] for job in jobs] == ids
    again.close()


async def test_a_backup_without_a_name_is_named_by_the_time(place: Path) -> None:
    store = open_journaled(place / "data", max_bytes=64 << 20)
    settings: dict[str, object] = {"store.backup_dir": place / "copies"}
    async with running(settings, store=store) as broker:
        wire = await broker.hello()

        made = await wire.do("backup.create", {})

        assert Path(made["path"]).parent == place / "copies"
        assert Path(made["path"]).name.startswith("tenure-20")
    store.close()


@pytest.mark.parametrize(
    "name", ["../up", "a/b", "", ".hidden", "UPPER", "x" * 65, "nul\0", "a b", 5, b"bytes", "-x"]
)
async def test_a_name_that_could_be_a_path_is_refused(name: object, place: Path) -> None:
    async with running({"store.backup_dir": place / "copies"}) as broker:
        wire = await broker.hello()

        status, error = await wire.ask("backup.create", {"name": name})

        assert (status, error[0]) == (1, "BAD_REQUEST")
        assert not (place / "copies").exists()


async def test_an_ephemeral_broker_has_nothing_to_back_up() -> None:
    async with running() as broker:
        wire = await broker.hello()

        status, error = await wire.ask("backup.create", {"name": "x"})

        assert (status, error[0]) == (1, "BACKUP_FAILED")


async def test_backups_are_made_one_at_a_time_and_do_not_stop_the_broker(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slowly(*args: Any) -> Any:
        assert go_on.wait(20)
        return backup_to(*args)

    monkeypatch.setattr(backups, "backup_to", slowly)
    store = open_journaled(place / "data", max_bytes=64 << 20)
    async with running({"data_dir": place / "data"}, store=store) as broker:
        wire = await broker.hello()
        first = wire.post("backup.create", {"name": "first"})

        status, error = await wire.ask("backup.create", {"name": "second"})
        assert (status, error[0], error[2]) == (1, "BACKUP_FAILED", True)
        await wire.do("enqueue", ["q", [body()]])

        go_on.set()
        assert (await wire.reply(first))[0] == 0
        assert (await wire.ask("backup.create", {"name": "first"}))[1][0] == "BACKUP_FAILED"
        assert (await wire.do("backup.create", {"name": "second"}))["path"].endswith("second")
    store.close()


async def test_a_backup_that_would_fill_the_disk_is_not_begun(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_journaled(place / "data", max_bytes=64 << 20)
    monkeypatch.setattr(backups, "disk_free_bytes", lambda _: 1 << 20)
    async with running({"data_dir": place / "data"}, store=store) as broker:
        wire = await broker.hello()

        status, error = await wire.ask("backup.create", {"name": "x"})

        assert (status, error[0]) == (1, "BACKUP_FAILED")
        assert "1048576 bytes free" in error[1]
    store.close()


async def test_a_backup_directory_that_cannot_be_written_is_told_and_the_broker_goes_on(
    place: Path,
) -> None:
    store = open_journaled(place / "data", max_bytes=64 << 20)
    (place / "file").write_text("")
    async with running({"store.backup_dir": place / "file"}, store=store) as broker:
        wire = await broker.hello()

        status, error = await wire.ask("backup.create", {"name": "x"})

        assert (status, error[0]) == (1, "BACKUP_FAILED")
        await wire.do("enqueue", ["q", [body()]])
    store.close()
