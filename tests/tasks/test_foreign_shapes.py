"""Models of pydantic and structs of msgspec travel by their own rules."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest

from tests.tasks import models
from tests.tasks.coding import arrived, refused_here, refused_there, sent

ID = UUID("12345678-1234-5678-1234-567812345678")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
ADDRESS = models.Address(street="Main", since=date(2020, 1, 2))

BOTH_WAYS: list[tuple[Any, Any, Any]] = [
    (models.Address, ADDRESS, {"street": "Main", "since": "2020-01-02"}),
    (
        models.Customer,
        models.Customer(id=ID, addresses=[ADDRESS]),
        {
            "id": str(ID),
            "addresses": [{"street": "Main", "since": "2020-01-02"}],
            "discount": 0,
        },
    ),
    (models.Strict, models.Strict(at=NOON), {"at": "2026-05-01T12:00:00Z"}),
    (models.Aliased, models.Aliased(firstName="Ada"), {"firstName": "Ada"}),
    (models.Names, models.Names(["a"]), ["a"]),
    (models.Page[int], models.Page[int](items=[1]), {"items": [1]}),
    (models.Checked, models.Checked(count=3), {"count": 3}),
    (list[models.Address], [ADDRESS], [{"street": "Main", "since": "2020-01-02"}]),
    (models.Address | None, None, None),
    (models.Address | models.Reading, models.Reading("a", NOON), None),
    (
        models.Reading,
        models.Reading("a", NOON, b"\xff", [1.5]),
        {"sensor": "a", "at": "2026-05-01T12:00:00Z", "raw": b"\xff", "values": [1.5]},
    ),
    (models.Positional, models.Positional(1, 2), [1, 2]),
    (models.Wrapped[int], models.Wrapped(1), {"content": 1}),
]


@pytest.mark.parametrize(("annotation", "value", "travels"), BOTH_WAYS, ids=repr)
def test_a_value_comes_back_as_it_was(annotation: Any, value: Any, travels: Any) -> None:
    plain = sent(annotation, value)

    assert travels is None or plain == travels
    assert arrived(annotation, plain) == value


def test_only_the_class_itself_may_be_given() -> None:
    assert refused_here(models.Address, {"street": "a"}) == (
        "task(): argument 'it' must be Address, not dict"
    )
    assert refused_here(models.Reading, {}) == "task(): argument 'it' must be Reading, not dict"
    assert refused_here(models.Customer, models.BigCustomer(id=ID)) == (
        "task(): argument 'it' must be Customer, not BigCustomer"
    )


def test_what_does_not_fit_is_named_with_its_path() -> None:
    broken = {"id": str(ID), "addresses": [{"street": "a", "since": "x"}]}

    told = refused_there(models.Customer, broken)
    assert told.startswith("task(): argument 'it.addresses[0].since' does not fit Customer: ")

    told = refused_there(models.Reading, {"sensor": "a", "at": NOON.isoformat(), "values": ["x"]})
    assert told == (
        "task(): argument 'it.values[0]' does not fit Reading: Expected `float`, got `str`"
    )
    assert refused_there(models.Checked, {"count": 0}).startswith(
        "task(): argument 'it' cannot become Checked: "
    )
    assert refused_there(models.Wrapped[int], {"content": "a"}).startswith(
        "task(): argument 'it.content' does not fit Wrapped: "
    )


def test_what_a_model_cannot_write_is_told() -> None:
    assert refused_here(models.Raw, models.Raw(data=b"\xff")).startswith(
        "task(): argument 'it' cannot travel as Raw: "
    )


def test_neither_library_is_needed_or_imported() -> None:
    program = (
        "import sys; from tenure import App; app = App()\n"
        "@app.task\n"
        "def add(x: int) -> int: return x\n"
        "add.s(1); print(*[m for m in ('pydantic', 'msgspec') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == []
