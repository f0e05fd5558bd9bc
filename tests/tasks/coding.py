"""One annotation as the parameter of a task: what travels, what arrives, what is refused."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from tenure.errors import ArgumentError
from tenure.tasks.signature import Signature


def signature_of(annotation: Any, result: Any = None) -> Signature:
    """The signature of a task with the only argument `it`."""

    def task(it: Any) -> Any:
        raise AssertionError("nothing runs here")

    task.__annotations__ = {"it": annotation, "return": result}
    return Signature("task", task)


def sent(annotation: Any, value: Any) -> Any:
    """What travels for `value`, after a real trip through msgpack."""
    payload = signature_of(annotation).pack((value,), {})
    data = msgpack.packb(payload)
    return msgpack.unpackb(data, strict_map_key=False)["it"]


def arrived(annotation: Any, plain: Any) -> Any:
    """What a worker makes of `plain`."""
    args, kwargs = signature_of(annotation).unpack({"it": plain})
    assert args == []
    return kwargs["it"]


def refused_here(annotation: Any, value: Any) -> str:
    """Why the caller may not give `value`."""
    with pytest.raises(ArgumentError) as caught:
        signature_of(annotation).pack((value,), {})
    return str(caught.value)


def refused_there(annotation: Any, plain: Any) -> str:
    """Why a worker cannot use `plain`."""
    with pytest.raises(ArgumentError) as caught:
        signature_of(annotation).unpack({"it": plain})
    return str(caught.value)
