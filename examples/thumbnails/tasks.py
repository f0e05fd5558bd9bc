"""The app of the thumbnails: `tenure worker examples.thumbnails.tasks:app --pool process`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from examples.thumbnails.picture import NotAPicture, make
from tenure import App, Permanent, Retry, current_job

app = App(name="thumbnails", queue="thumbnails")


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """What a job leaves: where the thumbnail is, and who made it."""

    path: Path
    width: int
    height: int
    pid: int
    attempt: int


@app.task(
    executor="process",
    timeout="1m",
    retry=Retry(max_attempts=3, base="1s", on=(OSError,)),
    result_ttl="1h",
)
def make_thumbnail(source: Path, target: Path, pixels: int = 256) -> Thumbnail:
    """Makes a thumbnail of `source` that fits into a square of `pixels`."""
    try:
        width, height = make(source, target, pixels)
    except NotAPicture as error:
        raise Permanent(str(error)) from error
    return Thumbnail(target, width, height, os.getpid(), current_job().attempt)
