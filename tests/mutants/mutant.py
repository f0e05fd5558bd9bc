"""What a mutant is."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One fault: a sentence, a file, and the text that is exchanged in it, exactly once."""

    name: str
    file: str
    """Under the root of the repository."""
    before: str
    after: str
    caught_by: frozenset[str]
    """Properties any of which is the right one to break."""
    needs: str = ""
    """What histories need to meet it, of the simulator's faults and features: small histories of
    these alone are tried first."""


class AppliesNotError(Exception):
    """The text of a mutant is not there exactly once."""


def applied(mutant: Mutant, source: str) -> str:
    """The source with the fault in it. Raises `AppliesNotError`."""
    count = source.count(mutant.before)
    if count != 1:
        raise AppliesNotError(
            f"{mutant.name!r}: its text is {count} times in {mutant.file}, not once. The product "
            "has changed there: plant the fault in what stands there now"
        )
    return source.replace(mutant.before, mutant.after)


def any_of(*properties: str) -> frozenset[str]:
    """The properties of which one must be found broken."""
    return frozenset(properties)
