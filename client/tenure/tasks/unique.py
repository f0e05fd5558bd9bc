"""Unique names of jobs: from a template and the arguments, or from all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from string import Formatter
from typing import Any

from tenure.errors import ArgumentError
from tenure.packing import pack
from tenure.tasks.signature import Signature
from tenure_protocol.limits import UNIQUE_BYTES_MAX

UniqueMaker = Callable[[tuple[Any, ...], Mapping[str, Any], dict[str, Any]], str]
"""The unique name of a call: from its arguments, and from them as they travel."""


def unique_maker(unique: str | bool | None, signature: Signature) -> UniqueMaker | None:
    """What makes the unique names of a task. Raises `ValueError` for an impossible template."""
    if unique is None or unique is False:
        return None
    if unique is True:
        return lambda args, kwargs, payload: _of_everything(signature, payload)
    template = unique
    _check_template(template, signature)
    return lambda args, kwargs, payload: _of_template(template, signature, args, kwargs)


def _check_template(template: str, signature: Signature) -> None:
    try:
        fields = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise ValueError(f"unique {template!r} is not a template: {error}") from None
    if not template:
        raise ValueError("unique must not be empty")
    for field in fields:
        first = field.partition(".")[0].partition("[")[0]
        if first not in signature.names:
            known = ", ".join(signature.names)
            raise ValueError(f"unique {template!r}: there is no argument {first!r}; use {known}")


def _of_template(
    template: str, signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> str:
    try:
        text = template.format_map(signature.bound(args, kwargs))
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise ArgumentError(f"{signature.task}(): unique {template!r}: {what}") from error
    if not text:
        raise ArgumentError(f"{signature.task}(): unique {template!r} became an empty text")
    return shortened(text)


def _of_everything(signature: Signature, payload: dict[str, Any]) -> str:
    # What was left out counts as its default: both calls do the same.
    whole = {**signature.encoded_defaults, **payload}
    try:
        digest = sha256(pack(_ordered(whole))).hexdigest()
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(f"{signature.task}(): msgpack cannot carry it: {error}") from None
    return shortened(f"{signature.task}:{digest}")


def _ordered(value: Any) -> Any:
    # Maps that are equal may have been filled in another order.
    if type(value) is dict:
        items = [[_ordered(key), _ordered(part)] for key, part in value.items()]
        return ["map", sorted(items, key=lambda item: pack(item[0]))]
    if type(value) is list:
        return ["list", [_ordered(part) for part in value]]
    return value


def shortened(text: str) -> str:
    """`text`, or if it is longer than a unique name may be, its beginning and its hash."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= UNIQUE_BYTES_MAX:
        return data.decode()
    digest = sha256(data).hexdigest()
    return f"{data[: UNIQUE_BYTES_MAX - len(digest) - 1].decode(errors='ignore')}:{digest}"
