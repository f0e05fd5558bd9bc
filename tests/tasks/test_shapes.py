"""Values of every shape travel as plain values and come back as what they were."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, List, Literal, Optional, Tuple, Union  # noqa: UP035
from uuid import UUID

import pytest

from tests.tasks import shop
from tests.tasks.coding import arrived, refused_here, refused_there, sent

ID = UUID("12345678-1234-5678-1234-567812345678")
NOON = datetime(2026, 5, 1, 12, 30, 15, 250, tzinfo=UTC)
NOON_HERE = datetime(2026, 5, 1, 12, 30)
SUMMER = datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))

# annotation, value, what travels
BOTH_WAYS: list[tuple[Any, Any, Any]] = [
    (None, None, None),
    (bool, True, True),
    (int, -5, -5),
    (int, 2**64 - 1, 2**64 - 1),
    (int, -(2**63), -(2**63)),
    (float, 1.5, 1.5),
    (str, "tschüß", "tschüß"),
    (bytes, b"\x00\xff", b"\x00\xff"),
    (bytearray, bytearray(b"ab"), b"ab"),
    (Any, {"a": [1, None, {"b": b"c"}]}, {"a": [1, None, {"b": b"c"}]}),
    (object, [1, "a"], [1, "a"]),
    (datetime, NOON, "2026-05-01T12:30:15.000250+00:00"),
    (datetime, NOON_HERE, "2026-05-01T12:30:00"),
    (datetime, SUMMER, "2026-05-01T12:00:00+02:00"),
    (date, date(2026, 5, 1), "2026-05-01"),
    (time, time(12, 30, tzinfo=UTC), "12:30:00+00:00"),
    (timedelta, timedelta(days=1, milliseconds=5), 86400.005),
    (UUID, ID, str(ID)),
    (Decimal, Decimal("1.10"), "1.10"),
    (Path, Path("/tmp/a b"), "/tmp/a b"),
    (PurePosixPath, PurePosixPath("a/b"), "a/b"),
    (shop.Colour, shop.Colour.RED, "red"),
    (shop.Level, shop.Level.HIGH, 2),
    (shop.Word, shop.Word.YES, "yes"),
    (shop.Right, shop.Right.READ | shop.Right.WRITE, 3),
    (shop.Place, shop.Place.THERE, "THERE"),
    (Literal["a", 1, None], "a", "a"),
    (Literal["a", 1, None], None, None),
    (Literal[shop.Colour.RED, "x"], shop.Colour.RED, "red"),
    (list, [1, "a", None], [1, "a", None]),
    (list[int], [1, 2], [1, 2]),
    (List[str], ["a"], ["a"]),  # noqa: UP006
    (list[list[float]], [[1.0], []], [[1.0], []]),
    (tuple, (1, "a"), [1, "a"]),
    (tuple[int, str], (1, "a"), [1, "a"]),
    (Tuple[int, str], (1, "a"), [1, "a"]),  # noqa: UP006
    (tuple[()], (), []),
    (tuple[UUID, ...], (ID, ID), [str(ID), str(ID)]),
    (set[str], {"b", "a", "c"}, ["a", "b", "c"]),
    (frozenset[int], frozenset({3, 1}), [1, 3]),
    (set, {"b", "a"}, ["a", "b"]),
    (shop.AnySet[int], {2, 1}, [1, 2]),
    (dict, {"a": 1, 2: "b"}, {"a": 1, 2: "b"}),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (dict[int, date], {7: date(2026, 5, 1)}, {7: "2026-05-01"}),
    (dict[shop.Colour, int], {shop.Colour.RED: 1}, {"red": 1}),
    (shop.Mapping[str, float], {"a": 1.5}, {"a": 1.5}),
    (shop.Sequence[int], [1, 2], [1, 2]),
    (shop.Iterable[int], [1, 2], [1, 2]),
    (Optional[int], None, None),  # noqa: UP045
    (Optional[int], 3, 3),  # noqa: UP045
    (datetime | None, NOON, NOON.isoformat()),
    (shop.Item, shop.Item("pen", 1.5, ["a"]), {"name": "pen", "price": 1.5, "tags": ["a"]}),
    (shop.Computed, shop.Computed(2), {"a": 2}),
    (shop.Box[int], shop.Box(1, [2]), {"content": 1, "spare": [2]}),
    (shop.Box[date], shop.Box(date(2026, 5, 1)), {"content": "2026-05-01", "spare": []}),
    (list[shop.Box[shop.Item]], [shop.Box(shop.Item("a", 1.0))], None),
    (shop.Point, shop.Point(1, 2), {"x": 1, "y": 2}),
    (shop.Movie, {"title": "a"}, {"title": "a"}),
    (shop.Movie, {"title": "a", "year": 1}, {"title": "a", "year": 1}),
    (shop.Sequel, {"title": "a", "number": 2}, {"title": "a", "number": 2}),
    (shop.UserId, shop.UserId(7), 7),
    (Annotated[Decimal, "euros"], Decimal("1.5"), "1.5"),
    (Annotated[list[Annotated[int, "x"]], "y"], [1], [1]),
    (shop.Prices, {"a": Decimal("1.5")}, {"a": "1.5"}),
    (shop.T, [1], [1]),
    (shop.Bound, 5, 5),
    (shop.Either, "a", "a"),
    (
        shop.Order,
        shop.Order(ID, [shop.Item("a", 2.5)], NOON, Decimal("2.50"), shop.Colour.BLUE),
        {
            "id": str(ID),
            "items": [{"name": "a", "price": 2.5, "tags": []}],
            "placed": NOON.isoformat(),
            "total": "2.50",
            "colour": "blue",
        },
    ),
    (
        shop.Node,
        shop.Node(1, shop.Node(2), [shop.Node(3, None, [shop.Node(4)])]),
        None,
    ),
]


def stable(value: object) -> str:
    """A name of a case that is the same in every process: no addresses, no order of sets."""
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__}{sorted(map(repr, value))}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


@pytest.mark.parametrize(("annotation", "value", "travels"), BOTH_WAYS, ids=stable)
def test_a_value_comes_back_as_it_was(annotation: Any, value: Any, travels: Any) -> None:
    plain = sent(annotation, value)
    back = arrived(annotation, plain)

    assert travels is None or plain == travels
    assert back == value
    assert type(back) is type(value)


# annotation, value, what the caller is told about it
REFUSED_HERE: list[tuple[Any, Any, str]] = [
    (None, 1, "'it' must be None, not int"),
    (bool, 1, "'it' must be bool, not int"),
    (int, True, "'it' must be int, not bool"),
    (int, 1.0, "'it' must be int, not float"),
    (int, "1", "'it' must be int, not str"),
    (int, 2**64, "'it' must fit into 64 bits"),
    (int, -(2**63) - 1, "'it' must fit into 64 bits"),
    (float, "1.5", "'it' must be float, not str"),
    (float, True, "'it' must be float, not bool"),
    (str, b"a", "'it' must be str, not bytes"),
    (bytes, "a", "'it' must be bytes, not str"),
    (bytearray, b"a", "'it' must be bytearray, not bytes"),
    (datetime, "2026-05-01", "'it' must be datetime, not str"),
    (datetime, date(2026, 5, 1), "'it' must be datetime, not date"),
    (date, NOON, "'it' must be date, not datetime"),
    (time, NOON, "'it' must be time, not datetime"),
    (timedelta, 5, "'it' must be timedelta, not int"),
    (UUID, str(ID), "'it' must be UUID, not str"),
    (Decimal, 1.5, "'it' must be Decimal, not float"),
    (Path, "/tmp", "'it' must be Path, not str"),
    (shop.Colour, "red", "'it' must be Colour, not str"),
    (shop.Colour, shop.Word.YES, "'it' must be Colour, not Word"),
    (Literal["a", "b"], "c", "'it' must be one of 'a', 'b', not 'c'"),
    (Literal[1], True, "'it' must be one of 1, not True"),
    (Literal["a"], [], "'it' must be one of 'a', not []"),
    (list[int], (1,), "'it' must be list[int], not tuple"),
    (list[int], [1, "a"], "'it[1]' must be int, not str"),
    (list[int], [1, 2**64], "'it[1]' must fit into 64 bits"),
    (list[list[str]], [["a"], ["b", 1]], "'it[1][1]' must be str, not int"),
    (tuple[int, str], (1,), "'it' must be tuple[int, str], with 2 items, not 1"),
    (tuple[int, str], (1, 2), "'it[1]' must be str, not int"),
    (tuple[int, ...], [1], "'it' must be tuple[int, ...], not list"),
    (set[int], [1], "'it' must be set[int], not list"),
    (set[int], {"a"}, "'it['a']' must be int, not str"),
    (shop.Sequence[str], "abc", "'it' must be Sequence[str], not str"),
    (shop.Iterable[int], 5, "'it' must be Iterable[int], not int"),
    (dict[str, int], [("a", 1)], "'it' must be dict[str, int], not list"),
    (dict[str, int], {1: 1}, "'it' must have keys that are str, not int"),
    (dict[str, int], {"a": "b"}, "'it['a']' must be int, not str"),
    (Optional[int], "a", "'it' must be int | None, not str"),  # noqa: UP045
    (shop.Item, {"name": "a", "price": 1.0}, "'it' must be Item, not dict"),
    (shop.Item, shop.Item("a", "b"), "'it.price' must be float, not str"),  # type: ignore[arg-type]
    (
        shop.Item,
        shop.DearItem("a", 1.0),
        "'it' must be Item, not DearItem (it would come back as Item, without what it adds)",
    ),
    (shop.Point, (1, 2), "'it' must be Point, not tuple"),
    (shop.Movie, {}, "'it' lacks 'title' of Movie"),
    (shop.Movie, {"title": 1}, "'it.title' must be str, not int"),
    (shop.Movie, {"title": "a", "plot": "b"}, "'it' has no place for 'plot' in Movie"),
    (Any, NOON, "'it' is of type datetime, which no annotation tells: annotate it"),
    (list, [1, {2}], "'it[1]' is of type set, which no annotation tells"),
    (dict, {"a": [object()]}, "'it['a'][0]' is of type object, which no annotation tells"),
    (dict, {(1,): 2}, "'it' must have keys that are texts or numbers, not tuple"),
    (Any, shop.Word.YES, "'it' is of type Word, which no annotation tells"),
    (shop.Bound, "a", "'it' must be int, not str"),
    (shop.Either, 1.5, "'it' must be int | str, not float"),
]


@pytest.mark.parametrize(("annotation", "value", "told"), REFUSED_HERE, ids=stable)
def test_a_wrong_value_is_refused_where_it_is_given(annotation: Any, value: Any, told: str) -> None:
    message = refused_here(annotation, value)

    assert message.startswith("task(): argument ")
    assert told in message


# annotation, what came, what the worker says about it
REFUSED_THERE: list[tuple[Any, Any, str]] = [
    (int, 1.0, "'it' must be int, not float"),
    (int, True, "'it' must be int, not bool"),
    (bool, 1, "'it' must be bool, not int"),
    (float, "a", "'it' must be float, not str"),
    (str, None, "'it' must be str, not NoneType"),
    (bytes, "a", "'it' must be bytes, not str"),
    (datetime, "soon", "'it' must be datetime as a text, not 'soon'"),
    (datetime, 5, "'it' must be datetime as a text, not int"),
    (timedelta, "5", "'it' must be timedelta in seconds, not str"),
    (timedelta, 1e300, "'it' must be timedelta in seconds, not 1e+300"),
    (UUID, "x", "'it' must be UUID as a text, not 'x'"),
    (Decimal, "x", "'it' must be Decimal as a text, not 'x'"),
    (shop.Colour, "green", "'it' must be one of 'red', 'blue' (Colour), not 'green'"),
    (shop.Level, True, "'it' must be one of 1, 2 (Level), not True"),
    (shop.Level, [], "'it' must be one of 1, 2 (Level), not []"),
    (Literal["a"], "b", "'it' must be one of 'a', not 'b'"),
    (list[int], "a", "'it' must be list, not str"),
    (list[int], [1, None], "'it[1]' must be int, not NoneType"),
    (tuple[int, str], [1], "'it' must be tuple[int, str], with 2 items, not 1"),
    (set[str], ["a", 1], "'it[1]' must be str, not int"),
    (set, [["a"]], "'it' cannot become set: unhashable type: 'list'"),
    (dict[str, int], [], "'it' must be dict, not list"),
    (dict[str, int], {"a": "b"}, "'it['a']' must be int, not str"),
    (dict[int, int], {"a": 1}, "'it' must have keys that are int, not str"),
    (shop.Item, [], "'it' must be Item as a map, not list"),
    (shop.Item, {"name": "a"}, "'it' lacks 'price' of Item"),
    (shop.Item, {"name": "a", "price": 1, "x": 2}, "'it' has no place for 'x' in Item"),
    (shop.Box[int], {"content": "a"}, "'it.content' must be int, not str"),
    (shop.Even, {"number": 3}, "'it' cannot become Even: ValueError: it is odd"),
    (shop.Point, {"y": 1}, "'it' lacks 'x' of Point"),
    (
        shop.Order,
        {"id": str(ID), "placed": NOON.isoformat(), "items": [{"name": "a", "price": "x"}]},
        "'it.items[0].price' must be float, not str",
    ),
    (shop.Node, {"value": 1, "next": {"value": "a"}}, "'it.next.value' must be int, not str"),
]


@pytest.mark.parametrize(("annotation", "plain", "told"), REFUSED_THERE, ids=stable)
def test_what_does_not_fit_is_named_in_the_worker(annotation: Any, plain: Any, told: str) -> None:
    assert refused_there(annotation, plain) == f"task(): argument {told}"


def test_an_int_is_fine_for_a_float_and_arrives_as_one() -> None:
    assert sent(float, 3) == 3
    assert type(arrived(float, 3)) is float
    assert arrived(list[float], [1, 2.5]) == [1.0, 2.5]


def test_keys_that_json_made_texts_become_numbers_again() -> None:
    assert arrived(dict[int, str], {"7": "a"}) == {7: "a"}
    assert arrived(dict[float, str], {"1.5": "a"}) == {1.5: "a"}


def test_plain_values_of_other_classes_travel_as_what_they_are() -> None:
    from tenure.jobs import Enqueued

    assert type(sent(str, shop.Word.YES)) is str
    assert sent(str, shop.Word.YES) == "yes"
    assert sent(int, shop.Level.HIGH) == 2
    assert sent(Any, Enqueued("abc")) == "abc"
    assert sent(Any, (1, (2,))) == [1, [2]]


def test_an_iterable_is_read_once_and_arrives_as_a_list() -> None:
    assert sent(shop.Iterable[int], (n * n for n in range(3))) == [0, 1, 4]
    assert sent(shop.Sequence[int], (1, 2)) == [1, 2]


def test_what_travels_does_not_change_with_the_list_it_came_from() -> None:
    from tests.tasks.coding import signature_of

    given = [1]
    payload = signature_of(list[int]).pack((given,), {})
    given.append(2)

    assert payload == {"it": [1]}


def test_an_enum_may_know_more_words_than_its_values() -> None:
    assert arrived(shop.Lenient, "ON") is shop.Lenient.ON


def test_equal_sets_travel_alike_whatever_their_items() -> None:
    mixed: Any = set[Union[int, str]]  # noqa: UP007

    assert sent(mixed, {"a", 1, "b"}) == sent(mixed, {"b", "a", 1})


@pytest.mark.parametrize(
    ("annotation", "told"),
    [
        (shop.Smtp, "Smtp cannot travel"),
        (list[shop.Smtp], "Smtp cannot travel"),
        (dict[list[int], str], "list[int] cannot be a key"),
        (Literal["red", shop.Colour.RED], "cannot be told apart"),
        (complex, "complex cannot travel"),
        ("Nowhere", "its annotation 'Nowhere' cannot be read: name 'Nowhere' is not defined"),
    ],
    ids=stable,
)
def test_an_annotation_that_cannot_travel_is_named_with_its_parameter(
    annotation: Any, told: str
) -> None:
    with pytest.raises(TypeError) as caught:
        sent(annotation, None)

    assert str(caught.value).startswith("task task: parameter 'it': ")
    assert told in str(caught.value)


def test_a_field_that_cannot_travel_is_named() -> None:
    with pytest.raises(TypeError, match=r"in Box\[Smtp\], content: Smtp cannot travel"):
        sent(shop.Box[shop.Smtp], None)


def test_what_holds_itself_for_ever_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    node = shop.Node(1)
    node.next = node

    assert refused_here(list, endless) == "task(): argument 'it' is nested too deep"
    assert refused_here(shop.Node, node) == "task(): argument 'it' is nested too deep"
