"""What a shape is, and what is raised when a value does not fit one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Code = Callable[[Any], Any]


class Misfit(Exception):
    """A value does not fit. `what` goes on after the name of the value: "must be str, not int"."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.path = ""

    def under(self, part: str) -> Misfit:
        """The same, seen from one level above."""
        self.path = part + self.path
        return self


class Unshapable(Exception):
    """An annotation for which there is no way to travel."""


@dataclass(slots=True, eq=False)
class Shape:
    """How values of one type travel.

    - `name`: the type, for people.
    - `encode`, `decode`: to plain values and back; both check, and raise `Misfit`.
    - `types`: values of exactly these types belong here.
    - `wire`: the types that plain values of it have; empty when they can be anything.
    - `exact`: what travels is the value itself.
    - `same`: values of exactly this type need no encoding at all; ints must still fit 64 bits.
    """

    name: str
    encode: Code
    decode: Code
    types: tuple[type, ...] = ()
    wire: frozenset[type] = frozenset()
    exact: bool = False
    same: type | None = None


def wrong(name: str, value: object) -> Misfit:
    """That `value` is of another type than `name`."""
    return Misfit(f"must be {name}, not {type(value).__name__}")
