"""One picture to one thumbnail. Knows nothing of queues."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

QUALITY = 82


class NotAPicture(Exception):
    """The file is no picture that could be shown; trying again cannot help."""


def make(source: Path, target: Path, pixels: int) -> tuple[int, int]:
    """Writes a WebP of `source` that fits into a square of `pixels`; its width and height.

    The target is there whole or not at all, and doing it twice does no harm. Raises
    `NotAPicture`, or `OSError` when a file cannot be read or written.
    """
    # Read first: after that an OSError is about the picture and no longer about the disk.
    content = source.read_bytes()
    try:
        image = shown(content, pixels)
    except UnidentifiedImageError as error:
        raise NotAPicture(f"{source.name}: no picture of any known format") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise NotAPicture(f"{source.name}: {error}") from error
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        image.save(unfinished, "WEBP", quality=QUALITY)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return image.size


def shown(content: bytes, pixels: int) -> Image.Image:
    """The picture in `content` as people see it, small, with eight bits a channel."""
    with Image.open(io.BytesIO(content)) as image:
        # A JPEG can be decoded at an eighth of its size, which is most of the work saved.
        image.draft("RGB", (2 * pixels, 2 * pixels))
        # A camera writes the sensor's rows and a note how to turn them.
        upright = ImageOps.exif_transpose(image)
        small = with_eight_bits(upright)
    small.thumbnail((pixels, pixels), Image.Resampling.LANCZOS)
    return small


def with_eight_bits(image: Image.Image) -> Image.Image:
    """The same picture in RGB, or in RGBA if something shines through."""
    if image.mode.startswith("I"):
        # Sixteen bits of grey: converting as it is would cut everything above 255.
        return image.convert("F").point(lambda value: value / 257).convert("L").convert("RGB")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")
