"""Inputs guided by coverage: atheris watches which branches an input takes, and goes on from there.

atheris cannot return, so each target runs in a process of its own. The inputs that found
something new are kept in a directory, and begin the next run.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.fuzz.counting import Count, Failed

INSTRUMENTED = ["tenure_protocol", "tenure_server", "tenure_storage", "tenure", "msgpack.fallback"]
CORPUS = Path(".fuzz")
"""Where the inputs are kept that found something new; not part of the repository."""

_DONE = re.compile(r"Done (\d+) (?:runs )?in")
_LATEST = re.compile(r"^#(\d+)\s", re.MULTILINE)


def run_guided(name: str, seed: str, runs: int | None, seconds: float | None) -> tuple[Count, int]:
    """Runs a target under atheris; the count, and the most memory that it had. Raises `Failed`."""
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.guided", name, "--corpus", str(corpus)]
    command += ["--seed", str(abs(hash_of(seed)) or 1)]
    command += ["--runs", str(runs)] if runs is not None else []
    command += ["--seconds", str(int(seconds))] if seconds is not None else []
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    told = done.stdout + done.stderr
    if done.returncode:
        raise Failed(f"target {name}, guided: exit {done.returncode}\n{told[-4_000:]}")
    found = _DONE.findall(told) or _LATEST.findall(told)
    rss = re.findall(r"rss: (\d+)Mb", told)
    count = Count(inputs=int(found[-1]) if found else 0, seconds=time.monotonic() - begun)
    return count, int(rss[-1]) * 1_000_000 if rss else 0


def hash_of(seed: str) -> int:
    """A seed as the number that atheris takes."""
    return int.from_bytes(seed.encode()[-4:], "big") & 0x7FFFFFFF


def main() -> None:
    """One target, in this process; does not return."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--seconds", type=int)
    given = parser.parse_args()
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        sys.exit("atheris is not installed: pip install atheris")
    with atheris.instrument_imports(include=INSTRUMENTED):
        targets = importlib.import_module("tests.fuzz.targets")
    target = targets.TARGETS[given.target]
    for number, data in enumerate(target.seeds()):
        (given.corpus / f"seed-{number}").write_bytes(data)
    options = [
        f"-max_len={target.length_max}",
        f"-seed={given.seed}",
        "-timeout=60",
        "-rss_limit_mb=2000",
    ]
    options += [f"-artifact_prefix={given.corpus}{os.sep}failed-", "-print_final_stats=1"]
    options += [f"-runs={given.runs}"] if given.runs else []
    options += [f"-max_total_time={given.seconds}"] if given.seconds else []
    atheris.Setup([sys.argv[0], *options, str(given.corpus)], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
