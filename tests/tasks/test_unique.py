"""Unique names of jobs are made of their arguments, at the caller."""

from __future__ import annotations

from typing import Any

import pytest

from tenure import App, ArgumentError
from tests.tasks.shop import Colour, Item

offline = App("tenure://127.0.0.1:1")


@offline.task(unique="invoice-{number}:{kind}")
def invoice(number: int, kind: str = "plain") -> None: ...


@offline.task(unique=True)
def index(what: dict[str, Any], colours: set[str] | None = None, deep: bool = False) -> None: ...


def test_a_template_is_filled_from_the_arguments_and_their_defaults() -> None:
    assert invoice.s(7).unique == "invoice-7:plain"
    assert invoice.s(number=7, kind="final").unique == "invoice-7:final"


def test_a_template_may_look_into_an_argument() -> None:
    @offline.task(name="look", unique="{item.name}-{item.price:.2f}")
    def look(item: Item) -> None: ...

    assert look.s(Item("pen", 1)).unique == "pen-1.00"


def test_the_name_of_all_arguments_depends_on_nothing_else() -> None:
    name = index.s({"a": 1, "b": [1, {"c": 2, "d": 3}]}, {"x", "y"}).unique

    assert name is not None
    assert name.startswith("index:")
    assert len(name) == len("index:") + 64
    assert index.s({"b": [1, {"d": 3, "c": 2}], "a": 1}, {"y", "x"}).unique == name
    assert index.s({"b": [1, {"d": 3, "c": 2}], "a": 1}, {"y", "x"}, deep=False).unique == name
    assert index.s({"a": 1}).unique != name
    assert index.s({"a": 1}).unique == index.s({"a": 1}, None).unique
    # Written down: another process, and another version, must make the same name.
    assert index.s({"a": 1}).unique == (
        "index:e96db53e4355b3041f3c7de222c71524c61e8fc9d6f22992e70a00d437328229"
    )


def test_a_name_that_is_too_long_is_cut_and_stays_unique() -> None:
    @offline.task(name="long", unique="{text}")
    def long(text: str) -> None: ...

    one, other = long.s("é" * 500 + "a").unique, long.s("é" * 500 + "b").unique

    assert one is not None
    assert other is not None
    assert one != other
    assert one.startswith("ééé")
    assert len(one.encode()) <= 200
    assert long.s("é" * 100).unique == "é" * 100


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{nobody}", "there is no argument 'nobody'; use text, item"),
        ("{}", "there is no argument ''"),
        ("{text", "is not a template"),
        ("", "unique must not be empty"),
    ],
)
def test_an_impossible_template_is_refused_with_the_task(template: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):

        @offline.task(name="bad", unique=template)
        def bad(text: str, item: Item | None = None) -> None: ...


def test_a_template_that_cannot_be_filled_is_told_at_the_caller() -> None:
    @offline.task(name="may-fail", unique="{item.name}")
    def may_fail(item: Item | None) -> None: ...

    with pytest.raises(ArgumentError, match=r"may-fail\(\): unique '{item.name}': AttributeError"):
        may_fail.s(None)

    @offline.task(name="empty", unique="{text}")
    def empty(text: str) -> None: ...

    with pytest.raises(ArgumentError, match="became an empty text"):
        empty.s("")


def test_the_same_work_is_not_added_twice(app: App) -> None:
    @app.task(unique="{colour.value}")
    def paint(colour: Colour) -> None: ...

    first, again, other = (
        paint.enqueue(colour) for colour in (Colour.RED, Colour.RED, Colour.BLUE)
    )

    assert not first.existing
    assert again.existing
    assert again.id == first.id
    assert other.id != first.id
    assert [h.existing for h in app.enqueue_many([paint.s(Colour.RED)])] == [True]
