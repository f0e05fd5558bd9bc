"""The story: pictures are drawn, a pool of processes makes thumbnails, each of them is checked."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from PIL import Image

from examples.running import end_of, play, stage
from examples.thumbnails.draw import Drawn, draw_all, write_impostors
from examples.thumbnails.tasks import Thumbnail, app, make_thumbnail
from tenure import TaskFailed

PROCESSES = 2
NEAR = 24
"""How far each channel of a colour may be off after two compressions."""


def main() -> int:
    """Runs the example; its exit code."""
    parser = argparse.ArgumentParser(prog="thumbnails", description="Thumbnails of real pictures.")
    parser.add_argument("--pictures", type=int, default=70, help="how many to draw [70]")
    parser.add_argument("--size", type=int, default=256, help="longest side in pixels [256]")
    parser.add_argument("--keep", type=Path, help="leave pictures and thumbnails there")
    options = parser.parse_args()
    keep: Path | None = options.keep
    scratch = tempfile.TemporaryDirectory(prefix="tenure-pictures-") if keep is None else None
    with scratch or nullcontext(str(keep)) as directory:
        return run(Path(directory), options.pictures, options.size)


def run(directory: Path, count: int, pixels: int) -> int:
    """Draws, enqueues, waits, checks; the exit code."""
    begun = time.monotonic()
    drawn = draw_all(directory / "pictures", count)
    impostors = write_impostors(directory / "pictures")
    sources = [*(picture.path for picture in drawn), *impostors]
    size = sum(path.stat().st_size for path in sources)
    print(f"{len(sources)} files, {size / 1e6:.1f} MB, in {time.monotonic() - begun:.1f} s")
    thumbnails = directory / "thumbnails"
    thumbnails.mkdir(exist_ok=True)

    arguments = ("--pool", "process", "-c", str(PROCESSES))
    with stage("thumbnails", "examples.thumbnails.tasks:app", *arguments) as on:
        begun = time.monotonic()
        jobs = app.enqueue_many(
            make_thumbnail.s(
                source.absolute(), thumbnails.absolute() / f"{source.name}.webp", pixels
            )
            for source in sources
        )
        on.workers.start_one()
        ends = {source: end_of(job, on.workers) for source, job in zip(sources, jobs, strict=True)}
        made = {source: end for source, end in ends.items() if isinstance(end, Thumbnail)}
        dead = {source: end for source, end in ends.items() if isinstance(end, TaskFailed)}
        print(f"{len(made)} thumbnails after {time.monotonic() - begun:.1f} s")
        app.close()
        on.workers.stop()
        on.broker.stop()
    return verdict(drawn, impostors, made, dead, pixels)


def verdict(
    drawn: Sequence[Drawn],
    impostors: Sequence[Path],
    made: dict[Path, Thumbnail],
    dead: dict[Path, TaskFailed],
    pixels: int,
) -> int:
    """Says what became of every file; 0 if all of it is right."""
    for path, failure in dead.items():
        print(f"  dead letter {path.name}: {failure.message}")
    missing = [picture.path.name for picture in drawn if picture.path not in made]
    wrong = [
        f"{picture.path.name}: {fault}"
        for picture in drawn
        if picture.path in made and (fault := fault_of(picture, made[picture.path], pixels))
    ]
    accepted = [path.name for path in impostors if path not in dead]
    for name, faults in (
        ("missing", missing),
        ("wrong", wrong),
        ("no picture, but made", accepted),
    ):
        for fault in faults:
            print(f"  {name}: {fault}")
    processes = len({thumbnail.pid for thumbnail in made.values()})
    print(
        f"sum: {len(drawn) + len(impostors)} files = {len(made)} thumbnails + {len(dead)} dead"
        f" letters; {len(missing)} missing, {len(wrong)} wrong; made by {processes} processes"
    )
    is_right = not missing and not wrong and not accepted
    print("Right: every picture has its thumbnail." if is_right else "WRONG: see above.")
    return 0 if is_right else 1


def fault_of(picture: Drawn, thumbnail: Thumbnail, pixels: int) -> str:
    """What is wrong with a thumbnail; nothing if it shows the picture as it should."""
    scale = min(pixels / max(picture.width, picture.height), 1)
    with Image.open(thumbnail.path) as image:
        if image.size != (thumbnail.width, thumbnail.height):
            return f"is {image.size}, and its job says otherwise"
        for side, whole in zip(image.size, (picture.width, picture.height), strict=True):
            if abs(side - whole * scale) > 1:
                return f"is {image.size}, made of {picture.width} x {picture.height}"
        middle = int(min(image.size) / 8)
        found = image.convert("RGB").getpixel((middle, middle))
    assert isinstance(found, tuple)
    if any(abs(is_ - should) > NEAR for is_, should in zip(found, picture.mark, strict=True)):
        return f"has {found} in its corner instead of {picture.mark}"
    return ""


if __name__ == "__main__":
    sys.exit(play(main))
