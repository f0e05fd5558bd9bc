"""Planted faults are found, each by the promise that it breaks; and the product has none of them."""

from __future__ import annotations

import pytest

from tests.mutants.__main__ import main, stale
from tests.mutants.catalogue import MUTANTS
from tests.mutants.hunt import ROOT, Effort, hunt
from tests.mutants.mutant import AppliesNotError, Mutant, any_of, applied

QUICK = (
    "a repeated enqueue stores its jobs again",
    "the lowest priority comes first",
    "the journal confirms what it has not synced",
)
"""Found by the first few histories."""


def named(name: str) -> Mutant:
    """The mutant of that name."""
    return next(mutant for mutant in MUTANTS if mutant.name == name)


def test_every_fault_can_still_be_planted() -> None:
    assert stale(MUTANTS, ROOT) == []
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert len(MUTANTS) >= 24


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_fault_is_found_by_the_promise_that_it_breaks(name: str) -> None:
    verdict = hunt(named(name), Effort(small=20, drawn=0, seconds=60))
    assert verdict.good, verdict.found


def test_the_product_as_it_is_has_no_fault() -> None:
    verdict = hunt(None, Effort(small=0, drawn=2, seconds=60))
    assert verdict.good, verdict.found
    assert verdict.found.histories == 2


def test_a_fault_whose_text_is_gone_or_stands_twice_says_so() -> None:
    mutant = Mutant("a fault", "a.py", "one\n", "two\n", any_of("order"))
    assert applied(mutant, "one\n") == "two\n"
    for source in ("three\n", "one\none\n"):
        with pytest.raises(AppliesNotError, match=r"'a fault': its text is \d times in a\.py"):
            applied(mutant, source)


def test_the_list_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--only", "the lowest priority"]) == 0
    assert capsys.readouterr().out.startswith("the lowest priority comes first\n    server/")
