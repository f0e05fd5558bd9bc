"""`make demo`: real files through a real broker, two kill -9s, and a sum that must be right."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from examples.stdlib_census.analyse import Findings, UnparsableError, analyse
from examples.stdlib_census.ledger import DeadLetter, Sum, add_up
from tests.examples.runs import run_example

FILES = 300


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_demo_loses_nothing_although_a_worker_and_the_broker_are_killed(
    tmp_path: Path,
) -> None:
    arguments = ("--limit", str(FILES), "--timeout", "120")
    printed = run_example("stdlib_census", tmp_path, *arguments)
    found = re.search(
        r"^sum: (\d+) files = (\d+) results \+ (\d+) dead letters;(.*)$", printed, re.M
    )
    assert found, printed
    assert int(found[1]) == FILES == int(found[2]) + int(found[3])
    assert " 0 missing, 0 doubled, 0 strange, 0 wrongly dead" in found[4]
    killed = re.findall(r"kill -9 (\d+)", printed)
    assert len(killed) == 2, printed
    for pid in [*killed, *re.findall(r"pid (\d+)", printed)]:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


SIZES = {"a.py": 10, "b.py": 20, "broken.py": 5}
A, B = (analyse(path, b"#" * (size - 1) + b"\n") for path, size in list(SIZES.items())[:2])
BROKEN = DeadLetter("broken.py", "line 1: invalid syntax", 1)


def test_the_sum_is_right_when_every_file_ended_once() -> None:
    assert add_up(SIZES, [A, B], [BROKEN], []).is_right


@pytest.mark.parametrize(
    ("total", "what"),
    [
        (add_up(SIZES, [A], [BROKEN], []), "missing"),
        (add_up(SIZES, [A, B, B], [BROKEN], []), "doubled"),
        (add_up(SIZES, [A, B], [BROKEN, DeadLetter("b.py", "", 1)], []), "doubled"),
        (add_up({"a.py": 10, "broken.py": 5}, [A, B], [BROKEN], []), "strange"),
        (add_up(SIZES, [A, B], [BROKEN], ["broken.py"]), "wrongly_dead"),
    ],
)
def test_the_sum_is_wrong_when_a_file_is_lost_or_doubled(total: Sum, what: str) -> None:
    assert not total.is_right
    assert getattr(total, what)


def test_the_sum_is_wrong_when_a_worker_read_another_file_than_it_said() -> None:
    cut: Findings = {**B, "bytes": 19}
    assert not add_up(SIZES, [A, cut], [BROKEN], []).is_right


def test_the_analysis_counts_what_is_in_a_file() -> None:
    source = b"""
class Tree:
    def short(self): ...
    async def longest(self, seen=[]):
        try:
            "\\d"
        except:
            pass
from os import *
"""
    found = analyse("tree.py", source)
    assert (found["functions"], found["classes"], found["lines"]) == (2, 1, 9)
    assert (found["longest"], found["longest_lines"]) == ("longest", 5)
    assert found["oddities"] == {
        "bare except": 1, "import *": 1, "mutable default": 1, "invalid escape": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "source", [b"print 'hello'", b"# coding: uft-8\n", b"x = 'a\0b'", b"\xf6 = 1", b"(" * 5000]
)
def test_what_is_not_python_is_told_apart_from_what_went_wrong(source: bytes) -> None:
    with pytest.raises(UnparsableError):
        analyse("broken.py", source)
