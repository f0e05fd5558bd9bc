"""Trails lose nothing but a line that a kill cut, and take no more room than what is unread."""

from __future__ import annotations

from pathlib import Path

from tests.soak.trail import FILE_BYTES_MAX, Trail, TrailReader


def test_lines_of_several_writers_come_once_and_in_order(tmp_path: Path) -> None:
    one, two = Trail(tmp_path, "one"), Trail(tmp_path, "two")
    reader = TrailReader(tmp_path)
    for number in range(10):
        (one, two)[number % 2].write("did", number=number)

    first = reader.lines()
    one.write("did", number=10)

    assert [line["number"] for line in first] == list(range(10))
    assert {line["who"] for line in first} == {"one", "two"}
    assert [line["number"] for line in reader.lines()] == [10]
    assert reader.lines() == []


def test_files_that_are_read_are_deleted_and_nothing_is_missed(tmp_path: Path) -> None:
    trail, reader = Trail(tmp_path, "one"), TrailReader(tmp_path)
    count, seen = 0, []
    while count * 10_000 < 5 * FILE_BYTES_MAX:
        trail.write("did", number=count, filler="x" * 10_000)
        count += 1
        if count % 20 == 0:
            seen += [line["number"] for line in reader.lines()]
    seen += [line["number"] for line in reader.lines()]

    assert seen == list(range(count))
    assert len(list(tmp_path.glob("*.trail"))) == 1


def test_a_line_that_a_kill_cut_is_left_out(tmp_path: Path) -> None:
    trail, reader = Trail(tmp_path, "one"), TrailReader(tmp_path)
    trail.write("did", number=1)
    [path] = tmp_path.glob("*.trail")
    with path.open("ab") as file:
        file.write(b'{"e": "di')

    assert [line["number"] for line in reader.lines()] == [1]
    assert reader.lines() == []
