"""A data directory of an older format is upgraded when it is opened, with all that is in it.

`format_1.mdb.gz` is the data file of a store that the first release wrote, `format_2.mdb.gz` of a
later one, with jobs in every state: three ready, one ready with a unique name and an expiry, one
delayed, one retrying, two leased (of one the cancel was asked), one dead, one succeeded, one
cancelled.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import lmdb
import pytest

from tenure import Client
from tenure_storage.compact import compact
from tenure_storage.format import UPGRADES
from tenure_storage.lmdb_store import open_lmdb
from tenure_storage.store import FORMAT, NOTES, TABLES, Batch, StoreError, StoreUnwritable
from tenure_storage.verify import info as info_of
from tenure_storage.verify import verify
from tests.support.broker_process import BrokerProcess
from tests.support.counting_store import CountingStore
from tests.support.world import WALL_MS, World


@pytest.fixture(params=range(1, FORMAT))
def number(request: pytest.FixtureRequest) -> int:
    """The format of `old`."""
    return int(request.param)


@pytest.fixture
def old(tmp_path: Path, number: int) -> Path:
    """A data directory that an earlier release left behind."""
    path = tmp_path / "data"
    path.mkdir()
    packed = Path(__file__).parent / f"format_{number}.mdb.gz"
    (path / "data.mdb").write_bytes(gzip.decompress(packed.read_bytes()))
    return path


def upgraded(path: Path) -> CountingStore:
    """The rows of the store in `path` after it was opened once."""
    store = open_lmdb(path, max_bytes=1 << 24)
    copy, batch = CountingStore(), Batch(1)
    try:
        for table in range(len(TABLES)):
            batch.tables[table].update(store.scan(table, b"", b"\xff" * 300, 1_000))
    finally:
        store.close()
    copy.commit(batch)
    return copy


def test_opening_an_old_directory_upgrades_it(old: Path, number: int) -> None:
    assert info_of(old)["format"] == number
    upgraded(old)
    told = info_of(old)
    assert told["format"] == FORMAT == 3
    assert told["entries"]["notes"] == 0
    assert (told["entries"]["jobs"], told["entries"]["leases"]) == (8, 2)
    assert verify(old).sound


def test_every_format_has_a_step_to_the_next() -> None:
    assert sorted(UPGRADES) == list(range(1, FORMAT))


def test_verify_asks_for_the_upgrade_and_changes_nothing(old: Path, number: int) -> None:
    before = (old / "data.mdb").read_bytes()
    with pytest.raises(
        StoreError, match=rf"has format {number}.*open it once with `tenure server`"
    ):
        verify(old)
    assert (old / "data.mdb").read_bytes() == before


def test_info_shows_an_old_directory_without_changing_it(old: Path, number: int) -> None:
    before = (old / "data.mdb").read_bytes()
    told = info_of(old)
    assert (told["queues"], told["entries"]["dead"]) == (["mail"], 1)
    assert ("notes" in told["entries"]) == (number > 1)
    assert (old / "data.mdb").read_bytes() == before


def test_an_old_directory_can_be_compacted_and_is_upgraded_afterwards(
    old: Path, number: int
) -> None:
    compact(old)
    assert info_of(old)["format"] == number
    upgraded(old)
    assert verify(old).sound


def test_an_upgrade_that_fails_leaves_the_old_format(old: Path, number: int) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("the machine went away")

    with pytest.raises(RuntimeError):
        open_lmdb(old, max_bytes=1 << 24, upgrades={**UPGRADES, FORMAT - 1: fail})
    assert info_of(old)["format"] == number
    upgraded(old)
    assert info_of(old)["format"] == FORMAT


def test_an_upgrade_that_the_disk_does_not_take_is_told(old: Path, number: int) -> None:
    def full(_: object) -> None:
        raise lmdb.DiskError("No space left on device")

    with pytest.raises(StoreUnwritable, match=r"cannot upgrade .*No space left"):
        open_lmdb(old, max_bytes=1 << 24, upgrades={**UPGRADES, FORMAT - 1: full})
    assert info_of(old)["format"] == number


def test_everything_in_an_old_directory_lives_on(old: Path) -> None:
    world = World(store=upgraded(old), wall_ms=WALL_MS)
    assert world.counts("mail") == {
        "ready": 4, "scheduled": 1, "retrying": 1, "leased": 2, "dead": 1, "succeeded": 1,
        "cancelled": 1,
    }  # fmt: skip
    [leased, asked] = sorted(world.peek("mail", "leased"), key=lambda job: job["cancel_asked"])
    assert asked["cancel_asked"]
    assert world.ack((leased["id"], 1), b"late") == {}
    assert world.extend((asked["id"], 1)) == {"cancel": True}
    assert world.fail((asked["id"], 1))["state"] == "cancelled"
    got = world.reserve("mail", 10)
    assert [job.payload for job in got] == [b"ready-0", b"ready-1", b"ready-2", b"named"]
    [dead] = world.dead("mail")
    assert (dead["reason"], dead["history"][0][5]) == ("asked", "Grave")
    assert world.get(leased["id"])["result"] == b"late"
    [retrying] = world.peek("mail", "retrying")
    assert (retrying["failures"], retrying["progress"], retrying["log"]) == (1, None, [])


def test_a_request_of_before_the_upgrade_is_still_remembered(old: Path) -> None:
    world = World(store=upgraded(old), wall_ms=WALL_MS)
    jobs = [f"ready-{n}".encode() for n in range(3)]
    assert world.enqueue("mail", jobs, producer=bytes(range(16)), sequence=7) == [
        job.id for job in world.reserve("mail", 3)
    ]


def test_jobs_of_before_the_upgrade_can_note(old: Path) -> None:
    world = World(store=upgraded(old), wall_ms=WALL_MS)
    [job, *_] = world.reserve("mail", 1)
    [leased, _] = sorted(world.peek("mail", "leased"), key=lambda each: each["attempt"])[:2]
    for job_id in (job.id, leased["id"]):
        assert world.call("note", [[[job_id, 1, {"checkpoint": b"c"}]]]) == [0]
    assert len(world.store.rows(NOTES)) == 2
    world.release(job)
    world.crash()
    [row] = world.call("reserve", [["mail"], 1, 0])
    assert (row[0], row[8]) == (job.id, {"checkpoint": b"c"})


def test_a_broker_starts_from_an_old_directory_and_again_after_it_was_killed(
    old: Path, tmp_path: Path
) -> None:
    with BrokerProcess(tmp_path) as broker, Client(broker.url) as client:
        job, *_ = client.reserve("mail", max_jobs=3)
        client.note(job, checkpoint=b"half")
        broker.restart(kill=True)
        info = client.get(job.id)
        assert (info.state, info.checkpoint) == ("leased", b"half")
        client.ack(job)
    assert info_of(old)["format"] == FORMAT
    report = verify(old)
    assert (report.errors, report.rows["notes"]) == ((), 1)
