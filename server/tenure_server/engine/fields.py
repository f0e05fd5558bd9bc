"""Reading arguments: each function returns a checked value or raises `BadRequest` with a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from tenure_protocol.errors import BadRequest
from tenure_protocol.ids import ID_BYTES

Args = Sequence[object]


def args_list(op: str, args: object) -> list[object]:
    """The positional arguments of an operation."""
    if type(args) is not list:
        raise BadRequest(f"the arguments of {op} must be an array, not {_kind(args)}")
    return args


def args_map(op: str, args: object) -> dict[object, object]:
    """The named arguments of an operation."""
    if args is None:
        return {}
    if type(args) is not dict:
        raise BadRequest(f"the arguments of {op} must be a map, not {_kind(args)}")
    return args


def item(args: Args, index: int) -> object:
    """A positional argument, or None when it was left out."""
    return args[index] if index < len(args) else None


def whole(value: object, name: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    if type(value) is not int or not low <= value <= high:
        raise BadRequest(
            f"{name} must be a whole number from {low} to {high}, not {_shown(value)}",
            details={"field": name},
        )
    return value


def whole_or(value: object, name: str, low: int, high: int, default: int) -> int:
    """A whole number from `low` to `high`, or `default` for nil."""
    return default if value is None else whole(value, name, low, high)


def flag(value: object, name: str, default: bool) -> bool:
    """True or false, or `default` for nil."""
    if value is None:
        return default
    if type(value) is not bool:
        raise BadRequest(f"{name} must be true or false, not {_shown(value)}")
    return value


def text(value: object, name: str) -> str:
    """A text."""
    if type(value) is not str:
        raise BadRequest(f"{name} must be a text, not {_kind(value)}")
    return value


def text_or_none(value: object, name: str) -> str | None:
    """A text or nil."""
    return None if value is None else text(value, name)


def blob(value: object, name: str, length: int) -> bytes:
    """Exactly `length` bytes."""
    if type(value) is not bytes or len(value) != length:
        raise BadRequest(f"{name} must be {length} bytes")
    return value


def job_id(value: object) -> bytes:
    """A job id of 16 bytes."""
    return blob(value, "a job id", ID_BYTES)


def items(value: object, name: str, most: int) -> list[object]:
    """An array of 1 to `most` items."""
    if type(value) is not list or not value:
        raise BadRequest(f"{name} must be an array of 1 to {most} items, not {_kind(value)}")
    if len(value) > most:
        raise BadRequest(
            f"{name} has {len(value)} items; the limit is {most}", details={"limit": most}
        )
    return value


def number_or_none(value: object, name: str, low: float, high: float) -> float | None:
    """A number from `low` to `high`, or nil."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise BadRequest(f"{name} must be a number from {low} to {high}, not {_shown(value)}")
    return float(value)


def _kind(value: object) -> str:
    if isinstance(value, list) and not value:
        return "an empty array"
    names = {
        "NoneType": "nil",
        "dict": "a map",
        "list": "an array",
        "str": "a text",
        "bytes": "bytes",
    }
    return names.get(type(value).__name__, type(value).__name__)


def _shown(value: object) -> str:
    if isinstance(value, (int, float, str)):
        return repr(value)[:60]
    return _kind(value)
