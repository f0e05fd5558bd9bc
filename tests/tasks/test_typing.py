"""Type checkers see every call of a task: right ones pass, wrong ones do not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(__file__).with_name("typed_sample.py")
IGNORE = re.compile(r"\s*# type: ignore\[.*\]")
SECONDS_MAX = 100

pytestmark = pytest.mark.slow


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The sample without its ignore comments."""
    path = tmp_path / "typed_sample.py"
    path.write_text(IGNORE.sub("", SAMPLE.read_text("utf-8")), "utf-8")
    return path


def wrong_lines() -> list[int]:
    lines = SAMPLE.read_text("utf-8").splitlines()
    return [number for number, line in enumerate(lines, 1) if IGNORE.search(line)]


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd, capture_output=True, text=True, timeout=SECONDS_MAX, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.stdout


def test_mypy_finds_the_wrong_calls_and_no_others(bare: Path, tmp_path: Path) -> None:
    cache = ["--cache-dir", str(tmp_path / "cache")]
    told = run("mypy", "--config-file", str(ROOT / "pyproject.toml"), *cache, str(bare), cwd=ROOT)
    found = [int(line) for line in re.findall(r"typed_sample.py:(\d+): error", told)]

    assert sorted(set(found)) == wrong_lines(), told


def test_pyright_finds_the_wrong_calls_and_no_others(bare: Path, tmp_path: Path) -> None:
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.11", "include": [bare.name]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    told = run("pyright", "--pythonpath", sys.executable, "--outputjson", cwd=tmp_path)
    found = [
        one["range"]["start"]["line"] + 1
        for one in json.loads(told)["generalDiagnostics"]
        if one["severity"] == "error"
    ]

    assert sorted(set(found)) == wrong_lines(), told
