"""A value that may be of several types comes back as the one it was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Union
from uuid import UUID

import pytest

from tests.tasks import shop
from tests.tasks.coding import arrived, refused_here, refused_there, sent

ID = UUID("12345678-1234-5678-1234-567812345678")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@dataclass
class Circle:
    radius: float


@dataclass
class Square:
    side: float


@dataclass
class Drawing:
    shapes: list[Circle | Square]


BOTH_WAYS: list[tuple[Any, Any, Any]] = [
    (int | str, 1, 1),
    (int | str, "a", "a"),
    (int | float, 3, 3),
    (int | float, 3.0, 3.0),
    (float | int, 3, 3),
    (float | int | None, None, None),
    (bool | int, True, True),
    (Union[int, bool], True, True),  # noqa: UP007
    (str | bytes, b"a", b"a"),
    (str | list[str], ["a"], ["a"]),
    (list[int] | list[str], [1], [1]),
    (list[int] | list[str], ["a"], ["a"]),
    (str | Path, "a", "a"),
    (str | Path, Path("a"), {"$type": "Path", "value": "a"}),
    (Path | str, Path("a"), {"$type": "Path", "value": "a"}),
    (Path | str, "a", "a"),
    (UUID | str | None, str(ID), str(ID)),
    (UUID | str | None, ID, {"$type": "UUID", "value": str(ID)}),
    (datetime | date, NOON, {"$type": "datetime", "value": NOON.isoformat()}),
    (datetime | date, date(2026, 5, 1), "2026-05-01"),
    (int | timedelta, timedelta(seconds=1), {"$type": "timedelta", "value": 1.0}),
    (Literal["auto"] | str, "auto", "auto"),
    (Literal["auto"] | str, "x", "x"),
    (Literal["auto"] | int, 5, 5),
    (shop.Colour | int, shop.Colour.RED, "red"),
    (Circle | Square, Circle(1.5), {"radius": 1.5}),
    (Circle | Square, Square(1.5), {"$type": "Square", "value": {"side": 1.5}}),
    (Circle | dict[str, float], {"a": 1.5}, {"a": 1.5}),
    (Circle | dict[str, float], Circle(1.5), {"$type": "Circle", "value": {"radius": 1.5}}),
    (dict[str, str] | Circle, {"$type": "a", "value": "b"}, None),
    (Drawing, Drawing([Circle(1.0), Square(2.0)]), None),
    (dict[str, int | None], {"a": None}, {"a": None}),
    (Any | int, {"a": 1}, {"a": 1}),
]


@pytest.mark.parametrize(("annotation", "value", "travels"), BOTH_WAYS, ids=repr)
def test_a_value_comes_back_as_it_was(annotation: Any, value: Any, travels: Any) -> None:
    plain = sent(annotation, value)
    back = arrived(annotation, plain)

    assert travels is None or (plain == travels and type(plain) is type(travels))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("annotation", "plain", "value"),
    [
        (Path | str, "a", "a"),
        (datetime | date, NOON.isoformat(), NOON),
        (Circle | Square, {"side": 1}, Square(1.0)),
        (Circle | Square, {"$type": "Circle", "value": {"radius": 1}}, Circle(1.0)),
        (float | None, 3, 3.0),
    ],
    ids=repr,
)
def test_a_payload_written_by_hand_needs_no_names_of_types(
    annotation: Any, plain: Any, value: Any
) -> None:
    assert arrived(annotation, plain) == value


def test_what_fits_none_is_told_with_all_of_them() -> None:
    assert refused_here(int | str, 1.5) == "task(): argument 'it' must be int | str, not float"
    assert refused_here(int | str | None, b"") == (
        "task(): argument 'it' must be int | str | None, not bytes"
    )
    assert refused_there(int | str, [1]) == "task(): argument 'it' must be int | str, not list"


def test_what_is_wrong_inside_the_only_candidate_is_told() -> None:
    assert refused_here(int | list[str], ["a", 1]) == (
        "task(): argument 'it[1]' must be str, not int"
    )
    assert refused_there(int | list[str], ["a", 1]) == (
        "task(): argument 'it[1]' must be str, not int"
    )
    assert refused_there(Circle | Square, {"$type": "Square", "value": {"side": "a"}}) == (
        "task(): argument 'it.side' must be float, not str"
    )
    assert refused_here(shop.Item | None, shop.Item("a", "b")) == (  # type: ignore[arg-type]
        "task(): argument 'it.price' must be float, not str"
    )


def test_the_order_in_the_annotation_does_not_change_what_travels() -> None:
    tagged = {"$type": "Path", "value": "a"}

    assert sent(list[str | Path], [Path("a")]) == [tagged]
    assert sent(list[Path | str], [Path("a")]) == [tagged]
    assert sent(shop.Box[str | Path], shop.Box[str | Path](Path("a")))["content"] == tagged
    assert sent(shop.Box[Path | str], shop.Box[Path | str](Path("a")))["content"] == tagged
