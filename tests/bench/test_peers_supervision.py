"""Servers of a comparison end with it, and one that breaks does not end the others' turns."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.peers.catalog import PEERS
from bench.peers.results import Note, Row
from bench.peers.sizes import TINY
from bench.peers.stage import Stage, restart, servers_of
from bench.peers.supervision import Launch, ServerError, free_port, killed_at_the_end, lives

LISTENS = """
import os, signal, socket, sys
if os.fork() == 0:
    signal.pause()
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    listener.accept()[0].close()
"""


def listening(_directory: Path, port: int) -> Launch:
    return Launch(argv=[sys.executable, "-c", LISTENS, str(port)])


def ending(_directory: Path, _port: int) -> Launch:
    return Launch(argv=[sys.executable, "-c", "raise SystemExit('no disk')"])


def test_a_paused_server_and_its_children_are_killed_at_the_end(tmp_path: Path) -> None:
    with killed_at_the_end(restart(listening, tmp_path, free_port())) as server:
        pids = server.pids()
        server.pause()

    assert len(pids) == 2
    assert not any(map(lives, pids))


def test_a_server_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="no disk"):
        restart(ending, tmp_path, free_port())


def test_a_peer_that_breaks_is_told_and_left_out(tmp_path: Path) -> None:
    records: list[Row | Note] = []
    stage = Stage(directory=tmp_path, sizes=TINY, round=1, record=records.append)
    broken = replace(PEERS[0], name="broken", mode="", launch=ending)

    with servers_of(stage, [broken], "A") as running:
        assert running == {}

    (note,) = records
    assert isinstance(note, Note)
    assert note.kind == "failed"
    assert "no disk" in note.text
    assert stage.failed == {"broken"}
