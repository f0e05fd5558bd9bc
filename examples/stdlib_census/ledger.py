"""The sum: which file ended where, how often, and whether that is right. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from examples.stdlib_census.analyse import Findings


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A file that could not be parsed, as its dead letter tells."""

    path: str
    error: str
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """The account of a run. Files are counted by their paths, not by the ids the broker gave."""

    files: int
    results: int
    dead: int
    missing: tuple[str, ...]
    """Files that ended nowhere."""
    doubled: tuple[str, ...]
    """Files that ended more than once."""
    strange: tuple[str, ...]
    """What ended without having been a file of this run."""
    wrongly_dead: tuple[str, ...]
    """Dead letters of files that can be parsed after all."""
    bytes_on_disk: int
    """The sizes of all files with a result, as this process reads them."""
    bytes_processed: int
    """The same, as the workers reported them."""

    @property
    def is_right(self) -> bool:
        """Whether every file ended exactly once, in the results or rightly among the dead."""
        wrong = self.missing or self.doubled or self.strange or self.wrongly_dead
        return not wrong and self.bytes_on_disk == self.bytes_processed

    def __str__(self) -> str:
        return (
            f"{self.files} files = {self.results} results + {self.dead} dead letters;"
            f" {len(self.missing)} missing, {len(self.doubled)} doubled,"
            f" {len(self.strange)} strange, {len(self.wrongly_dead)} wrongly dead"
        )


def add_up(
    sizes: dict[str, int],
    results: Iterable[Findings],
    dead: Iterable[DeadLetter],
    parsable: Iterable[str],
) -> Sum:
    """The account of a run over the files in `sizes` (path -> bytes on disk).

    `parsable` names the dead ones that the caller could parse.
    """
    results, dead = list(results), list(dead)
    ended = Counter([found["path"] for found in results] + [letter.path for letter in dead])
    return Sum(
        files=len(sizes),
        results=len(results),
        dead=len(dead),
        missing=tuple(sorted(set(sizes) - set(ended))),
        doubled=tuple(sorted(path for path, times in ended.items() if times > 1)),
        strange=tuple(sorted(set(ended) - set(sizes))),
        wrongly_dead=tuple(sorted(parsable)),
        bytes_on_disk=sum(sizes.get(found["path"], 0) for found in results),
        bytes_processed=sum(found["bytes"] for found in results),
    )
