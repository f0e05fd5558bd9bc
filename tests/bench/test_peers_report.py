"""The page of a comparison says who is ahead, who is not, and who was not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.peers import results
from bench.peers.report import write_report
from bench.peers.results import FSYNC, Note, Row
from bench.peers.summary import summarise, verdicts


def row(
    peer: str,
    name: str,
    value: float,
    *,
    mode: str = "",
    durability: str = FSYNC,
    number: int = 1,
    unit: str = "jobs/s",
    section: str = "A",
    alien: float = 0.0,
) -> Row:
    return Row(
        section=section,
        row=name,
        peer=peer,
        mode=mode,
        durability=durability,
        round=number,
        value=value,
        unit=unit,
        extra={"alien_cpu_percent": alien, "p50_us": 1e6 / value, "p99_us": 3e6 / value},
    )


def page_of(directory: Path, *records: Row | Note) -> str:
    """The Markdown of these records, by way of the file of JSON lines."""
    lines = directory / "lines.jsonl"
    results.append(lines, *records)
    written = write_report(directory, "canned", [lines])
    (page,) = [path for path in written if path.suffix == ".md"]
    return page.read_text()


def line_of(page: str, start: str) -> str:
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {start} |")]
    return line


def test_a_figure_is_the_median_of_the_rounds_with_the_smallest_and_the_largest(
    tmp_path: Path,
) -> None:
    rounds = [
        row("tenure", "A1", value, number=number) for number, value in enumerate([300, 100, 200], 1)
    ]

    page = page_of(tmp_path, *rounds)

    assert "200 (100 - 300)" in line_of(page, "tenure | fsync")


def test_the_ratio_is_to_the_best_peer_that_syncs(tmp_path: Path) -> None:
    page = page_of(
        tmp_path,
        row("tenure", "A1", 6_000),
        row("beanstalkd", "A1", 4_000, mode="fsync"),
        row("redis", "A1", 3_000, mode="list"),
        row("beanstalkd", "A1", 30_000, mode="memory", durability="memory"),
    )

    verdict = line_of(page, "A1, enqueue one by one | 6,000 | jobs/s | beanstalkd fsync")
    assert "| 4,000 | 1.50 |" in verdict
    assert "Tenure is ahead in every row" in page
    assert "**4,000**" in line_of(page, "beanstalkd fsync | fsync | **4,000**")


def test_rows_that_are_lost_stand_at_the_top(tmp_path: Path) -> None:
    page = page_of(
        tmp_path,
        row("tenure", "A1", 6_000),
        row("beanstalkd", "A1", 8_000, mode="fsync"),
        row("tenure", "A2", 90_000),
        row("postgres", "A2", 80_000, mode="skip-locked"),
    )

    top = page[: page.index("| row |")]
    assert "Rows that Tenure loses, 1 of 2" in top
    assert "6,000 against 8,000 jobs/s (beanstalkd fsync)" in top
    assert "0.75 **lost**" in page


def test_a_row_that_only_bare_strings_win_is_told_apart(tmp_path: Path) -> None:
    page = page_of(
        tmp_path,
        row("tenure", "A2", 200_000),
        row("redis", "A2", 400_000, mode="list"),
        row("postgres", "A2", 100_000, mode="skip-locked"),
    )

    assert "(redis list; bare strings, Tenure is ahead of every queue of job records)" in page
    assert "| redis list | 400,000 | 0.50 **lost** | postgres skip-locked | 2.00 |" in page


def test_of_a_cost_the_smaller_one_is_ahead(tmp_path: Path) -> None:
    cells = summarise(
        [
            row("tenure", "memory", 5, unit="B/job", section="B"),
            row("nats", "memory", 15, unit="B/job", section="B"),
            row("redis", "memory", 100, unit="B/job", section="B"),
        ]
    )

    (verdict,) = verdicts(cells)

    assert (verdict.best.peer, verdict.ratio, verdict.lost) == ("nats", 3.0, False)


def test_a_queue_without_syncs_does_not_win_a_row_for_tenure() -> None:
    cells = summarise(
        [
            row("tenure", "A1", 5_000),
            row("tenure", "A1", 50_000, mode="memory", durability="memory"),
            row("beanstalkd", "A1", 8_000, mode="fsync"),
        ]
    )

    (verdict,) = verdicts(cells)

    assert verdict.lost
    assert verdict.tenure.value == 5_000


def test_a_disturbed_figure_is_marked(tmp_path: Path) -> None:
    page = page_of(tmp_path, row("tenure", "A1", 6_000, alien=80))

    assert "~6,000" in line_of(page, "tenure | fsync")


def test_a_peer_that_was_not_measured_is_told(tmp_path: Path) -> None:
    text = "its server is not installed: apt-get install beanstalkd"

    page = page_of(
        tmp_path,
        row("tenure", "A1", 6_000),
        Note(section="A", kind="missing", text=text, peer="beanstalkd", mode="fsync"),
    )

    missing = page[page.index("## Not measured") :]
    assert f"- beanstalkd fsync: {text}" in missing


def test_the_result_file_has_every_round_and_the_verdicts(tmp_path: Path) -> None:
    page_of(tmp_path, row("tenure", "A1", 6_000), row("redis", "A1", 3_000, mode="list"))

    whole = json.loads((tmp_path / "canned.json").read_text())

    assert [one["value"] for one in whole["rows"]] == [6_000, 3_000]
    assert whole["verdicts"][0]["ratio"] == 2.0


def test_a_line_that_is_no_record_is_named(tmp_path: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    results.append(lines, row("tenure", "A1", 6_000))
    with lines.open("a") as file:
        file.write('{"row": {"section": "A"}}\n')

    with pytest.raises(ValueError, match=r"lines\.jsonl:2: no record"):
        results.load([lines])
