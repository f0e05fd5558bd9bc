"""Queue names are safe in a store, a log, a metric and a URL."""

from __future__ import annotations

import pytest

from tenure_protocol.errors import BadRequest
from tenure_protocol.limits import PRIORITY_MAX, QUEUE_NAME_CHARS_MAX
from tenure_protocol.names import PRIORITIES, check_queue_name


@pytest.mark.parametrize(
    "name", ["a", "0", "emails", "a.b_c:d-e", "a..b", "x" * QUEUE_NAME_CHARS_MAX]
)
def test_a_plain_name_can_name_a_queue(name: str) -> None:
    assert check_queue_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * (QUEUE_NAME_CHARS_MAX + 1),
        "A",
        "aB",
        ".",
        "..",
        ".a",
        "_a",
        "-a",
        ":a",
        "a/b",
        "../a",
        "a\\b",
        "a b",
        " a",
        "a\n",
        "\na",
        "a\0",
        "ä",
        "a\u0430",
        "\u0661",
        "a*",
        "a%20",
        "a#",
        b"a",
        None,
        1,
        ["a"],
    ],
    ids=lambda name: repr(name)[:20],
)
def test_other_names_are_bad_requests_that_say_what_is_allowed(name: object) -> None:
    with pytest.raises(BadRequest, match="a-z 0-9") as caught:
        check_queue_name(name)

    assert len(caught.value.message) < 250


def test_named_priorities_are_priorities_in_the_order_of_their_urgency() -> None:
    assert list(PRIORITIES) == ["critical", "high", "normal", "low"]
    assert sorted(PRIORITIES.values()) == list(PRIORITIES.values())
    assert all(0 <= value <= PRIORITY_MAX for value in PRIORITIES.values())
