"""Kinds of settings: how a value from a file, a variable or a flag is read, shown and explained.

A kind's `parse` raises `ValueError` with what is allowed; the caller adds which setting and where.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tenure_protocol.durations import duration_ms, format_ms
from tenure_protocol.errors import BadRequest
from tenure_protocol.retry import policy_from_wire, policy_to_wire

_UNITS = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
    "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40,
}  # fmt: skip
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_FLAGS = {"true": True, "yes": True, "on": True, "1": True} | {
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip


class Address(NamedTuple):
    """A host and a port; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Kind(NamedTuple):
    """How a setting is read and shown."""

    parse: Callable[[object], Any]
    show: Callable[[Any], str]
    """The value as TOML."""


def whole(low: int, high: int) -> Kind:
    """A whole number from `low` to `high`."""

    def parse(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?\d+", value.strip().replace("_", "")):
            value = int(value)
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"expected a whole number from {low} to {high}, got {value!r}")
        return value

    return Kind(parse, str)


def size(low: int, high: int, *, automatic: bool = False) -> Kind:
    """A number of bytes, such as 65536 or "64MiB"; with `automatic` also "auto", read as 0."""
    allowed = f"a size from {format_size(low)} to {format_size(high)}, such as 65536 or '64MiB'"
    if automatic:
        allowed += ", or 'auto'"

    def parse(value: object) -> int:
        if automatic and value == "auto":
            return 0
        count = value
        if isinstance(value, str):
            found = _SIZE.fullmatch(value.strip().lower().replace("_", ""))
            if found and found[2] in _UNITS:
                exact = float(found[1]) * _UNITS[found[2]]
                count = int(exact) if math.isfinite(exact) else value
        if type(count) is not int or not low <= count <= high:
            raise ValueError(f"expected {allowed}, got {value!r}")
        return count

    def show(value: int) -> str:
        return '"auto"' if automatic and value == 0 else f'"{format_size(value)}"'

    return Kind(parse, show)


def duration(low_ms: int, high_ms: int) -> Kind:
    """A duration in milliseconds, written "30s", "5m", or as a number of seconds."""
    allowed = f"a duration from {format_ms(low_ms)} to {format_ms(high_ms)}, such as '30s' or '5m'"

    def parse(value: object) -> int:
        try:
            milliseconds = duration_ms(value) if isinstance(value, (str, int, float)) else -1
        except ValueError:
            milliseconds = -1
        if not low_ms <= milliseconds <= high_ms:
            raise ValueError(f"expected {allowed}, got {value!r}")
        return milliseconds

    return Kind(parse, lambda value: f'"{_exact_ms(value)}"')


def flag() -> Kind:
    """True or false."""

    def parse(value: object) -> bool:
        if isinstance(value, str):
            value = _FLAGS.get(value.strip().lower(), value)
        if type(value) is not bool:
            raise ValueError(f"expected true or false, got {value!r}")
        return value

    return Kind(parse, lambda value: str(value).lower())


def choice(*names: str) -> Kind:
    """One of `names`."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or value.strip().lower() not in names:
            raise ValueError(f"expected one of {', '.join(names)}, got {value!r}")
        return value.strip().lower()

    return Kind(parse, json.dumps)


def path(*, optional: bool = False) -> Kind:
    """A file or directory, relative to where the broker was started; optional ones may be ""."""

    def parse(value: object) -> Path | None:
        if optional and value == "":
            return None
        if not isinstance(value, (str, Path)) or not str(value).strip() or "\0" in str(value):
            raise ValueError(f"expected a path, got {value!r}")
        try:
            return Path(value).expanduser()
        except RuntimeError as error:  # "~somebody", whom nobody here knows
            raise ValueError(f"expected a path, got {value!r}: {error}") from error

    return Kind(parse, lambda value: json.dumps("" if value is None else str(value)))


def address(*, optional: bool = False) -> Kind:
    """A "host:port"; optional ones may be "off"."""
    allowed = "host:port, such as '127.0.0.1:7733' or '[::1]:7733'" + (
        ", or 'off'" if optional else ""
    )

    def parse(value: object) -> Address | None:
        if optional and (value is False or (isinstance(value, str) and value.lower() == "off")):
            return None
        found = re.fullmatch(r"(\[[0-9a-fA-F:.%\w]+\]|[^:\[\]\s]+):(\d{1,5})", str(value).strip())
        if not isinstance(value, str) or found is None or int(found[2]) > 65_535:
            raise ValueError(f"expected {allowed}, got {value!r}")
        return Address(found[1].strip("[]"), int(found[2]))

    return Kind(parse, lambda value: '"off"' if value is None else json.dumps(str(value)))


def retry_policy() -> Kind:
    """A retry policy as it is on the wire, with milliseconds."""

    def parse(value: object) -> list[object]:
        shown = value
        if isinstance(value, str):
            try:
                value = tomllib.loads(f"value = {value}")["value"]
            except (ValueError, RecursionError):
                value = None
        try:
            return policy_to_wire(policy_from_wire(value))
        except BadRequest as error:
            raise ValueError(f"{error.message}, got {shown!r}") from error

    return Kind(parse, json.dumps)


def format_size(count: int) -> str:
    """A number of bytes in the largest unit that shows it exactly: "64MiB"."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if count and count % _UNITS[unit.lower()] == 0:
            return f"{count // _UNITS[unit.lower()]}{unit}"
    return f"{count}B"


def _exact_ms(milliseconds: int) -> str:
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if milliseconds and milliseconds % length == 0:
            return f"{milliseconds // length}{unit}"
    return f"{milliseconds}ms"
