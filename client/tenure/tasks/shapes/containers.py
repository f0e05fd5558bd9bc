"""Lists, tuples, sets and maps of shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

from tenure.packing import pack
from tenure.tasks.shapes.base import Code, Misfit, Shape, Unshapable, wrong
from tenure.tasks.shapes.plain import INT_MAX, INT_MIN

_LIST = frozenset({list})
_TEXTS = (str, bytes, bytearray)


def _each(code: Code, same: type | None) -> Callable[[Iterable[Any]], list[Any]]:
    """`code` over many values; those that travel as they are are only looked at."""
    alike = frozenset() if same is None else frozenset({same})

    def each(values: Iterable[Any]) -> list[Any]:
        items: list[Any] = []
        append = items.append
        try:
            for value in values:
                append(code(value))
        except Misfit as misfit:
            raise misfit.under(f"[{len(items)}]") from None
        return items

    def fast(values: Iterable[Any]) -> list[Any]:
        items = list(values)
        if alike.issuperset(map(type, items)) and (
            same is not int or not items or (min(items) >= INT_MIN and max(items) <= INT_MAX)
        ):
            return items
        return each(items)

    return each if same is None else fast


def list_shape(kind: Any, item: Shape, name: str) -> Shape:
    """A list, or what stands for one: a sequence or an iterable that is not a text."""
    encode_each = _each(item.encode, item.same)
    decode_each = _each(item.decode, item.same)

    def encode(value: Any) -> list[Any]:
        if type(value) is not list and (not isinstance(value, kind) or isinstance(value, _TEXTS)):
            raise wrong(name, value)
        return encode_each(value)

    def decode(plain: Any) -> list[Any]:
        if type(plain) is not list:
            raise wrong("list", plain)
        return decode_each(plain)

    types = (list,) if kind is list else (list, tuple)
    return Shape(name, encode, decode, types, _LIST, exact=item.exact)


def tuple_shape(items: tuple[Shape, ...], name: str) -> Shape:
    """A tuple with a shape for each place."""
    count = len(items)

    def each(values: Any, codes: tuple[Code, ...]) -> list[Any]:
        if len(values) != count:
            raise Misfit(f"must be {name}, with {count} items, not {len(values)}")
        made: list[Any] = []
        try:
            for code, value in zip(codes, values, strict=True):
                made.append(code(value))
        except Misfit as misfit:
            raise misfit.under(f"[{len(made)}]") from None
        return made

    encoders = tuple(item.encode for item in items)
    decoders = tuple(item.decode for item in items)

    def encode(value: Any) -> list[Any]:
        if not isinstance(value, tuple):
            raise wrong(name, value)
        return each(value, encoders)

    def decode(plain: Any) -> tuple[Any, ...]:
        if type(plain) is not list:
            raise wrong("list", plain)
        return tuple(each(plain, decoders))

    return Shape(name, encode, decode, (tuple,), _LIST)


def long_tuple_shape(item: Shape, name: str) -> Shape:
    """A tuple of any length, all of one shape."""
    encode_each = _each(item.encode, item.same)
    decode_each = _each(item.decode, item.same)

    def encode(value: Any) -> list[Any]:
        if not isinstance(value, tuple):
            raise wrong(name, value)
        return encode_each(value)

    def decode(plain: Any) -> tuple[Any, ...]:
        if type(plain) is not list:
            raise wrong("list", plain)
        return tuple(decode_each(plain))

    return Shape(name, encode, decode, (tuple,), _LIST)


def set_shape(kind: type, item: Shape, name: str) -> Shape:
    """A set: it travels as a list in an order of its own, so that equal sets look equal."""
    code = item.encode
    decode_each = _each(item.decode, item.same)
    make = frozenset if kind is frozenset else set
    takes = Set if kind not in (set, frozenset) else kind

    def encode(value: Any) -> list[Any]:
        if not isinstance(value, takes):
            raise wrong(name, value)
        items: list[Any] = []
        for one in value:
            try:
                items.append(code(one))
            except Misfit as misfit:
                raise misfit.under(f"[{one!r:.60}]") from None
        try:
            return sorted(items)
        except TypeError:
            return sorted(items, key=pack)

    def decode(plain: Any) -> Any:
        if type(plain) is not list:
            raise wrong("list", plain)
        try:
            return make(decode_each(plain))
        except TypeError as error:
            raise Misfit(f"cannot become {name}: {error}") from None

    return Shape(name, encode, decode, (make,), _LIST)


def _key_of_text(key: Shape) -> Code:
    """`key.decode`, which also takes numbers as texts: JSON has no other keys."""
    if key.same is not int and key.same is not float:
        return key.decode
    number: Callable[[str], Any] = key.same

    def decode(plain: Any) -> Any:
        if type(plain) is str:
            try:
                return number(plain)
            except ValueError:
                raise wrong(key.name, plain) from None
        return key.decode(plain)

    return decode


def _keys(code: Code, name: str) -> Code:
    def checked(key: Any) -> Any:
        try:
            return code(key)
        except Misfit:
            raise Misfit(f"must have keys that are {name}, not {type(key).__name__}") from None

    return checked


def dict_shape(kind: Any, key: Shape, value: Shape, name: str) -> Shape:
    """A dict, or a mapping that comes back as one. Raises `Unshapable` for keys that are lists."""
    if key.wire & {list, dict}:
        raise Unshapable(f"{key.name} cannot be a key when it travels")
    encode_key = _keys(key.encode, key.name)
    decode_key = _keys(_key_of_text(key), key.name)
    plain_keys = key.same

    def each(parts: Mapping[Any, Any], code_key: Code, code: Code) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for one, part in parts.items():
            coded = one if type(one) is plain_keys and plain_keys is not int else code_key(one)
            try:
                made[coded] = code(part)
            except Misfit as misfit:
                raise misfit.under(f"[{one!r:.60}]") from None
        if len(made) != len(parts):
            raise Misfit("has keys that become the same when they travel")
        return made

    def encode(given: Any) -> dict[Any, Any]:
        if type(given) is not dict and not isinstance(given, kind):
            raise wrong(name, given)
        return each(given, encode_key, value.encode)

    def decode(plain: Any) -> dict[Any, Any]:
        if type(plain) is not dict:
            raise wrong("dict", plain)
        return each(plain, decode_key, value.decode)

    exact = key.exact and value.exact
    return Shape(name, encode, decode, (dict,), frozenset({dict}), exact=exact)
