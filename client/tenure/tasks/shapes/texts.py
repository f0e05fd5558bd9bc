"""Values that travel as a text or a number: moments, identifiers, paths, enums, literals."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from pathlib import PurePath
from typing import Any
from uuid import UUID

from tenure.tasks.shapes.base import Misfit, Shape, Unshapable, wrong
from tenure.tasks.shapes.plain import INT_MAX, INT_MIN

_TEXT = frozenset({str})
_PLAIN = (str, int, float, bool, bytes, type(None))


def _text_shape(
    kind: type, to_text: Callable[[Any], str], from_text: Callable[[str], Any], but: type | None
) -> Shape:
    name = kind.__name__

    def encode(value: Any) -> str:
        if type(value) is not kind and (
            not isinstance(value, kind) or (but is not None and isinstance(value, but))
        ):
            raise wrong(name, value)
        return to_text(value)

    def decode(plain: Any) -> Any:
        if type(plain) is not str:
            raise Misfit(f"must be {name} as a text, not {type(plain).__name__}")
        try:
            return from_text(plain)
        except (ValueError, ArithmeticError):
            raise Misfit(f"must be {name} as a text, not {plain!r:.60}") from None

    return Shape(name, encode, decode, (kind,), _TEXT)


def _encode_span(value: Any) -> float:
    if not isinstance(value, timedelta):
        raise wrong("timedelta", value)
    return value.total_seconds()


def _decode_span(plain: Any) -> timedelta:
    if type(plain) is not float and type(plain) is not int:
        raise Misfit(f"must be timedelta in seconds, not {type(plain).__name__}")
    try:
        return timedelta(seconds=plain)
    except (OverflowError, ValueError):
        raise Misfit(f"must be timedelta in seconds, not {plain!r}") from None


# Looked up by the annotation itself; a subclass would come back as its base.
TEXTS: dict[Any, Shape] = {
    datetime: _text_shape(datetime, datetime.isoformat, datetime.fromisoformat, None),
    date: _text_shape(date, date.isoformat, date.fromisoformat, datetime),
    time: _text_shape(time, time.isoformat, time.fromisoformat, None),
    timedelta: Shape(
        "timedelta", _encode_span, _decode_span, (timedelta,), frozenset({float, int})
    ),
    UUID: _text_shape(UUID, str, UUID, None),
    Decimal: _text_shape(Decimal, str, Decimal, None),
}


def path_shape(kind: type[PurePath]) -> Shape:
    """A path class."""
    shape = _text_shape(kind, str, kind, None)
    # A Path() is of the class of its system, whatever the annotation says.
    shape.types = (kind, type(kind()))
    return shape


def enum_shape(kind: type[Enum]) -> Shape:
    """An enum: its values travel, or its names where a value is not plain."""
    members = list(kind.__members__.values())
    by_value = all(_is_plain(member.value) for member in members)
    codes: dict[Enum, Any] = {m: m.value if by_value else m.name for m in members}
    back = {(type(code), code): member for member, code in reversed(codes.items())}
    allowed = ", ".join(repr(code) for code in codes.values())[:200]

    def encode(value: Any) -> Any:
        if type(value) is not kind and not isinstance(value, kind):
            raise wrong(kind.__name__, value)
        # Flags have members that nobody named.
        return codes.get(value, value._value_)

    def decode(plain: Any) -> Any:
        try:
            return back[type(plain), plain]
        except (KeyError, TypeError):
            pass
        try:
            # Combined flags, and enums with a `_missing_`; True must not become 1.
            if by_value and type(plain) is not bool:
                return kind(plain)
        except (ValueError, TypeError):
            pass
        raise Misfit(f"must be one of {allowed} ({kind.__name__}), not {plain!r:.60}")

    wire = frozenset(type(code) for code in codes.values())
    if issubclass(kind, Flag):
        wire |= {int}
    return Shape(kind.__name__, encode, decode, (kind,), wire)


def _is_plain(value: object) -> bool:
    return type(value) in _PLAIN and (type(value) is not int or INT_MIN <= value <= INT_MAX)


def literal_shape(values: tuple[Any, ...]) -> Shape:
    """One of some values. Raises `Unshapable` when two would travel as the same."""
    codes = {(type(v), v): v.value if isinstance(v, Enum) else v for v in values}
    back = {(type(code), code): key[1] for key, code in codes.items()}
    if len(back) < len(codes):
        raise Unshapable("values of this Literal cannot be told apart when they travel")
    allowed = ", ".join(repr(value) for value in values)[:200]

    def encode(value: Any) -> Any:
        try:
            return codes[type(value), value]
        except (KeyError, TypeError):
            raise Misfit(f"must be one of {allowed}, not {value!r:.60}") from None

    def decode(plain: Any) -> Any:
        try:
            return back[type(plain), plain]
        except (KeyError, TypeError):
            raise Misfit(f"must be one of {allowed}, not {plain!r:.60}") from None

    exact = not any(isinstance(value, Enum) for value in values)
    types = tuple({type(value): None for value in values})
    wire = frozenset(type(code) for code in codes.values())
    return Shape(f"Literal[{allowed}]", encode, decode, types, wire, exact=exact)
