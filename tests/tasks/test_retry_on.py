"""`Retry(on=…, never_on=…)` tells which errors are tried again."""

from __future__ import annotations

from typing import Any

import pytest

from tenure import App, Permanent, Retry, RetryLater, Snooze


def test_every_error_is_tried_again_unless_told_otherwise() -> None:
    assert Retry().allows(ValueError())
    assert Retry.fixed("1s").allows(KeyError())


def test_only_the_named_errors_are_tried_again() -> None:
    for retry in (
        Retry(on=(OSError, ValueError)),
        Retry.fixed(1, on=[OSError, ValueError]),
        Retry.steps([1], on=(OSError, ValueError)),
    ):
        assert retry.on == (OSError, ValueError)
        assert retry.allows(ConnectionResetError())
        assert retry.allows(UnicodeError())
        assert not retry.allows(KeyError())


def test_an_exception_to_the_named_errors_is_not_tried_again() -> None:
    retry = Retry(on=OSError, never_on=FileNotFoundError)

    assert retry.allows(OSError())
    assert not retry.allows(FileNotFoundError())
    assert not Retry(never_on=ValueError).allows(UnicodeError())
    assert Retry(never_on=ValueError).allows(KeyError())


def test_a_call_cannot_say_which_errors_are_tried_again() -> None:
    app = App("tenure://localhost:1")

    @app.task
    def work() -> None: ...

    for retry in (Retry(on=OSError), Retry.fixed(1, never_on=OSError)):
        with pytest.raises(ValueError, match="for the task to say"):
            work.using(retry=retry)
    assert work.using(retry=Retry(max_attempts=2)).options.retry == Retry(max_attempts=2)


def test_errors_do_not_travel_with_the_policy() -> None:
    assert Retry(on=OSError).to_wire() == Retry().to_wire()
    assert Retry(on=OSError) == Retry(on=(OSError,))
    assert Retry(on=OSError) != Retry()


@pytest.mark.parametrize("wrong", [[5], ["OSError"], [int], OSError()])
def test_what_is_no_type_of_errors_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="types of errors"):
        Retry(on=wrong)
    with pytest.raises(TypeError, match="types of errors"):
        Retry.fixed(1, never_on=wrong)


def test_what_a_task_raises_reads_well() -> None:
    assert str(Permanent("bad address")) == "bad address"
    assert (RetryLater("5m").delay_ms, str(RetryLater("5m", "busy"))) == (300_000, "busy")
    assert (Snooze(2).delay_ms, str(Snooze(2))) == (2_000, "")
    with pytest.raises(ValueError, match="delay"):
        RetryLater("soon")
