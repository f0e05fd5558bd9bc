"""A worker makes arguments of a payload again, or says what does not fit."""

from __future__ import annotations

from typing import Any

import pytest

from tenure import App, ArgumentError, Depends
from tests.tasks.shop import Colour, Item, Smtp

app = App("tenure://127.0.0.1:1")


@app.task
def work(item: Item, count: int = 1, smtp: Smtp = Depends(Smtp)) -> list[Colour]:
    return [Colour.RED] * count


@app.task
def open_ended(*names: str, **scores: float) -> None: ...


@app.task
def untold() -> Any: ...


@app.task
def strange() -> Smtp:
    return Smtp()


ITEM = {"name": "a", "price": 1}


def why(payload: Any) -> str:
    with pytest.raises(ArgumentError) as caught:
        work.signature.unpack(payload)
    return str(caught.value)


def test_values_become_what_the_annotations_say() -> None:
    assert work.signature.unpack({"item": ITEM, "count": 2}) == (
        [],
        {"item": Item("a", 1.0), "count": 2},
    )


def test_what_was_left_out_is_left_to_the_default_of_the_worker() -> None:
    assert work.signature.unpack({"item": ITEM}) == ([], {"item": Item("a", 1.0)})
    assert open_ended.signature.unpack(None) == ([], {})
    assert open_ended.signature.unpack({}) == ([], {})


def test_what_does_not_fit_is_named_with_its_path() -> None:
    assert why({"item": {"name": "a", "price": "b"}}) == (
        "work(): argument 'item.price' must be float, not str"
    )
    assert why({"item": ITEM, "count": 1.5}) == "work(): argument 'count' must be int, not float"
    assert why({"count": 1}) == "work(): its payload lacks 'item'"
    assert why({"item": ITEM, "size": 1}) == (
        "work(): it has no argument 'size'; its arguments are item, count"
    )
    assert why({"item": ITEM, "smtp": 1}) == (
        "work(): it has no argument 'smtp'; its arguments are item, count"
    )
    assert why([1]) == "work(): its payload must be a map of arguments, not list"


def test_open_ended_arguments_are_checked_too() -> None:
    with pytest.raises(ArgumentError, match=r"argument 'names\[1\]' must be str, not int"):
        open_ended.signature.unpack({"*names": ["a", 1]})
    with pytest.raises(ArgumentError, match=r"argument 'maths' must be float, not str"):
        open_ended.signature.unpack({"maths": "a"})
    assert open_ended.signature.unpack({"*names": ["a"], "maths": 1}) == (["a"], {"maths": 1.0})


def test_a_result_travels_as_its_annotation_says() -> None:
    plain = work.signature.encode_result([Colour.RED])

    assert plain == ["red"]
    assert work.signature.decode_result(plain) == [Colour.RED]


def test_a_result_of_another_type_is_told() -> None:
    with pytest.raises(ArgumentError) as caught:
        work.signature.encode_result(["red"])
    assert str(caught.value) == "work(): 'result[0]' must be Colour, not str"
    with pytest.raises(ArgumentError) as caught:
        work.signature.encode_result(5)
    assert str(caught.value) == "work(): its result must be list[Colour], not int"


def test_a_result_that_no_annotation_tells_must_be_plain() -> None:
    assert untold.signature.encode_result({"a": (1, 2)}) == {"a": [1, 2]}
    with pytest.raises(ArgumentError, match="its result is of type Smtp, which no annotation"):
        strange.signature.encode_result(Smtp())
