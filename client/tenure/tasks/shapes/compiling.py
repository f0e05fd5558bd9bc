"""From an annotation to its shape."""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

from tenure.tasks.shapes import foreign, plain, texts
from tenure.tasks.shapes.base import Shape, Unshapable
from tenure.tasks.shapes.containers import (
    dict_shape,
    list_shape,
    long_tuple_shape,
    set_shape,
    tuple_shape,
)
from tenure.tasks.shapes.records import record_shape, typed_dict_shape
from tenure.tasks.shapes.unions import union_shape

_LISTS = (list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable)
_SETS = (set, frozenset, abc.Set, abc.MutableSet)
_DICTS = (dict, abc.Mapping, abc.MutableMapping)
_THROUGH = (typing.Annotated, typing.Required, typing.NotRequired, typing.Final)

TypeVars = Mapping[Any, Any]
"""What the type variables of a generic class stand for."""


class Compiler:
    """Makes shapes, those of classes once: a class may hold itself."""

    def __init__(self) -> None:
        self._classes: dict[Any, Shape] = {}

    def shape(self, annotation: Any) -> Shape:
        """The shape of an annotation. Raises `Unshapable` where there is none."""
        if annotation is Any or annotation is object:
            return plain.ANY
        simple = _simple(annotation)
        if simple is not None:
            return simple
        origin = typing.get_origin(annotation)
        args = typing.get_args(annotation)
        if origin is typing.Union or origin is types.UnionType:
            return union_shape([self.shape(arg) for arg in args])
        if origin is typing.Literal:
            return texts.literal_shape(args)
        if origin in _THROUGH:
            return self.shape(args[0])
        if isinstance(annotation, typing.NewType):
            return self.shape(annotation.__supertype__)
        if isinstance(annotation, typing.TypeVar):
            return self._type_variable(annotation)
        if hasattr(annotation, "__value__"):  # type X = ..., from Python 3.12 on
            return self._once(annotation, lambda: self.shape(annotation.__value__))
        if hasattr(origin, "__value__"):
            stands_for = dict(zip(origin.__type_params__, args, strict=False))
            return self.shape(_substituted(origin.__value__, stands_for))
        kind = annotation if origin is None else origin
        if not isinstance(kind, type):
            raise _no_way(annotation)
        return self._container(kind, args, bare=annotation is kind) or self._once(
            annotation, lambda: self._class(annotation, kind, args)
        )

    def _once(self, annotation: Any, make: Any) -> Shape:
        found = self._classes.get(annotation)
        if found is not None:
            return found
        made: list[Shape] = []
        kind = typing.get_origin(annotation) or annotation
        self._classes[annotation] = Shape(
            type_name(annotation),
            lambda value: made[0].encode(value),
            lambda value: made[0].decode(value),
            (dict,) if typing.is_typeddict(kind) else (kind,),
            frozenset({dict}),
        )
        try:
            made.append(make())
        except BaseException:
            del self._classes[annotation]
            raise
        self._classes[annotation] = made[0]
        return made[0]

    def _type_variable(self, variable: typing.TypeVar) -> Shape:
        if variable.__constraints__:
            return union_shape([self.shape(one) for one in variable.__constraints__])
        return plain.ANY if variable.__bound__ is None else self.shape(variable.__bound__)

    def _container(self, kind: type, args: tuple[Any, ...], *, bare: bool) -> Shape | None:
        if kind is tuple:
            return self._tuple(args, bare=bare)
        if kind in _DICTS:
            key, value = (self.shape(arg) for arg in args or (Any, Any))
            key = plain.KEY if key is plain.ANY else key
            name = _applied(kind, (key, value), args)
            return dict_shape(kind, key, value, name)
        if kind in _LISTS or kind in _SETS:
            item = self.shape(args[0] if args else Any)
            make = list_shape if kind in _LISTS else set_shape
            return make(kind, item, _applied(kind, (item,), args))
        return None

    def _tuple(self, args: tuple[Any, ...], *, bare: bool) -> Shape:
        if bare:
            return long_tuple_shape(plain.ANY, "tuple")
        if len(args) == 2 and args[1] is Ellipsis:
            item = self.shape(args[0])
            return long_tuple_shape(item, f"tuple[{item.name}, ...]")
        items = tuple(self.shape(arg) for arg in args)
        return tuple_shape(items, f"tuple[{', '.join(item.name for item in items) or '()'}]")

    def _class(self, annotation: Any, kind: type, args: tuple[Any, ...]) -> Shape:
        if issubclass(kind, Enum):
            return texts.enum_shape(kind)
        if issubclass(kind, PurePath):
            return texts.path_shape(kind)
        if foreign.is_pydantic_model(kind):
            return foreign.pydantic_shape(kind)
        if foreign.is_msgspec_struct(kind):
            return foreign.msgspec_shape(annotation, kind)
        name = type_name(annotation)
        stands_for = dict(zip(getattr(kind, "__parameters__", ()), args, strict=False))
        if typing.is_typeddict(kind):
            hints = _hints(kind, stands_for)
            required = frozenset(one for one in hints if _is_required(kind, one, hints[one]))
            return typed_dict_shape(self._fields(name, hints), required, name)
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            named: Any = kind
            found = _hints(kind, stands_for)
            hints = {one: found.get(one, Any) for one in named._fields}
            required = frozenset(hints) - frozenset(named._field_defaults)
            return record_shape(kind, self._fields(name, hints), required, name)
        if dataclasses.is_dataclass(kind):
            return self._dataclass(kind, stands_for, name)
        raise _no_way(annotation)

    def _dataclass(self, kind: type, stands_for: TypeVars, name: str) -> Shape:
        fields = [field for field in dataclasses.fields(kind) if field.init]
        hints = _hints(kind, stands_for)
        required = frozenset(
            field.name
            for field in fields
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        shapes = self._fields(name, {field.name: hints[field.name] for field in fields})
        return record_shape(kind, shapes, required, name)

    def _fields(self, owner: str, hints: Mapping[str, Any]) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {}
        for name, hint in hints.items():
            try:
                shapes[name] = self.shape(hint)
            except Unshapable as error:
                raise Unshapable(f"in {owner}, {name}: {error}") from None
        return shapes


def _simple(annotation: Any) -> Shape | None:
    if annotation is bytearray:
        return plain.BYTEARRAY
    try:
        return plain.SCALARS.get(annotation) or texts.TEXTS.get(annotation)
    except TypeError:
        return None  # a Literal of something that has no hash


def _hints(kind: type, stands_for: TypeVars) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except Exception as error:
        raise Unshapable(f"the annotations of {kind.__name__} cannot be read: {error}") from error
    return {name: _substituted(hint, stands_for) for name, hint in hints.items()}


def _substituted(annotation: Any, stands_for: TypeVars) -> Any:
    if not stands_for:
        return annotation
    if isinstance(annotation, typing.TypeVar):
        return stands_for.get(annotation, annotation)
    parameters = getattr(annotation, "__parameters__", ())
    if not parameters or isinstance(annotation, type):
        return annotation
    return annotation[tuple(stands_for.get(one, one) for one in parameters)]


def _is_required(kind: Any, name: str, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin is typing.NotRequired:
        return False
    return origin is typing.Required or name in kind.__required_keys__


def _applied(kind: type, parts: tuple[Shape, ...], args: tuple[Any, ...]) -> str:
    if not args:
        return kind.__name__
    return f"{kind.__name__}[{', '.join(part.name for part in parts)}]"


def type_name(annotation: Any) -> str:
    """An annotation for people: without the modules of its types."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    args = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if isinstance(origin, type) and args:
        return f"{origin.__name__}[{', '.join(type_name(arg) for arg in args)}]"
    return repr(annotation).replace("typing.", "")


def _no_way(annotation: Any) -> Unshapable:
    return Unshapable(
        f"{type_name(annotation)} cannot travel: use plain values, dataclasses, enums, moments,"
        " UUID, Decimal, Path, pydantic models or msgspec structs, or let Depends fill it in"
    )
