"""The images that a power cut could leave at one moment, each named by a small value.

Of the pending changes: none; all; all but one; only one; and random choices of which writes
are there, whole or torn, and which names. `Choice` names an image, so that it can be counted,
drawn and built again; `content` builds it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.power.disk import Change, Disk, NameChange, Tree

NAMES = ("late", "early")
"""New names only when their directory was synced; or at once, as journaling file systems do."""


class Choice(NamedTuple):
    """Which pending changes an image has."""

    how: str
    """"none", "all", "drop", "only" or "random"."""
    number: int
    """Of the write that is dropped or kept; or a seed."""
    names: str
    """"late", "early", or "some", drawn by the seed."""


Files = dict[str, bytes | None]
"""Path below the root -> content; None for a directory."""


def choices_at(disk: Disk, seed: int, random_count: int) -> Iterator[Choice]:
    """The images to try at this moment: first the plain ones, then the rest."""
    pending, names = len(disk.pending()), len(disk.pending_names())
    ways = NAMES if names else NAMES[:1]
    for way in ways:
        yield Choice("none", 0, way)
        if pending:
            yield Choice("all", 0, way)
    for number in range(pending if pending > 1 else 0):
        for way in ways:
            yield Choice("drop", number, way)
            yield Choice("only", number, way)
    if pending or names > 1:
        for number in range(random_count):
            yield Choice("random", seed * 1_000_003 + number, "some" if names else "late")


def is_plain(choice: Choice) -> bool:
    """Whether it is one of those that are tried at every moment."""
    return choice.how in ("none", "all")


def content(disk: Disk, choice: Choice) -> Files:
    """The image."""
    chance = random.Random(choice.number)
    pending = {id(change): number for number, (_, change) in enumerate(disk.pending())}
    density = chance.choice([0.1, 0.5, 0.9])
    tree = disk.tree_with(lambda change: _name_is_there(change, choice, chance))
    files: Files = {}
    for path, number in _walk(tree, 0, ""):
        inode = disk.inodes[number]
        if inode.content is None:
            files[path] = None
            continue
        if not inode.changes:
            files[path] = bytes(inode.content)
            continue
        made = bytearray(inode.content)
        for change in inode.changes:
            _apply(made, change, choice, pending.get(id(change)), chance, density)
        files[path] = bytes(made)
    return files


def _name_is_there(_: NameChange, choice: Choice, chance: random.Random) -> bool:
    if choice.names == "some":
        return chance.random() < 0.5
    return choice.names == "early"


def _apply(
    made: bytearray,
    change: Change,
    choice: Choice,
    number: int | None,
    chance: random.Random,
    density: float,
) -> None:
    if number is None or choice.how == "all":
        change.apply(made)
    elif choice.how == "drop":
        if number != choice.number:
            change.apply(made)
    elif choice.how == "only":
        if number == choice.number:
            change.apply(made)
    elif choice.how == "random" and chance.random() < density:
        torn = chance.random() < 0.5
        change.apply(made, (lambda _: chance.random() < 0.5) if torn else None)


def _walk(tree: Tree, directory: int, path: str) -> Iterator[tuple[str, int]]:
    for name, number in sorted(tree.get(directory, {}).items()):
        whole = f"{path}{name}"
        yield whole, number
        if number in tree:
            yield from _walk(tree, number, whole + "/")


def write_files(files: Files, root: Path) -> None:
    """Makes the image below `root`, which must be empty. Zeros are left as holes."""
    for path, data in files.items():
        target = root / path
        if data is None:
            target.mkdir(exist_ok=True)
            continue
        if not target.parent.is_dir():
            continue
        with target.open("wb") as file:
            file.write(data)
