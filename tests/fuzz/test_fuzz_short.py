"""Every target of the fuzzer for a moment, and that the fuzzer finds what is planted for it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenure_protocol import frames, wire
from tenure_server.connection import Connection
from tenure_server.engine import OPERATIONS as ENGINE_OPERATIONS
from tenure_server.operations import OPERATIONS as SHELL_OPERATIONS
from tenure_storage import journal
from tests.fuzz import campaign, sessions, wires
from tests.fuzz.counting import Failed
from tests.fuzz.requests import REQUESTS
from tests.fuzz.shrink import shrunk
from tests.fuzz.targets import TARGETS

INPUTS = {
    "frames": 600, "values": 250, "bodies": 2_000, "replies": 500, "payloads": 600, "sessions": 50, "settings": 500,
    "kinds": 2_000, "names": 2_000, "rows": 1_500, "journals": 300, "stores": 300, "pipes": 300, "http": 150,
}  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_is_taken_or_refused_as_it_should_be(name: str) -> None:
    count = campaign.run(name, "short", lambda count: count.inputs < INPUTS[name])

    assert count.inputs == INPUTS[name]
    assert count.measured


def test_conversations_are_made_of_every_operation_that_the_broker_has() -> None:
    assert set(REQUESTS) == {*ENGINE_OPERATIONS, *SHELL_OPERATIONS}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(min_size=30, max_size=1_500))
def test_whatever_clients_say_everyone_is_answered_and_the_neighbour_is_served(
    data: bytes,
) -> None:
    sessions.talk(data)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_the_decoder_reads_what_the_specification_says(data: bytes) -> None:
    wires.values(data)


# ---- that it finds what is there ---------------------------------------------------------------


def found(name: str, inputs: int) -> str:
    """What the fuzzer says of a target with something planted in it, without making it shorter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(campaign, "shrunk", lambda run, data: data)
        with pytest.raises(Failed) as caught:
            campaign.run(name, "planted", lambda count: count.inputs < inputs)
    return str(caught.value)


def test_a_decoder_that_takes_one_wrong_byte_for_a_right_one_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = wire.unpack

    def planted(data: bytes) -> Any:
        value = right(data)
        return [*value[:-1], 200] if type(value) is list and value[-1:] == [201] else value

    def lenient(data: bytes) -> Any:
        return planted(data.replace(b"\xd4", b"\x01") if len(data) < 60 else data)

    monkeypatch.setattr(wires, "unpack", lenient)

    told = found("values", 3_000)

    assert "--only values --replay" in told


def test_a_frame_that_may_be_one_byte_too_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = frames.FrameDecoder._checked
    monkeypatch.setattr(
        frames.FrameDecoder,
        "_checked",
        lambda self, length: length if length == self.frame_bytes_max + 1 else right(self, length),
    )

    assert "a stream was" in found("frames", 20_000)


def test_a_reply_that_is_lost_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Connection.answer

    def forgetful(self: Connection, request_id: int, status: int, body: object) -> None:
        if request_id % 7 or self.name == "neighbour":
            right(self, request_id, status, body)

    monkeypatch.setattr(Connection, "answer", forgetful)

    assert "never answered" in found("sessions", 300)


def test_a_request_that_breaks_the_broker_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> object:
        raise TypeError("planted")

    monkeypatch.setitem(ENGINE_OPERATIONS, "extend", broken)

    assert "the broker broke: TypeError('planted')" in found("sessions", 300)


def test_a_client_that_harms_its_neighbour_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Connection.fail

    def too_much(self: Connection, code: str, *rest: Any) -> None:
        right(self, code, *rest)
        for other in list(self.hub.connections):
            other.abort("planted")

    monkeypatch.setattr(Connection, "fail", too_much)

    assert "neighbour" in found("sessions", 300)


def test_a_journal_that_believes_what_was_never_written_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "crc32", lambda *_: Anything(0))

    assert "not as written" in found("journals", 2_000)


class Anything(int):
    """A checksum that is equal to every other."""

    def __ne__(self, other: object) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


def test_memory_beyond_the_bound_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, "names", TARGETS["names"]._replace(peak_bytes_max=10))

    assert "bytes at a time; the limit is 10" in found("names", 200)


def test_an_endless_loop_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(data: bytes) -> None:
        while True:
            pass

    target = TARGETS["names"]._replace(run=endless)
    monkeypatch.setattr(campaign, "CPU_S", 0.05)
    monkeypatch.setitem(TARGETS, "names", target)

    assert "it still runs" in found("names", 1)


def test_what_fails_is_made_shorter() -> None:
    def fails(data: bytes) -> None:
        if b"\x07" in data:
            raise ValueError("planted")

    assert shrunk(fails, b"0123456\x07890" * 20) == b"\x07"
