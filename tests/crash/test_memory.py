"""Memory, threads or disk run out: the broker refuses or ends, and what it confirmed is there."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure import Client
from tenure.errors import BackupFailed
from tenure_server import exits
from tenure_storage.verify import verify
from tests.crash import shortage
from tests.crash.figures import Figures
from tests.crash.limits import MIB
from tests.server.support import running
from tests.support.broker_process import BrokerProcess


@pytest.mark.slow
@pytest.mark.parametrize(
    ("short", "codes", "told"),
    [
        (shortage.data(6), shortage.ENDS, "MemoryError"),
        (shortage.file_size(11), (exits.IO_ERROR,), "commit_failed"),
    ],
    ids=["memory", "file size"],
)
def test_a_broker_that_runs_short_under_load_ends_and_what_it_confirmed_is_there(
    short: shortage.Shortage, codes: tuple[int, ...], told: str, tmp_path: Path
) -> None:
    figures = Figures("short")
    code = shortage.end_short(short, tmp_path, 1, figures)
    assert figures.violations == []
    assert code in codes
    assert told in (tmp_path / "broker.log").read_text()


SPEECHLESS = """
import tenure_server.broker

def get_log():
    raise MemoryError

tenure_server.broker.Broker._tell_fault = lambda *_: get_log()
"""


@pytest.mark.slow
def test_a_broker_without_the_memory_to_say_what_is_wrong_ends_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "planted").mkdir()
    (tmp_path / "planted" / "sitecustomize.py").write_text(SPEECHLESS)
    environment = {**shortage.SMALL_STORE, "PYTHONPATH": str(tmp_path / "planted")}
    broker = BrokerProcess(tmp_path, environment=environment).start()
    with shortage.file_size(11).over(broker):
        shortage.under_load(broker, 1)
        assert shortage.ended_or_serves(broker) == exits.IO_ERROR
    assert "commit_failed" not in broker.log


async def test_a_look_at_the_connections_that_fails_is_not_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []

    def fail(now_ms: int) -> None:
        looks.append(now_ms)
        raise MemoryError

    async with running({"timeouts.handshake": "30ms"}) as broker:
        monkeypatch.setattr(broker.hub, "sweep", fail)
        await broker.until(lambda: len(looks) > 2)


@contextlib.contextmanager
def memory_group(most_bytes: int) -> Iterator[Path]:
    """A control group that may use so much memory. Skips the test where none can be made."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = {name: path for _, names, path in (line.split(":", 2) for line in lines)
           for name in names.split(",")}  # fmt: skip
    version_1 = "memory" in own
    if not version_1 and "" not in own:
        pytest.skip("there are no control groups here")
    root = Path("/sys/fs/cgroup/memory" if version_1 else "/sys/fs/cgroup")
    group = root / own["memory" if version_1 else ""].lstrip("/") / f"tenure-test-{os.getpid()}"
    limit = group / ("memory.limit_in_bytes" if version_1 else "memory.max")
    try:
        group.mkdir()
        if not limit.exists():
            group.rmdir()
            pytest.skip("control groups here do not limit memory")
        limit.write_text(str(most_bytes))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield group
    finally:
        group.rmdir()


@pytest.mark.slow
def test_a_broker_that_the_kernel_kills_for_its_memory_loses_nothing(tmp_path: Path) -> None:
    figures = Figures("killed")
    broker = BrokerProcess(tmp_path, environment=shortage.SMALL_STORE)
    with memory_group(24 * MIB) as group:
        broker.start()
        (group / "cgroup.procs").write_text(str(broker.pid))
        seen = shortage.under_load(broker, 1)
        code = shortage.ended_or_serves(broker)
    # What it had before it came into the group is not counted: it may get through.
    assert code in (None, -signal.SIGKILL), broker.log
    shortage.check(broker, seen, figures)
    assert figures.violations == []


def with_threads(most: int) -> list[str]:
    """The words before a command that may have so many threads. Skips where that cannot be."""
    missing = [name for name in ("setpriv", "prlimit") if shutil.which(name) is None]
    if os.geteuid() or missing:
        pytest.skip("needs root to become a user of nobody else, and setpriv and prlimit")
    # A user that no process has, for threads are counted by user; its files are root's.
    rights = "+dac_override,+dac_read_search"
    return [
        "prlimit", f"--nproc={most}:{most}", "setpriv", f"--reuid={600_000 + os.getpid()}",
        "--clear-groups", "--inh-caps", rights, "--ambient-caps", rights,
    ]  # fmt: skip


def test_a_broker_without_threads_does_not_start(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path, launcher=with_threads(2))
    with pytest.raises(RuntimeError, match="can't start new thread"):
        broker.start()
    with BrokerProcess(tmp_path) as again, Client(again.url) as client:
        client.enqueue("work", "it starts with some")


def test_a_broker_that_gets_no_further_thread_refuses_backups_and_stops_in_order(
    tmp_path: Path,
) -> None:
    # The loop, LMDB's writer, the journal's, the signals'; a backup needs two more, one is LMDB's.
    for number, most in enumerate((4, 5)):
        broker = BrokerProcess(tmp_path, launcher=with_threads(most))
        with broker, Client(broker.url) as client:
            job = client.enqueue("work", "before")
            with pytest.raises(BackupFailed):
                client.backup("b")
            assert not (broker.data_dir / "backups" / "b").exists()
            assert client.get(job).state == "ready"
            assert client.queue("work").jobs == number + 1
            assert broker.stop() == 0, broker.log
    assert verify(tmp_path / "data").errors == ()
