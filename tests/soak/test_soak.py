"""The soak for a few seconds: everything happens once, no promise is broken, all is drawn."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def soak(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.soak", "--quick", *arguments]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        out, _ = process.communicate()
    except BaseException:
        # Asked to end, it ends what it has started; killed, it would leave that behind.
        process.terminate()
        process.communicate(timeout=30)
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, None)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_everything_at_once_breaks_no_promise(tmp_path: Path) -> None:
    done = soak("--minutes", "0.06", "--out", str(tmp_path))

    assert done.returncode == 0, done.stdout
    summary = json.loads((tmp_path / "summary.json").read_text())
    counts = summary["counts"]
    assert summary["violations"] == []
    for what in ("confirmed", "deliveries", "ack done", "audits", "broker kill"):
        assert counts[what] > 0, done.stdout
    samples = [json.loads(line) for line in (tmp_path / "run/samples.jsonl").open()]
    assert {"broker MB", "data file MB", "broker descriptors"} <= samples[-1]["figures"].keys()
    assert (tmp_path / "soak-memory.svg").read_text().startswith("<?xml")
