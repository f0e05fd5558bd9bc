"""Starting: ready means ready, and what prevents it is one clear line and an exit code."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import socket
from pathlib import Path

import lmdb
import pytest

from tenure_server import exits, listener
from tenure_server.config_values import Address
from tenure_server.data_dir import open_store
from tenure_server.listener import bind, connections_within_files, is_public
from tenure_server.main import main, run
from tenure_server.port_file import remove_port_file, write_port_file
from tenure_storage import writer
from tenure_storage.lmdb_store import open_lmdb
from tenure_storage.store import StoreError
from tests.server.support import Process, Wire, config_of, process


async def test_a_ready_broker_has_written_where_it_listens_and_told_its_service_manager(
    place: Path,
) -> None:
    started = Process(place, "--http", "127.0.0.1:0")
    try:
        told = started.told("READY=1")

        ports = started.ports
        assert ports["pid"] == started.process.pid
        assert ports["http"][0] == "127.0.0.1"
        assert ports["http"][1] != ports["listen"][1]
        assert f"STATUS=listening on 127.0.0.1:{ports['listen'][1]}" in told[0]
        wire = await Wire.hello(ports["listen"][1])
        wire.close()
        line = started.logged("ready")
        assert line["data_dir"] == str(place / "data")
        assert line["level"] == "info"
    finally:
        started.end()


def test_a_data_directory_in_use_is_one_line_that_names_its_holder(place: Path) -> None:
    with process(place) as first:
        second = Process(place)
        try:
            assert second.wait() == exits.LOCKED
            said = [line["text"] for line in second.log() if "text" in line]
            assert said == [
                f"tenure server: data directory {place / 'data'} is in use"
                f" by process {first.process.pid}"
            ]
        finally:
            second.end()


def start_refused(capsys: pytest.CaptureFixture[str], **settings: object) -> tuple[int, str]:
    """The exit code and the one line of a broker that cannot start."""
    names = {name.replace("__", "."): value for name, value in settings.items()}
    flags: dict[str, object] = {"listen": "127.0.0.1:0", "http": "off"} | names
    code = run(config_of({**flags, "log.level": "error"}))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("tenure server: ")
    return code, lines[0]


def test_an_address_in_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    [taken] = bind(Address("127.0.0.1", 0), "listen")
    port = taken.getsockname()[1]

    code, line = start_refused(capsys, ephemeral=True, listen=f"127.0.0.1:{port}")

    taken.close()
    assert code == exits.UNAVAILABLE
    assert f"listen 127.0.0.1:{port}: the address is in use" in line


def test_an_http_address_in_use_is_one_line_and_no_broker_without_metrics(
    capsys: pytest.CaptureFixture[str],
) -> None:
    [taken] = bind(Address("127.0.0.1", 0), "http")

    code, line = start_refused(capsys, ephemeral=True, http=f"127.0.0.1:{taken.getsockname()[1]}")

    taken.close()
    assert code == exits.UNAVAILABLE
    assert "http 127.0.0.1" in line


def test_an_unknown_host_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, line = start_refused(capsys, ephemeral=True, listen="no.such.host.invalid:7733")

    assert code == exits.UNAVAILABLE
    assert "the host is unknown here" in line


def test_an_address_of_another_machine_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, line = start_refused(capsys, ephemeral=True, listen="192.0.2.1:7733")

    assert code == exits.UNAVAILABLE
    assert "192.0.2.1:7733" in line


def test_a_port_this_user_may_not_open_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> socket.socket:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(listener, "_bind_one", forbidden)

    code, line = start_refused(capsys, ephemeral=True, listen="127.0.0.1:77")

    assert code == exits.NO_PERMISSION
    assert "may not open port 77" in line


def test_a_data_directory_that_is_a_file_is_one_line(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    (place / "data").mkdir()
    (place / "data" / "file").write_text("")

    code, line = start_refused(capsys, data_dir=place / "data" / "file")

    assert code == exits.CANNOT_CREATE
    assert str(place / "data" / "file") in line


def test_a_data_directory_that_cannot_be_made_is_one_line(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    code, line = start_refused(capsys, data_dir=Path("/proc/tenure"))

    assert code == exits.CANNOT_CREATE
    assert "/proc/tenure" in line


def test_a_directory_with_something_else_in_it_is_one_line(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    (place / "data").mkdir()
    (place / "data" / "data.mdb").write_bytes(bytes(100_000))

    code, line = start_refused(capsys, data_dir=place / "data")

    assert code == exits.DATA
    assert "not an LMDB data file" in line


def test_a_store_of_a_newer_format_is_one_line(
    capsys: pytest.CaptureFixture[str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_lmdb(place / "data", max_bytes=64 << 20).close()

    def newer(*_: object) -> None:
        raise StoreError("the store was written by a newer Tenure")

    monkeypatch.setattr("tenure_storage.lmdb_store.check_format", newer)

    code, line = start_refused(capsys, data_dir=place / "data")

    assert code == exits.DATA
    assert "newer Tenure" in line


def test_a_bad_flag_value_exits_78_and_an_unknown_flag_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--listen", "somewhere"]) == exits.CONFIG
    assert "--listen: listen: expected host:port" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main(["--lisen", "x:1"])
    assert stopped.value.code == 2


def test_a_disk_that_is_full_at_the_start_is_worth_another_try(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise lmdb.DiskError("mdb_txn_commit: No space left on device")

    monkeypatch.setattr(writer, "commit_transaction", full)
    with pytest.raises(exits.StartError, match="No space left") as refused:
        open_store(config_of({"data_dir": place / "data"}))
    assert refused.value.code == exits.IO_ERROR
    monkeypatch.undo()
    open_store(config_of({"data_dir": place / "data"})).close()


def test_an_automatic_capacity_leaves_room_in_a_map_given_by_hand(place: Path) -> None:
    store = open_store(config_of({"data_dir": place / "data", "store.map_bytes": "1GiB"}))

    assert store.sizes().max_bytes <= (1 << 30) * 4 // 5
    store.close()


def test_port_zero_of_a_host_with_two_families_is_one_port() -> None:
    sockets = bind(Address("localhost", 0), "listen")

    assert len(sockets) == 1
    sockets[0].close()


def test_an_ipv6_address_can_be_listened_on() -> None:
    try:
        [listening] = bind(Address("::1", 0), "listen")
    except exits.StartError:
        pytest.skip("this machine has no IPv6")
    assert listener.address_of(listening).host == "::1"
    listening.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_the_loopback_is_not_public(host: str) -> None:
    assert not is_public(Address(host, 7733))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "broker.example"])
def test_any_other_host_is_public(host: str) -> None:
    assert is_public(Address(host, 7733))


def test_a_public_address_is_warned_about(place: Path) -> None:
    with process(place, "--listen", "0.0.0.0:0") as broker:
        line = broker.logged("reachable_from_outside")
        assert (line["level"], line["setting"]) == ("warning", "listen")
        broker.signal(signal.SIGTERM)
        assert broker.wait() == 0


def test_connections_are_fewer_when_files_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 512))
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: raised.append(both))

    assert connections_within_files(100) == 100
    assert raised == []
    assert connections_within_files(10_000) == 512 - 128
    assert raised == [(512, 512)]


def test_the_port_file_of_another_process_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ports"
    write_port_file(path, Address("127.0.0.1", 1), None)
    content = json.loads(path.read_text())
    assert content == {"listen": ["127.0.0.1", 1], "http": None, "pid": os.getpid()}
    path.write_text(json.dumps({**content, "pid": os.getpid() + 1}))

    remove_port_file(path)
    assert path.exists()

    path.write_text(json.dumps(content))
    remove_port_file(path)
    assert list(tmp_path.iterdir()) == []


def test_a_port_file_that_cannot_be_written_is_one_line(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    code, line = start_refused(capsys, ephemeral=True, port_file=place / "no" / "such" / "file")

    assert code == exits.CANNOT_CREATE
    assert "port file" in line
