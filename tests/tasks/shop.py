"""Types that tests send: one of each kind."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AnySet
from dataclasses import InitVar, dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    TypeAlias,
    TypedDict,
    TypeVar,
)
from uuid import UUID

T = TypeVar("T")
Bound = TypeVar("Bound", bound=int)
Either = TypeVar("Either", int, str)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    YES = "yes"


class Right(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Place(enum.Enum):
    """Its values are not plain: the names travel."""

    HERE = (0, 0)
    THERE = (1, 1)


class Lenient(enum.Enum):
    ON = "on"

    @classmethod
    def _missing_(cls, value: object) -> Lenient | None:
        return cls.ON if value == "ON" else None


@dataclass
class Item:
    name: str
    price: float
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Order:
    id: UUID
    items: list[Item]
    placed: datetime
    total: Decimal = Decimal(0)
    colour: Colour | None = None


@dataclass
class DearItem(Item):
    insured: bool = True


@dataclass
class Node:
    """Holds itself."""

    value: int
    next: Node | None = None
    children: list[Node] = field(default_factory=list)


@dataclass
class Computed:
    a: int
    double: int = field(init=False)

    def __post_init__(self) -> None:
        self.double = 2 * self.a


@dataclass
class Even:
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("it is odd")


@dataclass
class Started:
    seed: InitVar[int]


@dataclass
class Box(Generic[T]):
    content: T
    spare: list[T] = field(default_factory=list)


class Point(NamedTuple):
    x: int
    y: int = 0


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Sequel(Movie, total=False):
    number: int


class Smtp:
    """Something that cannot travel."""


UserId = NewType("UserId", int)
Prices: TypeAlias = dict[str, Decimal]

__all__ = [
    "UUID",
    "Annotated",
    "Any",
    "AnySet",
    "Bound",
    "Either",
    "Iterable",
    "Literal",
    "Mapping",
    "Optional",
    "Path",
    "PurePosixPath",
    "Sequence",
    "date",
    "time",
    "timedelta",
]
