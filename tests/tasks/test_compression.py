"""Arguments and results are compressed only by those that are asked to."""

from __future__ import annotations

import pytest

from tenure import App
from tests.tasks.conftest import MakeApp

TEXT = "long " * 100_000


def body_bytes(app: App) -> int:
    """How long the body of a job with a long argument is."""

    @app.task(name="keep")
    def keep(text: str) -> None:
        """Nothing."""

    job = app.client.get(keep.enqueue(TEXT).id)
    assert job.body_bytes is not None
    return len(job.body_bytes)


def test_an_app_compresses_nothing_unasked(make_app: MakeApp) -> None:
    assert body_bytes(make_app()) > len(TEXT)


@pytest.mark.parametrize("over", [True, 1_000])
def test_an_app_that_is_asked_to_compresses_long_arguments(
    make_app: MakeApp, over: int | bool
) -> None:
    assert body_bytes(make_app(compress_over=over)) < 10_000


def test_what_is_no_number_of_bytes_is_refused(make_app: MakeApp) -> None:
    with pytest.raises(ValueError, match="compress_over"):
        make_app(compress_over=-1)
