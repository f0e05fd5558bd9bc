"""Models of pydantic and structs of msgspec, by their own means.

Neither library is imported here: who has such a class has the library.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tenure.tasks.shapes.base import Misfit, Shape, wrong

_MAP = frozenset({dict})
_ANYTHING: frozenset[type] = frozenset({dict, list, str, int, float, bool, bytes, type(None)})


def is_pydantic_model(kind: type) -> bool:
    """Whether this is a model of pydantic."""
    return hasattr(kind, "__pydantic_serializer__") and hasattr(kind, "model_validate_json")


def is_msgspec_struct(kind: type) -> bool:
    """Whether this is a struct of msgspec."""
    return hasattr(kind, "__struct_fields__") and "msgspec" in sys.modules


def pydantic_shape(kind: Any) -> Shape:
    """A model: it travels as what its JSON would be."""
    name: str = kind.__name__

    def encode(value: Any) -> Any:
        if type(value) is not kind:
            raise wrong(name, value)
        try:
            return value.model_dump(mode="json", by_alias=True, round_trip=True)
        except Exception as error:
            raise Misfit(f"cannot travel as {name}: {error}") from error

    def decode(plain: Any) -> Any:
        try:
            # As JSON, so that strict models take moments and the like from their texts.
            return kind.model_validate_json(json.dumps(plain))
        except ValueError as error:
            raise _told_by_pydantic(error, name) from error
        except TypeError as error:
            raise Misfit(f"cannot become {name}: {error}") from error

    root = "root" in kind.model_fields and len(kind.model_fields) == 1
    return Shape(name, encode, decode, (kind,), _ANYTHING if root else _MAP)


def _told_by_pydantic(error: Any, name: str) -> Misfit:
    errors = getattr(error, "errors", None)
    if errors is None:
        return Misfit(f"cannot become {name}: {error}")
    first = errors()[0]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    return Misfit(f"does not fit {name}: {first['msg']}").under(path)


def msgspec_shape(annotation: Any, kind: Any) -> Shape:
    """A struct, maybe of a generic one: it travels as what its JSON would be, bytes as bytes."""
    name: str = kind.__name__
    msgspec = sys.modules["msgspec"]

    def encode(value: Any) -> Any:
        if type(value) is not kind:
            raise wrong(name, value)
        try:
            return msgspec.to_builtins(value, builtin_types=(bytes,))
        except (TypeError, ValueError) as error:
            raise Misfit(f"cannot travel as {name}: {error}") from error

    def decode(plain: Any) -> Any:
        try:
            return msgspec.convert(plain, annotation, builtin_types=(bytes,))
        except ValueError as error:
            what, _, path = str(error).partition(" - at `$")
            raise Misfit(f"does not fit {name}: {what}").under(path.rstrip("`")) from error

    config = kind.__struct_config__
    return Shape(name, encode, decode, (kind,), frozenset({list}) if config.array_like else _MAP)
