"""Where the broker is: `tenure://host:port`, also several hosts, tried in turn."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from tenure.errors import InvalidUrl
from tenure_protocol import DEFAULT_PORT

URL_DEFAULT = f"tenure://127.0.0.1:{DEFAULT_PORT}"
"""Where a client looks when neither an argument nor TENURE_URL says otherwise."""

URL_VARIABLE = "TENURE_URL"
"""The environment variable with the broker's URL."""

_SCHEME = "tenure://"
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<name>[^\[\]:/?#@\s]+))(?::(?P<port>.*))?")


class Address(NamedTuple):
    """A host and its port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def addresses_of(url: str | None, source: str = "url") -> tuple[Address, ...]:
    """The addresses that `url`, else TENURE_URL, else the default names, in their order.

    `source` is where `url` comes from, for people. Raises `InvalidUrl` that says where the
    text comes from, what is wrong with it, and what a URL looks like.
    """
    text = url
    if not text:
        text, source = os.environ.get(URL_VARIABLE) or URL_DEFAULT, URL_VARIABLE
    if not isinstance(text, str):
        raise TypeError(f"url must be a text such as {URL_DEFAULT!r}, not {type(text).__name__}")
    told = f"{source} {text!r}"
    if not text.startswith(_SCHEME):
        raise InvalidUrl(
            f"{told} is not a broker's URL: it must begin with {_SCHEME}, such as {URL_DEFAULT}"
        )
    hosts = text.removeprefix(_SCHEME).removesuffix("/")
    return tuple(_address(part.strip(), told) for part in hosts.split(","))


def _address(part: str, told: str) -> Address:
    found = _HOST.fullmatch(part)
    if found is None:
        raise InvalidUrl(
            f"{told} is not a broker's URL: write tenure://host:port, several hosts with commas"
            " between them, IPv6 addresses in [brackets]"
        )
    host = found["six"] or found["name"]
    port = found["port"]
    if port is None:
        return Address(host, DEFAULT_PORT)
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65_535:
        raise InvalidUrl(
            f"{told} has no usable port: {port!r} is not a number from 1 to 65535; write for"
            f" example {URL_DEFAULT}"
        )
    return Address(host, int(port))
