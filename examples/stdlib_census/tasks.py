"""The app of the census: `tenure worker examples.stdlib_census.tasks:app --pool process`."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from examples.stdlib_census.analyse import Findings, UnparsableError, analyse
from tenure import App, Permanent

QUEUE = "census"
LIBRARY = Path(sysconfig.get_paths()["stdlib"])

# A short lease: a worker that dies is noticed after seconds. One that is merely slow keeps its
# jobs, because the worker extends what its processes work on.
app = App(name="census", queue=QUEUE, lease="3s")


@app.lifespan
def background() -> Iterator[None]:
    """This is background work: whoever watches it comes first."""
    os.nice(5)
    yield


# The results stay for an hour: the program that wants them fetches them at the end.
@app.task(name="analyse", executor="process", timeout="1m", result_ttl="1h")
def analyse_file(path: str) -> Findings:
    """The findings about one file of the standard library."""
    try:
        return analyse(path, (LIBRARY / path).read_bytes())
    except UnparsableError as error:
        raise Permanent(str(error)) from error  # no further attempt would end differently
