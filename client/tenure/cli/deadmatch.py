"""Why a filter over dead jobs finds none: mostly an error type that is not written in full."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tenure.cli.human import count
from tenure.options import DeadFilter

if TYPE_CHECKING:
    from tenure.client import Client

_TYPES_SHOWN_MAX = 8


def why_none(client: Client, queue: str, matching: DeadFilter) -> str:
    """A sentence for a listing that is empty, with the error types that there are instead."""
    if not matching:
        return "no dead jobs"
    wanted = matching.get("error_type")
    if wanted is None:
        return "no dead jobs match"
    # One request, of bounded work for the broker, whatever the number of dead jobs.
    found = client.dead_groups(queue)
    types: Counter[str] = Counter()
    for group in found.groups:
        types[group.error_type or "(none)"] += group.count
    if not types or any(_like(wanted, name) for name in types):
        return "no dead jobs match"
    full = [name for name in types if name.endswith(f".{wanted}")]
    hint = f" Did you mean {full[0]}?" if full else ""
    return f"no dead jobs match: none has the error type {wanted}; there are {_shown(types)}.{hint}"


def _like(wanted: str, name: str) -> bool:
    return name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted


def _shown(types: Counter[str]) -> str:
    shown = [f"{name} ({count(number)})" for name, number in types.most_common(_TYPES_SHOWN_MAX)]
    return ", ".join(shown) + (", ..." if len(types) > _TYPES_SHOWN_MAX else "")
