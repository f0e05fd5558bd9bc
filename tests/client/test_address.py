"""Where a client looks for its broker."""

from __future__ import annotations

import pytest

from tenure import Client
from tenure.address import Address, addresses_of
from tenure.errors import InvalidUrl, TenureError


@pytest.fixture(autouse=True)
def _no_url_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENURE_URL", raising=False)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("tenure://queue.example:9000", [("queue.example", 9000)]),
        ("tenure://queue.example", [("queue.example", 7733)]),
        ("tenure://queue.example/", [("queue.example", 7733)]),
        ("tenure://a,b:1, c", [("a", 7733), ("b", 1), ("c", 7733)]),
        ("tenure://[::1]:80,[fe80::1]", [("::1", 80), ("fe80::1", 7733)]),
        (None, [("127.0.0.1", 7733)]),
    ],
)
def test_a_url_names_hosts_and_ports(url: str | None, expected: list[tuple[str, int]]) -> None:
    assert list(addresses_of(url)) == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://queue.example",
        "queue.example:7733",
        "tenure://",
        "tenure://a,",
        "tenure://:80",
        "tenure://a:port",
        "tenure://a:0",
        "tenure://a:65536",
        "tenure://a:",
        "tenure://::1",
        "tenure://user@a",
        "tenure://a/path",
        "tenure://a?x=1",
    ],
)
def test_anything_else_is_refused_in_words(url: str) -> None:
    with pytest.raises(ValueError, match=r"broker's URL|no usable port"):
        addresses_of(url)


def test_the_environment_is_asked_when_no_url_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENURE_URL", "tenure://elsewhere:1")

    assert addresses_of(None) == (Address("elsewhere", 1),)
    assert addresses_of("tenure://here:2") == (Address("here", 2),)


def test_what_is_refused_is_named_with_where_it_comes_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TENURE_URL", "redis://x")
    with pytest.raises(InvalidUrl, match=r"^TENURE_URL 'redis://x' .*such as tenure://127\.0"):
        Client()
    with pytest.raises(InvalidUrl, match=r"^url 'foo' is not a broker's URL"):
        Client("foo")
    assert issubclass(InvalidUrl, TenureError)
    assert issubclass(InvalidUrl, ValueError), "as it was before it had a name"


def test_an_address_is_shown_as_it_is_written() -> None:
    assert str(Address("::1", 80)) == "[::1]:80"
    assert str(Address("a", 80)) == "a:80"
