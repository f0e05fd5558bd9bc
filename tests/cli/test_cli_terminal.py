"""The command on a terminal, in a pipe, and under signals, against a real broker process."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

from tenure import Client
from tests.cli.processes import (
    TENURE,
    TIMEOUT_S,
    on_terminal,
    read_json,
    surroundings,
    tenure,
    wait_until,
)
from tests.support.broker_process import BrokerProcess


def without_styles(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_reader_that_goes_away_ends_the_command_quietly(url: str) -> None:
    lines = "".join('{"task": "t", "payload": "%s"}\n' % ("x" * 200) for _ in range(3_000))
    tenure(url, "enqueue", "pipe", "--file", "-", stdin=lines)
    process = subprocess.Popen(
        [*TENURE, *["job", "ls", "pipe", "-n", "3000", "-o", "ndjson"]],
        env=surroundings(url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()

    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(TIMEOUT_S) == 141


def test_ctrl_c_while_waiting_ends_quietly_with_130(own_broker: BrokerProcess) -> None:
    job_id = tenure(own_broker.url, "enqueue", "q", "t").stdout.strip()
    process = subprocess.Popen(
        [*TENURE, "job", "wait", job_id],
        env=surroundings(own_broker.url),
        stderr=subprocess.PIPE,
        # A shell starts background jobs with SIGINT ignored, and the tests may be one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with Client(own_broker.url) as client:
        # It waits once the broker says that somebody does; before, it is still starting.
        wait_until(lambda: client.stats()["waiting_reserves"] == 1)
    process.send_signal(signal.SIGINT)

    _, err = process.communicate(timeout=TIMEOUT_S)

    assert process.returncode == 130
    assert err == b""


def test_a_terminal_gets_colours_unless_they_are_not_wanted(url: str) -> None:
    tenure(url, "queue", "create", "colours", "paused=yes")

    _, coloured = on_terminal(url, "queue", "ls", "colours")
    _, by_flag = on_terminal(url, "queue", "ls", "colours", "--no-color")
    _, by_variable = on_terminal(url, "queue", "ls", "colours", NO_COLOR="1")
    piped = tenure(url, "queue", "ls", "colours").stdout

    yellow = "\x1b[33m"
    assert yellow in coloured
    assert yellow not in by_flag
    assert yellow not in by_variable
    assert "\x1b" not in piped


def test_a_narrow_terminal_loses_columns_and_never_digits(url: str) -> None:
    tenure(url, "queue", "create", "narrow")
    tenure(url, "enqueue", "narrow", "--file", "-", stdin='{"task": "t"}\n' * 1_284)

    code, shown = on_terminal(url, "queue", "ls", "narrow", COLUMNS="50")

    assert code == 0
    assert "1,284" in shown
    assert "WAITING" not in shown
    assert max(len(line) for line in without_styles(shown).splitlines()) <= 50


def test_top_redraws_the_screen_and_ends(url: str) -> None:
    tenure(url, "queue", "create", "watched")

    code, shown = on_terminal(url, "top", "watched", "-n", "2", "--interval", "100ms")

    assert code == 0
    assert "watched" in shown
    assert "\x1b[?1049h" in shown  # the other screen, and back
    assert "\x1b[?1049l" in shown


@pytest.mark.parametrize(("answer", "left"), [(b"y\n", 0), (b"n\n", 2)])
def test_a_question_on_a_terminal_is_answered_there(url: str, answer: bytes, left: int) -> None:
    queue = f"asked-{left}"
    for _ in range(2):
        tenure(url, "enqueue", queue, "t")

    code, shown = on_terminal(url, "queue", "purge", queue, typed=answer)

    assert "Drop 2 waiting jobs" in shown
    assert code == (0 if left == 0 else 1)
    assert read_json(url, "queue", "get", queue)["jobs"] == left


def test_a_file_on_a_terminal_shows_progress_and_the_sum(url: str, tmp_path: Path) -> None:
    path = tmp_path / "jobs.ndjson"
    path.write_text('{"task": "t"}\n' * 6_000)

    code, shown = on_terminal(url, "enqueue", "shown", "--file", str(path))

    assert code == 0
    assert "enqueueing" in shown
    assert 'enqueued 6,000 jobs in "shown"' in shown
