"""Arguments are checked where a job is enqueued: a wrong call never becomes a job."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from tenure import App, ArgumentError, Depends, Task
from tests.tasks.shop import Item, Order, Smtp

if TYPE_CHECKING:
    from elsewhere import Nowhere  # type: ignore[import-not-found]  # pyright: ignore

app = App("tenure://127.0.0.1:1")


def get_smtp() -> Smtp:
    return Smtp()


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task
async def send_email(
    to: str, *, template: str = "welcome", smtp: Smtp = Depends(get_smtp)
) -> None: ...


@app.task
def middle(first: int, smtp: Smtp = Depends(get_smtp), last: int = 0) -> None: ...


@app.task
async def greet(name: str, smtp: Smtp = Depends(get_smtp)) -> str:
    return f"hello {name}"


@app.task
def order(order: Order) -> None: ...


@app.task
def gather(first: int, *rest: int, flag: bool = False, **more: str) -> tuple[Any, ...]:
    return first, rest, flag, more


@app.task
def placed(a: int, b: int = 2, /, c: int = 3, **more: int) -> tuple[Any, ...]:
    return a, b, c, more


@app.task
def loose(value, other: Any = None):  # type: ignore[no-untyped-def]
    return value


@app.task
def nothing() -> None: ...


def why(task: Task[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(ArgumentError) as caught:
        task.s(*args, **kwargs)
    with pytest.raises(TypeError):
        task.enqueue(*args, **kwargs)  # nobody is there to take it: refused before
    return str(caught.value)


def test_a_missing_argument_is_named() -> None:
    assert why(add) == "add() missing 1 required positional argument: 'x'"
    assert why(send_email, template="a") == (
        "send_email() missing 1 required positional argument: 'to'"
    )


def test_an_argument_that_nobody_takes_is_named_beside_those_there_are() -> None:
    assert why(add, 1, z=2) == (
        "add() got an unexpected keyword argument 'z'; its arguments are x, y"
    )
    assert why(nothing, a=1) == (
        "nothing() got an unexpected keyword argument 'a'; its arguments are none"
    )
    assert why(add, 1, 2, 3) == "add() takes from 1 to 2 positional arguments but 3 were given"
    assert why(add, 1, x=1) == "add() got multiple values for argument 'x'"


def test_a_wrong_type_is_named_with_the_argument() -> None:
    assert why(send_email, 5) == "send_email(): argument 'to' must be str, not int"
    assert why(add, 1, y="2") == "add(): argument 'y' must be int, not str"
    assert why(add, True) == "add(): argument 'x' must be int, not bool"
    assert why(add, 2**64) == "add(): argument 'x' must fit into 64 bits"


def test_a_wrong_type_deep_inside_is_named_with_the_path() -> None:
    from datetime import UTC, datetime
    from uuid import uuid4

    bad = Order(uuid4(), [Item("a", 1), Item("b", "2")], datetime.now(UTC))  # type: ignore[arg-type]

    assert why(order, bad) == "order(): argument 'order.items[1].price' must be float, not str"


def test_an_injected_parameter_cannot_be_given() -> None:
    told = "argument 'smtp' is filled in by the worker; leave it out"

    assert why(send_email, "a", smtp=Smtp()) == f"send_email(): {told}"
    assert why(middle, 1, 2) == f"middle(): {told}"
    assert middle.s(1, last=2).payload == {"first": 1, "last": 2}


def test_the_payload_is_a_map_of_what_was_given() -> None:
    assert add.s(1).payload == {"x": 1}
    assert add.s(1, 2).payload == {"x": 1, "y": 2}
    assert add.s(y=2, x=1).payload == {"x": 1, "y": 2}
    assert send_email.s("a", template="b").payload == {"to": "a", "template": "b"}
    assert nothing.s().payload == {}


def test_any_number_of_arguments_travels_too() -> None:
    call = gather.s(1, 2, 3, flag=True, a="b")

    assert call.payload == {"first": 1, "*rest": [2, 3], "flag": True, "a": "b"}
    assert gather.signature.unpack(call.payload) == ([1, 2, 3], {"flag": True, "a": "b"})
    args, kwargs = gather.signature.unpack(call.payload)
    assert gather(*args, **kwargs) == (1, (2, 3), True, {"a": "b"})
    assert why(gather, 1, 2, "3") == "gather(): argument 'rest[1]' must be int, not str"
    assert why(gather, 1, key=2) == "gather(): argument 'key' must be str, not int"


def test_arguments_by_place_only_arrive_in_their_places() -> None:
    for call in (placed.s(1), placed.s(1, 5, c=6), placed.s(1, d=4)):
        args, kwargs = placed.signature.unpack(call.payload)
        assert placed(*args, **kwargs)
    assert placed.signature.unpack(placed.s(1, d=4).payload) == ([1, 2], {"d": 4})
    assert why(placed, 1, a=2) == "placed(): argument 'a' would collide with one that has no name"


def test_a_parameter_without_annotation_takes_plain_values_only() -> None:
    assert loose.s({"a": [1, b"c"]}, other=(1, 2)).payload == {
        "value": {"a": [1, b"c"]},
        "other": [1, 2],
    }
    told = why(loose, [Item("a", 1)])
    assert told == (
        "loose(): argument 'value[0]' is of type Item, which no annotation tells:"
        " annotate it, and it can travel"
    )


def test_a_text_that_is_no_unicode_is_named() -> None:
    with pytest.raises(ArgumentError, match=r"send_email\(\): argument 'to': .*surrogates"):
        send_email.enqueue("\udcff")


def test_what_the_chosen_codec_cannot_carry_is_named() -> None:
    spoken = App("tenure://127.0.0.1:1", codec="json")

    @spoken.task
    def store(name: str, data: bytes) -> None: ...

    with pytest.raises(ArgumentError, match=r"store\(\): argument 'data': json cannot carry it"):
        store.enqueue("a", b"b")


def test_an_annotation_that_cannot_be_read_is_named_at_the_first_call() -> None:
    @app.task(name="lost")
    def lost(it: Nowhere) -> None: ...

    with pytest.raises(TypeError, match=r"task lost: parameter 'it': its annotation 'Nowhere'"):
        lost.s(1)


def test_annotations_that_are_defined_later_are_found() -> None:
    assert later.s(Later()).payload == {"it": {"n": 1}}


@app.task
def later(it: Later) -> None: ...


from dataclasses import dataclass  # noqa: E402


@dataclass
class Later:
    n: int = 1


def test_the_parameters_of_a_wrapped_function_are_its_own() -> None:
    def noisy(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @app.task(name="wrapped")
    @noisy
    def wrapped(it: Item) -> int:
        return 1

    partly = app.task(name="partly")(functools.partial(lambda a, b: a + b, 1))

    assert wrapped.s(Item("a", 1.0)).payload == {"it": {"name": "a", "price": 1.0, "tags": []}}
    assert partly.s(2).payload == {"b": 2}
    assert partly(2) == 3


def test_called_directly_a_task_runs_here() -> None:
    assert add(1, y=2) == 3


async def test_called_directly_an_async_task_is_awaited() -> None:
    smtp = Smtp()

    assert await greet("Ada", smtp=smtp) == "hello Ada"


def test_called_directly_what_a_worker_fills_in_must_be_given() -> None:
    with pytest.raises(ArgumentError, match=r"middle\(\): called here, it must be given 'smtp'"):
        middle(1)
