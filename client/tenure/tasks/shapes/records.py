"""Things with named parts: dataclasses, named tuples, typed dicts. Each travels as a map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tenure.tasks.shapes.base import Misfit, Shape, wrong

_MAP = frozenset({dict})


def record_shape(
    kind: type, fields: Mapping[str, Shape], required: frozenset[str], name: str
) -> Shape:
    """A class that is made from its fields by keyword: a dataclass or a named tuple."""
    encoders = [(field, shape.same, shape.encode) for field, shape in fields.items()]
    read = _reader(fields, required, name)

    def encode(value: Any) -> dict[str, Any]:
        if type(value) is not kind:
            raise _other_class(kind, name, value)
        made: dict[str, Any] = {}
        field = ""
        try:
            for field, same, code in encoders:
                part = getattr(value, field)
                made[field] = part if type(part) is same and same is not int else code(part)
        except Misfit as misfit:
            raise misfit.under(f".{field}") from None
        return made

    def decode(plain: Any) -> Any:
        given = read(plain)
        try:
            return kind(**given)
        except Exception as error:
            raise Misfit(f"cannot become {name}: {type(error).__name__}: {error}") from error

    return Shape(name, encode, decode, (kind,), _MAP)


def _other_class(kind: type, name: str, value: object) -> Misfit:
    misfit = wrong(name, value)
    if isinstance(value, kind):
        misfit.what += f" (it would come back as {name}, without what it adds)"
    return misfit


def typed_dict_shape(fields: Mapping[str, Shape], required: frozenset[str], name: str) -> Shape:
    """A dict with known keys."""
    encode_parts = _reader(fields, required, name, encoding=True)
    decode = _reader(fields, required, name)

    def encode(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise wrong(name, value)
        return encode_parts(value)

    exact = all(shape.exact for shape in fields.values())
    return Shape(name, encode, decode, (dict,), _MAP, exact=exact)


def _reader(
    fields: Mapping[str, Shape], required: frozenset[str], name: str, *, encoding: bool = False
) -> Callable[[Any], dict[str, Any]]:
    """Checks a map with known keys and codes its parts."""
    # The shapes, not their functions: those of a class that holds itself are not there yet.
    count = len(required)

    def read(plain: Any) -> dict[str, Any]:
        if type(plain) is not dict and not (encoding and isinstance(plain, dict)):
            raise wrong(f"{name} as a map", plain)
        made: dict[str, Any] = {}
        for field, part in plain.items():
            shape = fields.get(field)
            if shape is None:
                raise Misfit(f"has no place for {field!r:.60} in {name}")
            try:
                made[field] = shape.encode(part) if encoding else shape.decode(part)
            except Misfit as misfit:
                raise misfit.under(f".{field}") from None
        if len(made) < count or not required <= made.keys():
            missing = ", ".join(repr(one) for one in fields if one in required - made.keys())
            raise Misfit(f"lacks {missing} of {name}")
        return made

    return read
