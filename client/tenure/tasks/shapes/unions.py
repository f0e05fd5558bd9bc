"""Values of one of several shapes.

Shapes that look different when they travel need no more. Where two look alike and are not the
same (a text and a path, two dataclasses), one travels plain and the other with its name:
`{"$type": "Path", "value": "/tmp"}`. Which one does not depend on the order in the annotation:
`int | str` and `str | int` are equal for Python, which may hand out one for the other. What
travels as it is comes first, then the order of names. Who writes a payload by hand may leave
the name out: then the first shape that fits is taken.
"""

from __future__ import annotations

from types import NoneType
from typing import Any

from tenure.tasks.shapes.base import Misfit, Shape, wrong
from tenure.tasks.shapes.plain import ANY, NONE

TYPE_KEY = "$type"
VALUE_KEY = "value"


def union_shape(arms: list[Shape]) -> Shape:
    """One of several shapes."""
    others = sorted((arm for arm in arms if arm is not NONE), key=_rank)
    if any(arm is ANY for arm in others):
        return ANY
    if len(others) == 1 and len(arms) > 1:
        return _optional(others[0])
    return _union(others, NONE in arms)


def _rank(arm: Shape) -> tuple[bool, str]:
    return not arm.exact, arm.name


def _optional(shape: Shape) -> Shape:
    # The shape, not its functions: those of a class that holds itself are not there yet.
    def encode(value: Any) -> Any:
        return None if value is None else _or_none(shape, shape.encode, value)

    def decode(plain: Any) -> Any:
        return None if plain is None else _or_none(shape, shape.decode, plain)

    return Shape(
        f"{shape.name} | None",
        encode,
        decode,
        (*shape.types, NoneType),
        shape.wire | {NoneType},
        exact=shape.exact,
    )


def _or_none(shape: Shape, code: Any, value: Any) -> Any:
    try:
        return code(value)
    except Misfit as misfit:
        if not misfit.path and misfit.what.startswith(f"must be {shape.name}, not "):
            raise wrong(f"{shape.name} | None", value) from None
        raise


def _tags(arms: list[Shape]) -> dict[int, str]:
    """The names that must travel, by the place of the arm."""
    tags: dict[int, str] = {}
    taken: list[Shape] = []
    for place, arm in enumerate(arms):
        alike = [one for one in taken if not one.wire or not arm.wire or one.wire & arm.wire]
        if all(arm.exact and one.exact for one in alike):
            taken.append(arm)
            continue
        tag = arm.name
        while tag in tags.values():
            tag += "'"
        tags[place] = tag
    return tags


def _union(arms: list[Shape], with_none: bool) -> Shape:
    name = " | ".join([arm.name for arm in arms] + (["None"] if with_none else []))
    tags = _tags(arms)
    by_tag = {tag: arms[place] for place, tag in tags.items()}

    def encode(value: Any) -> Any:
        if value is None and with_none:
            return None
        place, plain = _first_that_takes(value)
        tag = tags.get(place)
        if tag is None and tags and type(plain) is dict and TYPE_KEY in plain:
            tag = arms[place].name
        return plain if tag is None else {TYPE_KEY: tag, VALUE_KEY: plain}

    def _first_that_takes(value: Any) -> tuple[int, Any]:
        kind = type(value)
        # The arm of just this type first: 3 is an int before it is a float.
        likely = [place for place, arm in enumerate(arms) if kind in arm.types]
        misfits: list[Misfit] = []
        for place in (*likely, *(p for p in range(len(arms)) if p not in likely)):
            try:
                return place, arms[place].encode(value)
            except Misfit as misfit:
                misfits.append(misfit)
        raise misfits[0] if len(likely) == 1 else wrong(name, value)

    def decode(plain: Any) -> Any:
        if plain is None and with_none:
            return None
        if type(plain) is dict and plain.keys() == {TYPE_KEY, VALUE_KEY}:
            tagged = by_tag.get(plain[TYPE_KEY]) or _named(plain[TYPE_KEY])
            if tagged is not None:
                return tagged.decode(plain[VALUE_KEY])
        kind = type(plain)
        likely = [arm for arm in arms if kind in arm.wire]
        misfits: list[Misfit] = []
        for arm in (*likely, *(arm for arm in arms if arm not in likely)):
            try:
                return arm.decode(plain)
            except Misfit as misfit:
                misfits.append(misfit)
        raise misfits[0] if len(likely) == 1 else wrong(name, plain)

    def _named(tag: object) -> Shape | None:
        return next((arm for arm in arms if arm.name == tag), None) if tags else None

    types = tuple(kind for arm in arms for kind in arm.types)
    wire = frozenset(kind for arm in arms for kind in arm.wire) | ({dict} if tags else set())
    exact = all(arm.exact for arm in arms) and not tags
    return Shape(
        name,
        encode,
        decode,
        types + ((NoneType,) if with_none else ()),
        wire | ({NoneType} if with_none else frozenset()),
        exact=exact,
    )
