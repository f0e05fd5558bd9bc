"""What a worker's hot path uses: rows and outcomes as they travel, and no reserve twice."""

from __future__ import annotations

import pytest

from tenure import ConnectionLost, OutcomeUnknown, ProtocolViolation
from tenure.core import fleet, work
from tenure.core.command import read_result
from tests.client.fake_broker import job_row
from tests.client.test_session import TIMEOUT_MS, begin, new_session, open_session, reply, sent

BROKEN = ConnectionResetError("gone")


def test_rows_are_what_the_broker_sent() -> None:
    session = open_session()
    command = work.reserve_rows({"mail": 3, "bulk": 1}, 7, 30_000)
    call = session.submit(command, 0)
    ((_, op, args),) = sent(session)
    assert (op, args) == ("reserve", [[["mail", 3], ["bulk", 1]], 7, 30_000])
    row = [*job_row(1), {"lost": 1}]
    reply(session, call.id, [row])
    assert read_result(command, call.result) == [row]


def test_a_row_that_is_too_short_is_no_row() -> None:
    command = work.reserve_rows("mail", 1, 0)
    with pytest.raises(ProtocolViolation):
        read_result(command, [[bytes(16), 1]])


def test_a_reserve_of_rows_that_had_left_is_not_sent_again() -> None:
    session = open_session()
    call = session.submit(work.reserve_rows("mail", 1, 60_000), 0)
    sent(session)
    session.lost(BROKEN, 1)
    assert call.done
    assert isinstance(call.error, (ConnectionLost, OutcomeUnknown))
    assert isinstance(call.error, ConnectionError)
    assert begin(session, 2) == []


def test_a_reserve_of_rows_that_had_never_left_is_sent_later() -> None:
    session = new_session()
    call = session.submit(work.reserve_rows("mail", 1, 60_000), 0)
    assert [frame[0] for frame in begin(session, 1_000)] == [call.id]
    session.lost(BROKEN, 1_001)
    assert call.done

    unwritten = open_session()
    held = unwritten.submit(work.reserve_rows("mail", 1, 60_000), 0)
    unwritten.lost(BROKEN, 1)
    assert not held.done
    assert [frame[0] for frame in begin(unwritten, 2)] == [held.id]


def test_an_abandoned_reserve_that_never_left_leaves_never() -> None:
    session = new_session()
    call = session.submit(work.reserve_rows("mail", 1, 60_000), 0)
    session.abandon(call, 1)
    assert begin(session, 2) == []


@pytest.mark.parametrize("how", ["abandoned", "timed out"])
def test_rows_that_nobody_waits_for_any_more_are_given_back(how: str) -> None:
    session = open_session()
    call = session.submit(work.reserve_rows("mail", 1, 0), 0)
    sent(session)
    if how == "abandoned":
        session.abandon(call, 1)
    else:
        session.tick(TIMEOUT_MS)
        sent(session)
    row = job_row(1)
    reply(session, call.id, [row], TIMEOUT_MS)
    ((_, op, args),) = [frame for frame in sent(session) if frame[1] != "ping"]
    assert (op, args) == ("release", [[[row[0], row[1]]]])


def test_raw_outcomes_are_what_the_broker_sent() -> None:
    session = open_session()
    command = work.settle_raw("ack", [[bytes(16), 1, b"result"], [bytes(16), 2], [bytes(16), 3]])
    call = session.submit(command, 0)
    ((_, op, args),) = sent(session)
    assert (op, args) == ("ack", [[[bytes(16), 1, b"result"], [bytes(16), 2], [bytes(16), 3]]])
    outcomes = [0, [0, {"repeated": True}], [1, "LEASE_LOST", "gone", False, {}]]
    reply(session, call.id, outcomes)
    assert read_result(command, call.result) == outcomes


def test_too_few_outcomes_are_no_outcomes() -> None:
    command = work.settle_raw("extend", [[bytes(16), 1], [bytes(16), 2]])
    with pytest.raises(ProtocolViolation):
        read_result(command, [0])


def test_acks_are_sent_again_until_they_are_answered() -> None:
    session = open_session()
    call = session.submit(work.settle_raw("ack", [[bytes(16), 1]]), 0)
    assert len(sent(session)) == 1
    session.lost(BROKEN, 1)
    assert not call.done
    assert [frame[1] for frame in begin(session, 2)] == ["ack"]


def test_what_a_worker_keeps_is_said_once() -> None:
    session = open_session()
    call = session.submit(fleet.keep([[bytes(16), 4]]), 0)
    ((_, op, args),) = sent(session)
    assert (op, args) == ("keep", [[[bytes(16), 4]]])
    session.lost(BROKEN, 1)
    assert isinstance(call.error, OutcomeUnknown)
    assert read_result(fleet.keep(None), {"released": 3}) == 3


# ---- notices -------------------------------------------------------------------------------


def test_every_notice_is_told() -> None:
    from tenure_protocol.frames import encode_frame

    session, told = open_session(), []
    session.on_notice = lambda kind, details: told.append((kind, details))
    for kind, details in (("draining", {}), ("worker", {"do": "quiet", "token": 1}), ("new", {})):
        session.receive(encode_frame([0, 2, [kind, details]]), 0)
    assert [kind for kind, _ in told] == ["draining", "worker", "new"]
    assert told[1][1] == {"do": "quiet", "token": 1}
    assert session.draining
