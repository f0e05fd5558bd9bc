"""The model of the disk: what a power cut may take, and what it may not."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.power.disk import CannotFollow, Disk
from tests.power.images import Choice, choices_at, content
from tests.power.trace import BEGIN, CREATE, DSYNC, END, SHARED_WRITE, Event, Op

NONE = Choice("none", 0, "late")
ALL = Choice("all", 0, "early")


class Player:
    """Plays calls to a disk that begins empty."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.disk = Disk(root)
        self._tokens = itertools.count(1)

    def call(self, op: Op, *, result: int = 0, fd: int = -1, **fields: Any) -> None:
        token = next(self._tokens)
        self.begin(op, token, fd=fd, **fields)
        self.end(op, token, result=result, fd=result if op == Op.OPEN else fd)

    def begin(self, op: Op, token: int, **fields: Any) -> None:
        self.disk.feed(self._event(op, BEGIN, token, **fields))

    def end(self, op: Op, token: int, **fields: Any) -> None:
        self.disk.feed(self._event(op, END, token, **fields))

    def _event(self, op: Op, phase: int, token: int, **fields: Any) -> Event:
        blank = Event(op, phase, 0, 1, -1, 0, 0, token, 0, 0, 0, "", "", b"")
        return blank._replace(**fields)

    def open(self, name: str, fd: int, flags: int = CREATE) -> None:
        self.call(Op.OPEN, result=fd, flags=flags, path=str(self.root / name))

    def write(self, fd: int, at: int, data: bytes, flags: int = 0) -> None:
        self.call(Op.WRITE, result=len(data), fd=fd, offset=at, data=data, flags=flags)

    def sync(self, fd: int, result: int = 0) -> None:
        self.call(Op.SYNC, fd=fd, result=result)

    def sync_root(self) -> None:
        self.open("", 99, 0)
        self.sync(99)

    def left(self, choice: Choice) -> dict[str, bytes | None]:
        return content(self.disk, choice)


@pytest.fixture
def player(tmp_path: Path) -> Player:
    return Player(tmp_path)


def test_what_was_synced_stays_and_the_rest_may_go(player: Player) -> None:
    player.open("a", 3)
    player.sync_root()
    player.write(3, 0, b"one")
    player.sync(3)
    player.write(3, 3, b"two")

    assert player.left(NONE) == {"a": b"one"}
    assert player.left(ALL) == {"a": b"onetwo"}


def test_a_write_that_ends_after_the_sync_began_is_not_covered(player: Player) -> None:
    player.open("a", 3)
    player.sync_root()
    player.begin(Op.WRITE, 500, fd=3, offset=0, data=b"one")
    player.begin(Op.SYNC, 501, fd=3)
    player.end(Op.WRITE, 500, fd=3, result=3)
    player.end(Op.SYNC, 501, fd=3)

    assert player.left(NONE) == {"a": b""}


def test_a_name_is_there_for_sure_once_its_directory_was_synced(player: Player) -> None:
    player.open("a", 3)
    player.write(3, 0, b"one")
    player.sync(3)
    assert player.left(NONE) == {}
    player.sync_root()
    assert player.left(NONE) == {"a": b"one"}


def test_a_rename_is_whole_or_not_at_all(player: Player) -> None:
    player.open("new", 3)
    player.open("old", 4)
    player.sync_root()
    player.call(Op.RENAME, path=str(player.root / "new"), other=str(player.root / "old"))

    assert set(player.left(NONE)) == {"new", "old"}
    assert set(player.left(ALL)) == {"old"}


def test_a_write_with_o_dsync_is_durable_alone(player: Player) -> None:
    player.open("a", 3)
    player.sync_root()
    player.write(3, 0, b"page")
    player.write(3, 8, b"meta", DSYNC)

    assert player.left(NONE) == {"a": b"\0" * 8 + b"meta"}


def test_a_sync_after_one_that_failed_brings_nothing_back(player: Player) -> None:
    player.open("a", 3)
    player.sync_root()
    player.write(3, 0, b"one")
    player.sync(3, result=-1)
    player.sync(3)

    assert player.left(NONE) == {"a": b""}


def test_a_torn_write_has_whole_sectors(player: Player) -> None:
    player.open("a", 3)
    player.sync_root()
    player.write(3, 0, bytes([1]) * 4096)
    torn = set()
    for choice in choices_at(player.disk, 1, 60):
        data = player.left(choice).get("a") or b""
        sectors = [data[at : at + 512] for at in range(0, len(data), 512)]
        assert all(len(set(sector)) == 1 for sector in sectors)
        torn.add(data)

    assert len(torn) > 10


def test_what_the_model_does_not_know_is_no_success(player: Player) -> None:
    with pytest.raises(CannotFollow):
        player.call(Op.UNKNOWN, path="sendfile")
    with pytest.raises(CannotFollow):
        player.call(Op.MMAP, flags=SHARED_WRITE, path=str(player.root / "data.mdb"))
