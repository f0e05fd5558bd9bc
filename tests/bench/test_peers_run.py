"""The comparison runs where only Tenure is there, and tells which peers are not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.peers.catalog import PEERS

ROOT = Path(__file__).resolve().parents[2]
PEER_NAMES = sorted({peer.name for peer in PEERS if peer.name != "tenure"})


def compare(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.peers", "--tiny", "--allow-tmpfs", "--name", "it"]
    command += ["--out", str(directory), "--dir", str(directory / "data"), *arguments]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        out, err = process.communicate()
    except BaseException:
        # Asked to end, it ends what it has started; killed, it would leave that behind.
        process.terminate()
        process.communicate(timeout=30)
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_tenure_alone_is_measured_and_nothing_is_left_behind(tmp_path: Path) -> None:
    rows = ["A1", "A3a", "A2", "A3b", "A4", "B"]

    done = compare(tmp_path, "--peers", "tenure durable", *(f"--only={row}" for row in rows))

    assert done.returncode == 0, done.stderr
    whole = json.loads((tmp_path / "it.json").read_text())
    assert not [note for note in whole["notes"] if note["kind"] == "failed"]
    durable = {cell["row"]: cell for cell in whole["cells"] if cell["durability"] == "fsync"}
    assert {"A1", "A3a", "A2", "A3b", "A4", "memory", "disk"} < durable.keys()
    assert durable["A1"]["value"] > 0
    assert durable["restart after kill -9"]["value"] > 0
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.slow
def test_a_peer_that_is_not_here_is_told_and_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing that apt installs is in an empty PATH.
    monkeypatch.setenv("PATH", str(tmp_path))

    done = compare(tmp_path, "--peers", "beanstalkd fsync", "--peers", "redis list", "--only=A1")

    assert done.returncode == 0, done.stderr
    page = (tmp_path / "it.md").read_text()
    for peer, package in (("beanstalkd fsync", "beanstalkd"), ("redis list", "redis-server")):
        text = f"{peer}: its server is not installed: apt-get install {package}"
        assert text in page
        assert f"apt-get install {package}" in done.stderr
    assert "Nothing to compare" in page


@pytest.mark.parametrize("name", PEER_NAMES)
def test_every_peer_says_how_it_is_run_and_how_to_get_it(name: str) -> None:
    for peer in PEERS:
        if peer.name == name:
            assert peer.needs.startswith(("apt-get install ", "make "))
            assert peer.how
            assert peer.client


def test_the_figures_of_two_runs_are_not_mixed_unasked(tmp_path: Path) -> None:
    (tmp_path / "it.jsonl").write_text("")

    done = compare(tmp_path, "--only=A1")

    assert done.returncode == 2
    assert "has the figures of another run: say --name, or --append" in done.stderr


def test_an_unknown_peer_is_refused(tmp_path: Path) -> None:
    done = compare(tmp_path, "--peers", "kafka")

    assert done.returncode == 2
    assert "no peer is called 'kafka'" in done.stderr
