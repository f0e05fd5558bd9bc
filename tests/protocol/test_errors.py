"""Errors travel whole, and those of a newer broker can be told apart too."""

from __future__ import annotations

import pytest

from tenure_protocol.errors import (
    CODES,
    BrokerError,
    InternalError,
    LeaseLost,
    ProtocolViolation,
    QueueFull,
    TenureError,
    error_from_wire,
)
from tenure_protocol.wire import pack, unpack


@pytest.mark.parametrize("code", CODES)
def test_every_error_comes_back_from_the_wire_as_it_was(code: str) -> None:
    sent = CODES[code]("what was wrong", details={"limit": 5, "id": b"x" * 16})

    got = error_from_wire(unpack(pack(sent.to_wire())))

    assert type(got) is CODES[code]
    assert (got.code, got.message, got.retryable, got.details) == (
        code,
        "what was wrong",
        CODES[code].retryable_default,
        {"limit": 5, "id": b"x" * 16},
    )
    assert str(got) == f"what was wrong ({code})"


@pytest.mark.parametrize("code", CODES)
def test_every_error_says_in_its_docstring_when_it_happens(code: str) -> None:
    assert CODES[code].__doc__


@pytest.mark.parametrize("retryable", [True, False])
def test_whether_to_try_again_is_what_the_broker_said(retryable: bool) -> None:
    assert error_from_wire(["QUEUE_FULL", "full", retryable, {}]).retryable is retryable


@pytest.mark.parametrize("retryable", [True, False])
def test_a_code_of_a_newer_broker_is_an_error_with_that_code(retryable: bool) -> None:
    wire: list[object] = ["TOO_SUNNY", "come back at night", retryable, {"hours": 9}]

    error = error_from_wire(wire)

    assert type(error) is BrokerError
    assert (error.code, error.retryable, error.details) == ("TOO_SUNNY", retryable, {"hours": 9})
    assert str(error) == "come back at night (TOO_SUNNY)"
    assert error.to_wire() == wire
    assert InternalError("").code == BrokerError("").code == "INTERNAL"


def test_further_items_of_an_error_are_ignored() -> None:
    assert type(error_from_wire(["LEASE_LOST", "lost", False, {}, "more"])) is LeaseLost


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "LEASE_LOST",
        {"code": "LEASE_LOST"},
        ["LEASE_LOST", "lost", False],
        [5, "lost", False, {}],
        ["LEASE_LOST", b"lost", False, {}],
        ["LEASE_LOST", "lost", 0, {}],
        ["LEASE_LOST", "lost", None, {}],
        ["LEASE_LOST", "lost", False, None],
        ["LEASE_LOST", "lost", False, []],
    ],
    ids=repr,
)
def test_an_error_of_another_shape_breaks_the_protocol(value: object) -> None:
    with pytest.raises(ProtocolViolation, match="code, message, retryable, details"):
        error_from_wire(value)


def test_all_errors_can_be_caught_as_ours_and_violations_apart_from_refusals() -> None:
    assert issubclass(ProtocolViolation, TenureError)
    assert all(issubclass(cls, TenureError) for cls in CODES.values())
    assert not issubclass(ProtocolViolation, BrokerError)


def test_details_are_the_errors_own() -> None:
    shared: dict[str, object] = {"limit": 1}

    error = QueueFull("full", details=shared)
    error.details["index"] = 3

    assert shared == {"limit": 1}
    assert QueueFull("full").details == {}
