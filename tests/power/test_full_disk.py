"""A disk that is really full: nothing confirmed is lost, and the broker says what is wrong."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenure import Client, NewJob
from tenure.errors import BrokerError, StoreFull, TenureError
from tests.support.broker_process import BrokerProcess

pytestmark = pytest.mark.slow

MIB = 1 << 20
Mount = Callable[[int], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a file system of so many bytes; again: makes it larger."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted: list[Path] = []

    def make(size: int) -> Path:
        options = f"size={size}" + (",remount" if mounted else "")
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount command")
        if done.returncode != 0:
            pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield make
    if mounted:
        subprocess.run(["umount", str(place)], timeout=30, check=True)


def enqueued_until_it_ends(url: str) -> list[str]:
    """Ids of confirmed jobs, up to the error that cuts the client off."""
    confirmed: list[str] = []
    with Client(url, codec="raw", reconnect=False, compress_over=False) as client:
        try:
            while True:
                jobs = [NewJob("work", os.urandom(500)) for _ in range(900)]
                confirmed += client.enqueue_many("q", jobs)
        except BrokerError:
            raise
        except TenureError:
            return confirmed


def check_all_there(url: str, confirmed: list[str]) -> None:
    with Client(url, codec="raw") as client:
        assert client.queue("q").counts["ready"] >= len(confirmed)
        for job_id in [*confirmed[:: max(1, len(confirmed) // 50)], *confirmed[-1:]]:
            assert client.get(job_id).state == "ready"


def one_line(log: str) -> str:
    [line] = log.strip().splitlines()
    assert "Traceback" not in line
    return line


def test_a_file_that_may_not_grow_ends_the_broker_and_loses_nothing(tmp_path: Path) -> None:
    with BrokerProcess(tmp_path) as broker:
        resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (10 * MIB, 10 * MIB))
        confirmed = enqueued_until_it_ends(broker.url)
        assert broker.wait() == 74
        assert "Traceback" not in broker.log
        assert "commit_failed" in broker.log
        broker.start()
        check_all_there(broker.url, confirmed)
    assert len(confirmed) > 900


def test_a_disk_too_small_for_a_first_start_is_told_in_a_line(mount: Mount, tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path)
    broker.data_dir = mount(2 * MIB) / "data"
    with pytest.raises(RuntimeError, match="ended with 74 at its start"):
        broker.start()
    assert "No space left on device" in one_line(broker.log)

    mount(200 * MIB)
    with broker.start(), Client(broker.url) as client:
        client.enqueue("q", "work")


def fill(ballast: Path) -> None:
    """Takes all that is free on a disk."""
    disk = os.statvfs(ballast.parent)
    with ballast.open("ab") as file:
        size = os.fstat(file.fileno()).st_size
        os.posix_fallocate(file.fileno(), size, disk.f_bavail * disk.f_frsize)


def test_a_disk_that_others_fill_stops_enqueues_and_then_the_broker_and_loses_nothing(
    mount: Mount, tmp_path: Path
) -> None:
    disk = mount(300 * MIB)
    broker = BrokerProcess(tmp_path)
    broker.data_dir = disk / "data"
    with broker.start(), Client(broker.url, codec="raw", reconnect=False) as client:
        assert (broker.data_dir / "reserve").exists()
        confirmed = client.enqueue_many("q", [NewJob("work", os.urandom(500))] * 2000)
        fill(disk / "ballast")
        confirmed += enqueued_until_refused(client)
        held = client.reserve("q", max_jobs=100)
        assert len(client.ack(held)) == 100, "a full store still settles jobs"
        fill(disk / "ballast")
        # Now not even what settles jobs has room.
        with pytest.raises(ConnectionError):
            take_and_give_back(client)
        assert broker.wait() == 74
        assert "Traceback" not in broker.log
        assert "store_full" in broker.log
        (disk / "ballast").unlink()
        broker.start()
        with Client(broker.url) as again:
            counts = again.queue("q").counts
        assert counts["ready"] + counts["leased"] == len(confirmed) - 100


def enqueued_until_refused(client: Client) -> list[str]:
    """Ids of confirmed jobs, up to the refusal that says that the store is full."""
    confirmed: list[str] = []
    try:
        while True:
            confirmed.append(client.enqueue("q", "work", b"x"))
    except StoreFull:
        return confirmed


def take_and_give_back(client: Client) -> None:
    """Changes many rows, again and again."""
    for _ in range(10_000):
        client.release(client.reserve("q", max_jobs=900))
