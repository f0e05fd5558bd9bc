"""Values that travel as they are: numbers, text, bytes, and whatever holds only those."""

from __future__ import annotations

from enum import Enum
from types import NoneType
from typing import Any

from tenure.tasks.shapes.base import Misfit, Shape, wrong

INT_MIN = -(2**63)
INT_MAX = 2**64 - 1
"""What msgpack carries."""


def _none(value: Any) -> None:
    if value is not None:
        raise wrong("None", value)


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise wrong("bool", value)
    return value


def _encode_int(value: Any) -> int:
    if type(value) is not int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong("int", value)
        value = int.__index__(value)
    if not INT_MIN <= value <= INT_MAX:
        raise Misfit("must fit into 64 bits")
    number: int = value
    return number


def _decode_int(value: Any) -> int:
    if type(value) is not int:
        raise wrong("int", value)
    return value


def _encode_float(value: Any) -> float:
    if type(value) is float:
        return value
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return _encode_int(value)
    raise wrong("float", value)


def _decode_float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    raise wrong("float", value)


def _encode_str(value: Any) -> str:
    if type(value) is str:
        return value
    if isinstance(value, str):
        # The text itself, also of an enum that is one.
        return str.__str__(value)
    raise wrong("str", value)


def _decode_str(value: Any) -> str:
    if type(value) is not str:
        raise wrong("str", value)
    return value


def _encode_bytes(value: Any) -> bytes:
    if type(value) is bytes:
        return value
    if isinstance(value, bytes):
        return bytes(value)
    raise wrong("bytes", value)


def _decode_bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise wrong("bytes", value)
    return value


def _encode_bytearray(value: Any) -> bytes:
    if not isinstance(value, bytearray):
        raise wrong("bytearray", value)
    return bytes(value)


def _decode_bytearray(value: Any) -> bytearray:
    return bytearray(_decode_bytes(value))


def _scalar(kind: type, encode: Any, decode: Any) -> Shape:
    return Shape(kind.__name__, encode, decode, (kind,), frozenset({kind}), exact=True, same=kind)


NONE = Shape("None", _none, _none, (NoneType,), frozenset({NoneType}), exact=True)
BOOL = _scalar(bool, _bool, _bool)
INT = _scalar(int, _encode_int, _decode_int)
FLOAT = _scalar(float, _encode_float, _decode_float)
STR = _scalar(str, _encode_str, _decode_str)
BYTES = _scalar(bytes, _encode_bytes, _decode_bytes)
BYTEARRAY = Shape(
    "bytearray", _encode_bytearray, _decode_bytearray, (bytearray,), frozenset({bytes})
)

SCALARS = {None: NONE, NoneType: NONE, bool: BOOL, int: INT, float: FLOAT, str: STR, bytes: BYTES}
_SCALAR_TYPES = frozenset({NoneType, bool, float, str, bytes})


def plain(value: Any) -> Any:
    """`value`, if it is plain all through, tuples as lists. Raises `Misfit`."""
    kind = type(value)
    if kind in _SCALAR_TYPES:
        return value
    if kind is int:
        return _encode_int(value)
    if kind is list or kind is tuple:
        return _plain_items(value)
    if kind is dict:
        return _plain_map(value)
    if isinstance(value, Enum):
        raise _unknown(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return _encode_int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    raise _unknown(value)


def _unknown(value: object) -> Misfit:
    kind = type(value).__name__
    return Misfit(f"is of type {kind}, which no annotation tells: annotate it, and it can travel")


def _plain_items(value: Any) -> list[Any]:
    items: list[Any] = []
    try:
        for item in value:
            items.append(plain(item))  # noqa: PERF401 - its length says where it failed
    except Misfit as misfit:
        raise misfit.under(f"[{len(items)}]") from None
    return items


def _plain_map(value: dict[Any, Any]) -> dict[Any, Any]:
    parts: dict[Any, Any] = {}
    for key, part in value.items():
        coded = _plain_key(key)
        try:
            parts[coded] = plain(part)
        except Misfit as misfit:
            raise misfit.under(f"[{key!r:.60}]") from None
    return parts


def _plain_key(key: Any) -> Any:
    kind = type(key)
    if kind in _SCALAR_TYPES:
        return key
    if kind is int:
        return _encode_int(key)
    if isinstance(key, Enum) or not isinstance(key, str):
        raise Misfit(f"must have keys that are texts or numbers, not {kind.__name__}")
    return str.__str__(key)


def _itself(value: Any) -> Any:
    return value


KEY = Shape("texts or numbers", _plain_key, _itself, exact=True)
"""Keys of maps that no annotation tells."""

ANY = Shape("Any", plain, _itself, exact=True)
