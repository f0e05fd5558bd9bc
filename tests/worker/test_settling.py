"""Acks are kept and sent again until the broker has answered."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgpack
import pytest

from tenure.core.call import Call
from tenure.core.command import Command
from tenure.errors import BadRequest, BrokerError, ConnectionLost, RequestTimeout, StoreFull
from tenure.info import ServerInfo
from tenure.worker import notes as notes_module
from tenure.worker import settle
from tenure.worker.held import Held
from tenure.worker.log import Log, Output
from tenure.worker.notes import Notes
from tenure.worker.pool import Pool
from tenure.worker.settle import Item, Settler


class FakeLink:
    """Answers with what the test has prepared, the next one each time."""

    server: ServerInfo | None = None

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, list[Any]]] = []
        self.abandoned: list[Call] = []

    def submit(self, command: Command[Any]) -> Call:
        assert isinstance(command.args, bytes)
        self.sent.append((command.op, msgpack.unpackb(command.args)[0]))
        return Call(1, command, 0, 0, None)

    async def wait(self, call: Call, command: Command[Any]) -> Any:
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if self.answers else "ok"
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(command.args, bytes)
        items = msgpack.unpackb(command.args)[0]
        return [0] * len(items) if answer == "ok" else answer

    def abandon(self, call: Call) -> None:
        self.abandoned.append(call)

    async def call(self, command: Command[Any]) -> Any:
        return await self.wait(self.submit(command), command)


class Heard(list[tuple[str, Any]]):
    def __call__(self, op: str, items: list[Item], outcomes: list[Any]) -> None:
        self += [(op, outcome) for _, outcome in zip(items, outcomes, strict=True)]


def job(number: int = 1) -> Held:
    body = msgpack.packb(["t", b"", None, 1])
    return Held(number, [bytes([number]) * 16, 1, "q", 1000, 0, body, 5, 0], cast(Pool, None), 0)


def new_settler(link: FakeLink, heard: Heard) -> Settler:
    log = Log(Output(2), "json", colour=False, clock=lambda: 0)
    return Settler(link, heard, log, changed=lambda: None)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "PAUSE_S_MIN", 0.0)
    monkeypatch.setattr(settle, "PAUSE_S_MAX", 0.0)


async def answered(settler: Settler) -> None:
    settler.flush()
    async with asyncio.timeout(10):
        while not settler.idle:
            await asyncio.sleep(0)
            settler.flush()  # as every turn of the worker does


async def test_all_of_one_turn_leaves_as_one_request_for_each_operation() -> None:
    link, heard = FakeLink(), Heard()
    settler = new_settler(link, heard)
    settler.ack(job(1), None)
    settler.ack(job(2), b"r")
    settler.fail(job(3), {"kind": "failed"})
    settler.release(job(4), None, "why")
    settler.release(job(5), 500, None)
    assert settler.count == 5
    await answered(settler)
    assert link.sent == [
        ("ack", [[b"\1" * 16, 1], [b"\2" * 16, 1, b"r"]]),
        ("fail", [[b"\3" * 16, 1, {"kind": "failed"}]]),
        ("release", [[b"\4" * 16, 1, None, "why"], [b"\5" * 16, 1, 500]]),
    ]
    assert [op for op, _ in heard] == ["ack", "ack", "fail", "release", "release"]
    assert settler.count == 0


async def test_while_the_broker_works_on_a_request_what_comes_next_gathers() -> None:
    link, heard = FakeLink(), Heard()
    settler = new_settler(link, heard)
    settler.ack(job(1), None)
    settler.flush(at_once=False)
    assert len(link.sent) == 1, "nothing is in flight: at once"
    for number in (2, 3):
        settler.ack(job(number), None)
        settler.flush(at_once=False)
    assert len(link.sent) == 1
    assert settler.leases() == [[bytes([n]) * 16, 1] for n in (2, 3, 1)]
    settler.ack(job(4), None)
    settler.flush()
    assert [len(items) for _, items in link.sent] == [1, 3]
    await answered(settler)
    assert len(heard) == 4


async def test_what_is_not_answered_is_sent_again_however_often() -> None:
    troubles = [RequestTimeout("late"), ConnectionLost("gone"), StoreFull("full")] * 5
    link, heard = FakeLink(*troubles), Heard()
    settler = new_settler(link, heard)
    settler.ack(job(), None)
    settler.flush()
    assert settler.leases() == [[b"\1" * 16, 1]], "the broker is told that we still have it"
    await answered(settler)
    assert len(link.sent) == 16
    assert len({str(sent) for sent in link.sent}) == 1, "the very same request"
    assert heard == [("ack", 0)]


async def test_a_request_that_is_refused_as_a_whole_is_cut_until_the_bad_item_is_alone() -> None:
    refusal = BadRequest("item 2 is no good")
    link, heard = FakeLink(refusal, "ok", refusal), Heard()
    settler = new_settler(link, heard)
    settler.ack(job(1), b"a")
    settler.ack(job(2), b"b")
    await answered(settler)
    assert [(op, len(items)) for op, items in link.sent] == [
        ("ack", 2), ("ack", 1), ("ack", 1), ("fail", 1),
    ]  # fmt: skip
    assert link.sent[-1][1][0][2]["dead"] is True
    assert [op for op, _ in heard] == ["ack", "fail"]


async def test_an_item_that_is_refused_is_told_and_concerns_no_other() -> None:
    lost = [1, "LEASE_LOST", "gone", False, {}]
    link, heard = FakeLink([0, lost, 0]), Heard()
    settler = new_settler(link, heard)
    for number in (1, 2, 3):
        settler.ack(job(number), None)
    await answered(settler)
    assert heard == [("ack", 0), ("ack", lost), ("ack", 0)]


async def test_many_and_large_results_leave_in_requests_of_bounded_length() -> None:
    link, heard = FakeLink(), Heard()
    settler = new_settler(link, heard)
    for number in range(4):
        settler.ack(job(number), b"x" * (1024 * 1024))
    for number in range(8):
        settler.ack(job(number), b"x" * (30 * 1024))
    for number in range(2_500):
        settler.release(job(number % 256), None, None)
    await answered(settler)
    sizes = [(op, len(items)) for op, items in link.sent]
    releases = [("release", 1000), ("release", 1000), ("release", 500)]
    assert sizes == [("ack", 1), *releases, *[("ack", 1)] * 3, ("ack", 4), ("ack", 4)]


async def test_one_request_with_large_results_is_on_its_way_at_a_time() -> None:
    link, heard = FakeLink(), Heard()
    settler = new_settler(link, heard)
    for number in range(4):
        settler.ack(job(number), b"x" * (100 * 1024))
    settler.flush()
    settler.ack(job(5), None)
    settler.flush()

    sent = [[item[0][0] for item in items] for _, items in link.sent]
    assert sent == [[0]], "the others would hold up the heartbeats on a slow link"
    await answered(settler)
    assert len(heard) == 5


class Listener:
    """Stands for a child: hears what became of its checkpoints."""

    def __init__(self, held: Held) -> None:
        self.jobs = {held.key: held}
        self.heard: list[list[Any]] = []

    def send(self, message: list[Any]) -> None:
        self.heard.append(message)


def noted(*answers: object) -> tuple[FakeLink, Notes, Held, Listener, list[Held]]:
    link = FakeLink(*answers)
    lost: list[Held] = []
    held = job()
    child = Listener(held)
    held.child = cast(Any, child)
    return link, Notes(link, lost.append), held, child, lost


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_progress_and_lines_wait_a_moment_for_others_and_leave_together() -> None:
    link, notes, held, _, _ = noted()
    notes.progress(held, [1, 3, None], 0)
    notes.flush(10, all_of_it=False)
    assert link.sent == []
    notes.progress(held, [2, 3, "two"], 20)
    notes.log(held, [f"line {n}" for n in range(30)], 20)
    notes.flush(notes.alarm_ms, all_of_it=False)
    [(op, items)] = link.sent
    assert op == "note"
    told = {"progress": [2, 3, "two"], "log": [f"line {n}" for n in range(10, 30)]}
    assert items == [[held.id, 1, told]]


async def test_notes_leave_before_the_ack_of_their_job() -> None:
    link, notes, held, _, _ = noted()
    notes.progress(held, [3, 3, None], 0)
    notes.flush(0, all_of_it=True)
    assert len(link.sent) == 1


async def test_a_checkpoint_leaves_at_once_and_is_answered_when_it_is_durable() -> None:
    link, notes, held, child, _ = noted(RequestTimeout("late"), "ok")
    notes.checkpoint(held, 1, b"one", 0)
    notes.checkpoint(held, 2, b"two", 0)
    notes.flush(0, all_of_it=False)
    await until(lambda: child.heard)
    assert link.sent[0] == ("note", [[held.id, 1, {"checkpoint": b"two"}]])
    assert len(link.sent) == 2, "sent again until it is answered"
    assert child.heard == [["saved", 1, 1, None], ["saved", 1, 2, None]]


@pytest.mark.parametrize(
    ("answer", "told", "is_lost"),
    [
        ([[1, "LEASE_LOST", "gone", False, {}]], "gone", True),
        ([[1, "PAYLOAD_TOO_LARGE", "too long", False, {}]], "too long", False),
        (BadRequest("no good"), "no good", False),
    ],
)
async def test_a_checkpoint_that_is_refused_is_an_error_in_the_task(
    answer: object, told: str, is_lost: bool
) -> None:
    _, notes, held, child, lost = noted(answer)
    notes.checkpoint(held, 7, b"x", 0)
    notes.flush(0, all_of_it=False)
    await until(lambda: child.heard)
    assert child.heard[0][:3] == ["saved", 1, 7]
    assert told in child.heard[0][3]
    assert lost == ([held] if is_lost else [])


async def test_a_checkpoint_waits_for_room_in_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes_module, "_PAUSE_S", 0.0)
    full = [[1, "STORE_FULL", "no room", True, {}]]
    link, notes, held, child, _ = noted(full, full, "ok")
    notes.checkpoint(held, 7, b"x", 0)
    notes.flush(0, all_of_it=False)
    await until(lambda: child.heard)
    assert child.heard == [["saved", 1, 7, None]]
    assert len(link.sent) == 3


async def test_a_checkpoint_of_a_job_that_has_ended_waits_for_nothing() -> None:
    link, notes, held, _, _ = noted([[1, "STORE_FULL", "no room", True, {}]])
    notes.checkpoint(held, 7, b"x", 0)
    notes.flush(0, all_of_it=False)
    held.over = True
    await until(lambda: not notes.busy)
    assert len(link.sent) == 1


async def test_stale_progress_is_not_sent_again() -> None:
    link, notes, held, _, _ = noted(RequestTimeout("late"))
    notes.progress(held, [1, None, None], 0)
    notes.flush(0, all_of_it=True)
    await until(lambda: not notes.busy)
    assert len(link.sent) == 1


def test_errors_of_the_broker_are_what_they_are() -> None:
    assert isinstance(StoreFull("x"), BrokerError)
    assert StoreFull("x").retryable
