"""Queues and pools as typed on the command line: `-q mail=4,bulk=1`, `--pool cpu=process:2:resize`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tenure_protocol.limits import JOBS_PER_REQUEST_MAX, QUEUES_PER_RESERVE_MAX
from tenure_protocol.names import check_queue_name

PoolKind = Literal["async", "thread", "process"]
KINDS: tuple[PoolKind, ...] = ("async", "thread", "process")

Queues = list[str] | dict[str, int]
"""Names, the first one first; or names with weights."""

CONCURRENCY_DEFAULT = 32
"""How many jobs run at a time in a pool of the kinds `async` and `thread`."""

NAMES_SHOWN_MAX = 8
"""So many names of tasks stand in one line of the log."""

_WEIGHT_MAX = 1000
_POOL_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """A pool as it was asked for.

    - `size`: jobs that run at a time; for the kind `process` also the number of processes.
    - `queues`: its own; None for those of the worker.
    - `prefetch`: jobs that may wait in the worker for each job that runs.
    """

    name: str
    kind: PoolKind
    size: int
    queues: Queues | None = None
    prefetch: int = 0


def parse_queues(text: str) -> Queues:
    """Queues from "mail,bulk" (strict order) or "mail=4,bulk=1" (weights).

    Raises `ValueError` that says what is wrong.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not 1 <= len(words) <= QUEUES_PER_RESERVE_MAX:
        raise ValueError(f"name 1 to {QUEUES_PER_RESERVE_MAX} queues, not {len(words)}")
    weighted = [word for word in words if "=" in word]
    if weighted and len(weighted) != len(words):
        raise ValueError(
            f"{text!r} mixes queues with and without weights: give all of them or none"
        )
    names = [check_queue_name(word.partition("=")[0].strip()) for word in words]
    if len(set(names)) != len(names):
        raise ValueError(f"{text!r} names a queue twice")
    if not weighted:
        return names
    return {name: _weight(word, name) for name, word in zip(names, words, strict=True)}


def _weight(word: str, name: str) -> int:
    text = word.partition("=")[2].strip()
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= _WEIGHT_MAX:
        raise ValueError(f"the weight of {name} must be 1 to {_WEIGHT_MAX}, not {text!r}")
    return int(text)


def show_queues(queues: Queues) -> str:
    """Queues as `parse_queues` reads them."""
    if isinstance(queues, dict):
        return ",".join(f"{name}={weight}" for name, weight in queues.items())
    return ",".join(queues)


def show_names(names: Iterable[str]) -> str:
    """How many there are, and the first of them: "3: add, mail.send, resize"."""
    known = sorted(names)
    more = ", ..." if len(known) > NAMES_SHOWN_MAX else ""
    return f"{len(known)}: {', '.join(known[:NAMES_SHOWN_MAX])}{more}"


def queue_names(queues: Queues) -> list[str]:
    """The names alone."""
    return list(queues)


def parse_pools(texts: tuple[str, ...], concurrency: int | None, prefetch: int) -> list[PoolSpec]:
    """Pools from KIND or NAME=KIND:SIZE[:QUEUES], each; one of the kind `async` if none is named.

    `concurrency` is the size of pools that name none. Raises `ValueError`, also where it is
    the size of none.
    """
    if concurrency is not None and texts and all(map(_names_size, texts)):
        raise ValueError(
            f"--concurrency {concurrency} has no effect: every --pool names its own size;"
            " leave one of the two out"
        )
    pools = [_pool(text, concurrency, prefetch) for text in texts or ("async",)]
    names = [pool.name for pool in pools]
    if len(set(names)) != len(names):
        raise ValueError(f"two pools are called {max(names, key=names.count)!r}: name them apart")
    return pools


def check_queues(queues: Queues | None, pools: Sequence[PoolSpec]) -> Queues | None:
    """`queues` if some pool works on them. Raises `ValueError`."""
    if queues is not None and all(pool.queues is not None for pool in pools):
        raise ValueError(
            f"--queues {show_queues(queues)} has no effect: every --pool names its own queues;"
            " leave one of the two out"
        )
    return queues


def _names_size(text: str) -> bool:
    rest = text.partition("=")[2] or text
    return bool(rest.partition(":")[2].partition(":")[0].strip())


def _pool(text: str, concurrency: int | None, prefetch: int) -> PoolSpec:
    name, equals, rest = text.partition("=")
    if not equals:
        name, rest = "main", text
    kind_text, _, rest = rest.partition(":")
    size_text, _, queues_text = rest.partition(":")
    if not _POOL_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a pool: use a-z, 0-9, _ and -")
    kinds: dict[str, PoolKind] = {known: known for known in KINDS}
    kind = kinds.get(kind_text.strip())
    if kind is None:
        raise ValueError(
            f"{text!r} is not a pool: write {', '.join(KINDS)}, or NAME=KIND:SIZE[:QUEUES]"
        )
    size = concurrency or _default_size(kind)
    if size_text.strip():
        size = _size(size_text.strip(), name)
    queues = parse_queues(queues_text) if queues_text.strip() else None
    return PoolSpec(name, kind, check_size(size, f"the size of pool {name}"), queues, prefetch)


def _default_size(kind: PoolKind) -> int:
    return os.cpu_count() or 1 if kind == "process" else CONCURRENCY_DEFAULT


def _size(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"the size of pool {name} must be a whole number, not {text!r}")
    return int(text)


def check_size(size: int, name: str) -> int:
    """`size` if a pool may have it. Raises `ValueError`, naming `name`."""
    if not 1 <= size <= JOBS_PER_REQUEST_MAX:
        raise ValueError(f"{name} must be 1 to {JOBS_PER_REQUEST_MAX}, not {size}")
    return size
