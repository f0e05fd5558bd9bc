"""Progress and lines leave at a bounded rate, and the last ones before the job's end."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tenure.worker.child.notes import EVERY_MS, LINES_MAX, Notes
from tenure.worker.child.port import ChildPort
from tenure.worker.child.wire import Wire
from tenure.worker.pipe import new_decoder, unpack


def test_the_first_note_leaves_at_once() -> None:
    notes = Notes()
    assert notes.due_in_ms(0) is None
    notes.progress((1, 10, None))
    assert notes.due_in_ms(0) == 0
    assert notes.take(0) == ((1, 10, None), [])
    assert notes.due_in_ms(0) is None


def test_the_next_ones_wait_and_only_the_newest_progress_counts() -> None:
    notes = Notes()
    notes.progress((1, 10, None))
    notes.take(5_000)
    notes.progress((2, 10, None))
    notes.progress((3, 10, "three"))
    notes.line("a")
    notes.line("b")
    assert notes.due_in_ms(5_000) == EVERY_MS
    assert notes.due_in_ms(5_400) == EVERY_MS - 400
    assert notes.due_in_ms(9_000) == 0
    assert notes.take(9_000) == ((3, 10, "three"), ["a", "b"])


def test_of_many_lines_the_newest_are_held() -> None:
    notes = Notes()
    for n in range(100):
        notes.line(str(n))
    assert notes.take(0).lines == [str(n) for n in range(100 - LINES_MAX, 100)]


class Pipe:
    """A port, and what came out of it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.ours, self.theirs = ours, theirs
        self.wire = Wire(theirs, lambda message: None)
        self.port = ChildPort(self.wire, 7, None)
        self._decoder = new_decoder()

    def came(self) -> list[list[Any]]:
        self.wire.flush()
        try:
            data = self.ours.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        return [message for body in self._decoder.feed(data) for message in unpack(body)]


@pytest.fixture
def pipe() -> Any:
    pipe = Pipe()
    yield pipe
    pipe.ours.close()
    pipe.theirs.close()


def test_a_busy_job_sends_little_and_its_last_word_comes_before_its_end(pipe: Pipe) -> None:
    for n in range(1_000):
        pipe.port.progress(n, 1_000, None)
        pipe.port.log(f"line {n}")
    first = pipe.came()
    assert first[0] == ["progress", 7, 0, 1_000, None]
    assert len(first) < 10
    pipe.port.close()
    assert pipe.came() == [
        ["progress", 7, 999, 1_000, None],
        ["log", 7, [f"line {n}" for n in range(980, 1_000)]],
    ]
    pipe.port.progress(1_001, None, None)
    assert pipe.came() == []


def test_what_is_held_leaves_by_itself_when_its_time_has_come(pipe: Pipe) -> None:
    pipe.port.progress(1, None, None)
    pipe.port.progress(2, None, None)
    pipe.ours.settimeout(30)
    decoder = new_decoder()
    came: list[list[Any]] = []
    while len(came) < 2:
        for body in decoder.feed(pipe.ours.recv(4096)):
            came += unpack(body)
    assert came[1] == ["progress", 7, 2, None, None]


def test_a_checkpoint_is_answered_by_its_number(pipe: Pipe) -> None:
    answers: list[BaseException | None] = []
    pipe.port.save(b"one", answers.append)
    pipe.port.save(b"two", answers.append)
    assert pipe.came() == [["checkpoint", 7, 1, b"one"], ["checkpoint", 7, 2, b"two"]]
    pipe.port.saved(2, None)
    pipe.port.saved(1, "LEASE_LOST")
    assert answers[0] is None
    assert str(answers[1]) == "LEASE_LOST"


def test_whoever_waits_for_an_answer_is_told_when_the_job_ends(pipe: Pipe) -> None:
    answers: list[BaseException | None] = []
    pipe.port.save(b"one", answers.append)
    pipe.port.close()
    pipe.port.save(b"two", answers.append)
    assert [str(answer) for answer in answers] == ["the job has ended"] * 2


def test_text_that_is_no_unicode_is_told_all_the_same(pipe: Pipe) -> None:
    pipe.port.progress(1, None, "caf\udce9")
    pipe.port.log("caf\udce9")
    pipe.port.close()
    assert pipe.came() == [
        ["progress", 7, 1, None, "caf\\udce9"],
        ["log", 7, ["caf\\udce9"]],
    ]
