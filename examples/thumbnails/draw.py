"""The pictures: drawn here, varied, and the same ones in every run.

Each carries a mark in its upper left corner as people see it: a square of its own colour. So a
thumbnail can be checked without a second opinion: it has the colour there, or it is wrong.
"""

from __future__ import annotations

import math
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]

SIZES = ((1600, 1200), (1200, 1800), (1920, 1080), (900, 900), (2400, 800), (140, 90))
ORIENTATION = 0x0112
TURNED_RIGHT = 6
"""EXIF: the first row of pixels is the right edge of what people see."""
LIGHTEST = 40
GOLDEN = 0.618034


class Drawn(NamedTuple):
    """A picture on the disk, as a person would describe it."""

    path: Path
    width: int
    height: int
    mark: Colour
    """The colour of the square in the upper left corner, a quarter of the shorter side."""


def draw_all(directory: Path, count: int) -> list[Drawn]:
    """Draws `count` pictures of all kinds into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    return [draw(directory, number) for number in range(count)]


def draw(directory: Path, number: int) -> Drawn:
    """Draws the picture of that number."""
    chance = random.Random(f"picture {number}")
    width, height = SIZES[number % len(SIZES)]
    motif = MOTIFS[number % len(MOTIFS)]
    kind, keep = list(KINDS.items())[number % len(KINDS)]
    mark = colour_of(number, is_grey=kind == "grey16")
    image = motif(chance, width, height)
    side = min(width, height) // 4
    ImageDraw.Draw(image).rectangle((0, 0, side, side), fill=mark)
    return Drawn(keep(image, directory / f"{number:03}-{kind}"), width, height, mark)


def colour_of(number: int, is_grey: bool) -> Colour:
    """A colour for the mark: neighbours in the row are far from each other."""
    hue = number * GOLDEN % 1
    if is_grey:
        level = LIGHTEST + round(hue * 200)
        return level, level, level
    red, green, blue = (
        round(127 + 100 * math.cos(2 * math.pi * (hue + third / 3))) for third in range(3)
    )
    return red, green, blue


def landscape(chance: random.Random, width: int, height: int) -> Image.Image:
    """A sky, and hills before hills."""
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    pen = ImageDraw.Draw(image)
    for layer in range(6):
        base = height * (0.35 + 0.11 * layer)
        phase, steep = chance.uniform(0, 6), chance.uniform(2, 7)
        crest = [
            (x, base + height * 0.08 * math.sin(phase + steep * x / width))
            for x in range(0, width + 16, 16)
        ]
        shade = 150 - 22 * layer
        hill = (shade // 2, shade, chance.randrange(shade))
        pen.polygon([(0, height), *crest, (width, height)], fill=hill)
    return image


def fractal(chance: random.Random, width: int, height: int) -> Image.Image:
    """A piece of the Mandelbrot set."""
    x, y = chance.uniform(-1.5, -0.5), chance.uniform(-0.2, 0.2)
    channels = [
        Image.effect_mandelbrot((width // 3, height // 3), (x - 1, y - 0.8, x + 1, y + 0.8), depth)
        for depth in (20, 35, 50)
    ]
    return Image.merge("RGB", channels).resize((width, height))


def confetti(chance: random.Random, width: int, height: int) -> Image.Image:
    """Some hundred dots on white."""
    image = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(image)
    for _ in range(400):
        x, y, radius = chance.randrange(width), chance.randrange(height), chance.randrange(4, 40)
        colour = (chance.randrange(256), chance.randrange(256), chance.randrange(256))
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return image


def chart(chance: random.Random, width: int, height: int) -> Image.Image:
    """Bars with numbers on them."""
    image = Image.new("RGB", (width, height), (245, 243, 235))
    pen = ImageDraw.Draw(image)
    step = max(width // 24, 2)
    for left in range(0, width, step):
        value = chance.random()
        top = height * (1 - 0.9 * value)
        pen.rectangle((left, top, left + step * 0.7, height), fill=(60, 90, round(255 * value)))
        pen.text((left, top), f"{value:.2f}", fill="black")
    return image


MOTIFS: tuple[Callable[[random.Random, int, int], Image.Image], ...] = (
    landscape, fractal, confetti, chart, landscape,
)  # fmt: skip


def keep_jpeg(image: Image.Image, path: Path) -> Path:
    """As a camera that was held upright writes it."""
    return saved(image, path.with_suffix(".jpg"), quality=88)


def keep_turned_jpeg(image: Image.Image, path: Path) -> Path:
    """As a camera that was held sideways writes it: turned, with a note to turn it back."""
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED_RIGHT
    turned = image.transpose(Image.Transpose.ROTATE_90)
    return saved(turned, path.with_suffix(".jpg"), quality=88, exif=exif)


def keep_transparent_png(image: Image.Image, path: Path) -> Path:
    """With a background that fades out towards the bottom."""
    fading = Image.linear_gradient("L").transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    # The mark, in the upper quarter, stays opaque.
    mask = fading.point([min(2 * level, 255) for level in range(256)]).resize(image.size)
    image.putalpha(mask)
    return saved(image, path.with_suffix(".png"))


def keep_palette_gif(image: Image.Image, path: Path) -> Path:
    """As an animation of three frames with 256 colours each."""
    first = image.quantize(method=Image.Quantize.FASTOCTREE)
    frames = [first.transpose(Image.Transpose.FLIP_LEFT_RIGHT), first]
    return saved(first, path.with_suffix(".gif"), save_all=True, append_images=frames, duration=200)


def keep_webp(image: Image.Image, path: Path) -> Path:
    """As a web shop delivers it."""
    return saved(image, path.with_suffix(".webp"), quality=85, method=0)


def keep_cmyk(image: Image.Image, path: Path) -> Path:
    """As a printer wants it."""
    return saved(image.convert("CMYK"), path.with_suffix(".tif"), compression="tiff_lzw")


def keep_grey16(image: Image.Image, path: Path) -> Path:
    """As a scanner writes it: one channel of sixteen bits."""
    deep = image.convert("L").convert("I").point(lambda value: value * 257).convert("I;16")
    return saved(deep, path.with_suffix(".png"))


KINDS: dict[str, Callable[[Image.Image, Path], Path]] = {
    "jpeg": keep_jpeg,
    "turned": keep_turned_jpeg,
    "alpha": keep_transparent_png,
    "palette": keep_palette_gif,
    "webp": keep_webp,
    "cmyk": keep_cmyk,
    "grey16": keep_grey16,
}


def saved(image: Image.Image, path: Path, **options: Any) -> Path:
    """Saves the picture in the format that its name says; the path."""
    image.save(path, **options)
    return path


def write_impostors(directory: Path) -> list[Path]:
    """Files that are named like pictures and are none; every collection has them."""
    return list(_impostors(directory))


def _impostors(directory: Path) -> Iterator[Path]:
    page = directory / "not-found.jpg"
    page.write_text("<html><title>404 Not Found</title></html>", "utf-8")
    yield page
    whole = keep_jpeg(Image.effect_mandelbrot((800, 600), (-2, -1, 1, 1), 30), directory / "torn")
    whole.write_bytes(whole.read_bytes()[:2000])
    yield whole
    # Some hundred bytes that claim to be 3.6 thousand million pixels.
    bomb = directory / "bomb.png"
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b""))
    yield bomb


def chunk(kind: bytes, content: bytes) -> bytes:
    """A piece of a PNG file."""
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
