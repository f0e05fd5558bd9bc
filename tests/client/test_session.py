"""The session without I/O: ids, windows, deadlines, keep-alive, late replies."""

from __future__ import annotations

from typing import Any

import pytest

from tenure import (
    BadRequest,
    CannotConnect,
    ConnectionLost,
    ProtocolViolation,
    RequestTimeout,
)
from tenure.core import admin, work
from tenure.core.bodies import Encoding, enqueue_one
from tenure.core.call import PING, Call
from tenure.core.command import Command
from tenure.core.session import FRAME_BYTES_ACCEPTED_MAX, Session
from tenure_protocol.body import RAW
from tenure_protocol.frames import FrameDecoder, encode_frame
from tenure_protocol.limits import ENQUEUES_UNANSWERED_MAX
from tenure_protocol.wire import unpack
from tests.client.fake_broker import SESSION, greeting, job_row

TIMEOUT_MS = 30_000


def new_session(*, repeats: bool = True) -> Session:
    return Session(
        name="test", timeout_ms=TIMEOUT_MS, repeats=repeats, random_bytes=lambda count: b"p" * count
    )


def sent(session: Session) -> list[list[Any]]:
    """What the session wants to write."""
    return [unpack(body) for body in FrameDecoder().feed(session.take_out())]


def open_session(now_ms: int = 0, **changes: Any) -> Session:
    session = new_session()
    begin(session, now_ms, **changes)
    return session


def begin(session: Session, now_ms: int = 0, **changes: Any) -> list[list[Any]]:
    """Connect and greet. Returns what is sent after the hello."""
    session.begin("here:1", now_ms, 5_000)
    ((request_id, op, _),) = sent(session)
    assert op == "hello"
    reply(session, request_id, {**greeting(), **changes}, now_ms)
    return sent(session)


def reply(session: Session, request_id: int, result: object, now_ms: int = 0) -> None:
    session.receive(encode_frame([request_id, 0, result]), now_ms)


def enqueue() -> Command[Any]:
    return enqueue_one("mail", "t", b"", {}, Encoding(RAW, None))


def reserve(wait: float = 0) -> Command[Any]:
    return work.reserve("mail", 1, wait, None, auto_ack=False, wall_ms=lambda: 0)


def test_the_hello_names_the_client_and_the_versions_it_speaks() -> None:
    session = new_session()
    session.begin("here:1", 0, 5_000)

    ((_, op, args),) = sent(session)

    assert op == "hello"
    assert (args["protocol"], args["client"], args["session"]) == ([1, 1], "test", None)


def test_requests_wait_for_the_hello_and_then_leave_in_order() -> None:
    session = new_session()
    first, second = session.submit(PING, 0), session.submit(enqueue(), 0)
    assert sent(session) == []

    frames = begin(session)

    assert [frame[0] for frame in frames] == [first.id, second.id]


def test_replies_in_any_order_find_their_calls() -> None:
    session = open_session()
    calls = [session.submit(PING, 0) for _ in range(3)]
    for call in reversed(calls):
        reply(session, call.id, {"n": call.id})

    assert session.take_done() == calls[::-1]
    assert [call.result for call in calls] == [{"n": call.id} for call in calls]


def test_at_most_128_enqueues_are_unanswered() -> None:
    session = open_session()
    calls = [session.submit(enqueue(), 0) for _ in range(ENQUEUES_UNANSWERED_MAX + 10)]

    frames = sent(session)
    assert [frame[2][3] for frame in frames] == list(range(1, ENQUEUES_UNANSWERED_MAX + 1))

    reply(session, calls[0].id, [[bytes(16)], None])
    assert [frame[2][3] for frame in sent(session)] == [ENQUEUES_UNANSWERED_MAX + 1]


def test_an_enqueue_never_runs_further_ahead_than_the_broker_remembers() -> None:
    session = open_session()
    stuck = session.submit(enqueue(), 0)
    for _ in range(1000):
        call = session.submit(enqueue(), 0)
        if call.sent_ms >= 0:
            reply(session, call.id, [[bytes(16)], None])

    assert max(frame[2][3] for frame in sent(session)) == ENQUEUES_UNANSWERED_MAX
    reply(session, stuck.id, [[bytes(16)], None])
    assert sent(session)


def test_every_enqueue_has_its_own_sequence_of_one_producer() -> None:
    session = open_session()
    for _ in range(3):
        session.submit(enqueue(), 0)

    frames = sent(session)

    assert {frame[2][2] for frame in frames} == {b"p" * 16}
    assert [frame[2][3] for frame in frames] == [1, 2, 3]


def test_a_broken_connection_repeats_what_was_sent_and_keeps_the_session() -> None:
    session = open_session()
    call = session.submit(enqueue(), 0)
    (before,) = sent(session)
    session.lost(ConnectionResetError(), 10)
    assert session.take_done() == []

    session.begin("here:1", 20, 5_000)
    ((_, _, hello),) = sent(session)
    reply(session, 1, greeting(), 20)

    assert hello["session"] == SESSION
    assert sent(session) == [before]
    assert not call.done


def test_a_repeated_reserve_waits_for_the_rest_of_its_time() -> None:
    session = open_session()
    session.submit(reserve(wait=10), 0)
    assert sent(session)[0][2][2] == 10_000

    session.lost(ConnectionResetError(), 4_000)

    assert begin(session, 6_000)[0][2][2] == 4_000


def test_a_request_that_was_not_taken_by_the_shell_has_not_left() -> None:
    session = open_session()
    call = session.submit(admin.purge_queue("mail"), 0)

    session.lost(ConnectionResetError(), 10)

    assert session.take_done() == []
    assert [frame[0] for frame in begin(session, 20)] == [call.id]


def test_brokers_last_words_met_twice_end_what_was_sent_and_leave_open_what_came_of_it() -> None:
    session = open_session()
    call = session.submit(enqueue(), 0)
    frames = sent(session)
    for done in ([], [call]):
        assert [frame[0] for frame in frames] == [call.id], "it may be another's fault"
        with pytest.raises(BadRequest) as caught:
            session.receive(encode_frame([0, 1, BadRequest("no").to_wire()]), 5)
        session.lost(caught.value, 5)
        assert session.take_done() == done
        frames = begin(session, 6)

    assert frames == []
    assert isinstance(call.error, ConnectionLost)
    assert isinstance(call.error.__cause__, BadRequest)


def test_a_request_times_out_after_its_wait_and_the_timeout() -> None:
    session = open_session()
    call = session.submit(reserve(wait=10), 0)
    sent(session)
    assert session.alarm_ms <= 40_000

    session.tick(39_999)
    assert session.take_done() == []

    session.tick(40_000)
    assert session.take_done() == [call]
    assert isinstance(call.error, RequestTimeout)


def test_a_connection_that_was_silent_for_a_whole_timeout_is_dead() -> None:
    session = open_session()
    session.submit(PING, 0)
    sent(session)

    session.tick(TIMEOUT_MS)

    assert session.dead is not None


def test_one_slow_request_does_not_make_a_connection_dead() -> None:
    session = open_session()
    session.submit(PING, 0)
    quick = session.submit(PING, 0)
    reply(session, quick.id, {}, 100)

    session.tick(TIMEOUT_MS)

    assert session.dead is None


def test_without_a_connection_the_error_says_why() -> None:
    session = new_session()
    call = session.submit(PING, 0)
    session.trouble = ConnectionRefusedError()

    session.tick(TIMEOUT_MS)

    assert isinstance(call.error, CannotConnect)
    assert "is the broker running" in str(call.error)


def test_jobs_that_come_after_everybody_left_are_given_back() -> None:
    session = open_session()
    call = session.submit(reserve(wait=10), 0)
    sent(session)
    session.abandon(call, 5)

    reply(session, call.id, [job_row(1), job_row(2)], 10)

    ((_, op, (items,)),) = sent(session)
    assert op == "release"
    assert [[raw[-1], attempt] for raw, attempt in items] == [[1, 1], [2, 1]]
    assert session.take_done() == []


def test_jobs_that_come_long_after_everybody_left_are_given_back_as_well() -> None:
    session = open_session()
    call = session.submit(reserve(wait=10 * TIMEOUT_MS / 1000), 0)
    sent(session)
    session.abandon(call, 5)

    session.tick(9 * TIMEOUT_MS)
    reply(session, call.id, [job_row(1)], 9 * TIMEOUT_MS)

    assert "release" in [frame[1] for frame in sent(session)]


def test_jobs_of_a_reserve_that_timed_out_are_given_back_too() -> None:
    session = open_session()
    call = session.submit(reserve(), 0)
    sent(session)
    session.tick(TIMEOUT_MS)
    assert session.take_done() == [call]

    reply(session, call.id, [job_row(1)], TIMEOUT_MS + 5)

    assert [frame[1] for frame in sent(session)] == ["release"]
    assert isinstance(call.error, RequestTimeout), "the caller's error is left alone"


def test_jobs_whose_reader_was_interrupted_after_the_reply_are_given_back() -> None:
    session = open_session()
    call = session.submit(reserve(), 0)
    sent(session)
    reply(session, call.id, [job_row(1)])

    session.abandon(call, 5)

    assert [frame[1] for frame in sent(session)] == ["release"]


def test_an_abandoned_call_that_never_left_is_forgotten() -> None:
    session = new_session()
    call = session.submit(enqueue(), 0)
    session.abandon(call, 0)

    assert begin(session) == []
    assert not session.waiting


def test_an_idle_connection_is_pinged_at_a_third_of_what_the_broker_allows() -> None:
    session = open_session(idle_timeout_ms=90_000)
    assert session.alarm_ms == 30_000
    session.tick(29_999)
    assert sent(session) == []

    session.tick(30_000)

    ((request_id, op, _),) = sent(session)
    assert op == "ping"
    reply(session, request_id, {"now_ms": 0}, 30_010)
    assert session.alarm_ms == 60_000
    assert session.take_done() == []


def test_a_ping_without_an_answer_shows_a_dead_connection() -> None:
    session = open_session(idle_timeout_ms=90_000)
    session.tick(30_000)
    assert session.alarm_ms == 30_000 + TIMEOUT_MS

    session.tick(30_000 + TIMEOUT_MS)

    assert session.dead is not None


def test_a_ping_that_was_overtaken_by_other_news_is_sent_again() -> None:
    session = open_session(idle_timeout_ms=90_000)
    session.tick(30_000)
    sent(session)
    session.receive(encode_frame([0, 2, ["draining", {}]]), 40_000)

    session.tick(30_000 + TIMEOUT_MS)
    assert session.dead is None
    session.tick(30_000 + TIMEOUT_MS)

    assert [frame[1] for frame in sent(session)] == ["ping"]


def test_a_hello_without_an_answer_is_given_up() -> None:
    session = new_session()
    session.begin("here:1", 0, 5_000)
    assert session.alarm_ms == 5_000

    session.tick(5_000)

    assert session.dead is not None


@pytest.mark.parametrize(
    "frame",
    [
        [2, 0, {}],
        [1, 0, []],
        [1, 0, {}],
        [1, 0, {**greeting(), "protocol": 2}],
        [1, 0, {**greeting(), "session": b"short"}],
        [1, 1, "no"],
        [0, 0, None],
        ["a", 0, None],
        {},
    ],
)
def test_a_wrong_answer_to_the_hello_is_a_violation(frame: object) -> None:
    session = new_session()
    session.begin("here:1", 0, 5_000)

    with pytest.raises(ProtocolViolation):
        session.receive(encode_frame(frame), 0)


@pytest.mark.parametrize("frame", [[2, 7, None], [2, 1, "error"], [0, 2, "draining"], [0, 0, 1]])
def test_a_wrong_frame_leaves_the_call_waiting_for_the_next_connection(frame: object) -> None:
    session = open_session()
    call = session.submit(enqueue(), 0)
    sent(session)
    with pytest.raises(ProtocolViolation) as caught:
        session.receive(encode_frame(frame), 0)

    session.lost(caught.value, 0)

    assert [request[0] for request in begin(session)] == [call.id]


def test_before_the_hello_only_short_frames_are_taken() -> None:
    session = new_session()
    session.begin("here:1", 0, 5_000)

    with pytest.raises(ProtocolViolation, match="announced"):
        session.receive((16 * 1024 + 1).to_bytes(4, "big"), 0)


def test_a_broker_cannot_talk_the_client_into_endless_frames() -> None:
    session = open_session(limits={"frame_bytes_max": 2**60})

    session.receive(FRAME_BYTES_ACCEPTED_MAX.to_bytes(4, "big"), 0)
    other = open_session(limits={"frame_bytes_max": 2**60})
    with pytest.raises(ProtocolViolation, match="announced"):
        other.receive((FRAME_BYTES_ACCEPTED_MAX + 1).to_bytes(4, "big"), 0)


def test_a_reply_that_nobody_asked_for_is_ignored() -> None:
    session = open_session()

    reply(session, 4711, {})

    assert session.take_done() == []


def test_closing_ends_every_call() -> None:
    session = open_session()
    calls: list[Call] = [session.submit(enqueue(), 0) for _ in range(200)]
    error = RuntimeError("closed")

    session.fail_all(error)

    assert session.take_done() == calls
    assert {call.error for call in calls} == {error}


def test_request_ids_begin_again_before_they_overflow() -> None:
    session = open_session()
    waiting = session.submit(PING, 0)
    session._next_id = 2**32 - 1
    last, first = session.submit(PING, 0), session.submit(PING, 0)

    assert last.id == 2**32 - 1
    assert first.id == waiting.id + 1, "an id that is in use is passed over"
