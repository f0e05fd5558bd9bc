"""Thumbnails: real pictures through a pool of processes, and each of them checked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from examples.thumbnails.__main__ import fault_of
from examples.thumbnails.draw import KINDS, Drawn, draw_all, write_impostors
from examples.thumbnails.picture import NotAPicture, make
from examples.thumbnails.tasks import Thumbnail
from tests.examples.runs import run_example

PIXELS = 96


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_every_picture_gets_its_thumbnail_and_what_is_no_picture_a_dead_letter(
    tmp_path: Path,
) -> None:
    printed = run_example("thumbnails", tmp_path, "--pictures", "21", "--keep", str(tmp_path))
    assert re.search(
        r"^sum: 24 files = 21 thumbnails \+ 3 dead letters; 0 missing, 0 wrong; made by [12] processes$",
        printed,
        re.M,
    ), printed
    dead = re.findall(r"^  dead letter (\S+): ", printed, re.M)
    assert sorted(dead) == ["bomb.png", "not-found.jpg", "torn.jpg"]
    sources = {path.name for path in (tmp_path / "pictures").iterdir()} - set(dead)
    made = {path.name.removesuffix(".webp") for path in (tmp_path / "thumbnails").iterdir()}
    assert made == sources
    assert len(made) == 21
    for path in (tmp_path / "thumbnails").iterdir():
        with Image.open(path) as image:
            assert image.format == "WEBP"
            assert max(image.size) <= 256


def test_pictures_of_every_kind_become_thumbnails_that_show_them(tmp_path: Path) -> None:
    for picture in draw_all(tmp_path / "pictures", len(KINDS)):
        target = tmp_path / f"{picture.path.name}.webp"
        width, height = make(picture.path, target, PIXELS)
        assert fault_of(picture, Thumbnail(target, width, height, 0, 1), PIXELS) == ""


def test_a_picture_that_is_small_already_is_not_blown_up(tmp_path: Path) -> None:
    picture = draw_all(tmp_path, 6)[5]
    assert make(picture.path, tmp_path / "small.webp", 256) == (picture.width, picture.height)


def test_the_pictures_are_the_same_in_every_run(tmp_path: Path) -> None:
    first, second = (draw_all(tmp_path / name, len(KINDS)) for name in ("first", "second"))
    assert [each._replace(path=Path(each.path.name)) for each in first] == [
        each._replace(path=Path(each.path.name)) for each in second
    ]
    for one, other in zip(first, second, strict=True):
        assert one.path.read_bytes() == other.path.read_bytes()


def test_what_is_no_picture_is_told_apart_from_what_went_wrong(tmp_path: Path) -> None:
    for impostor in write_impostors(tmp_path):
        with pytest.raises(NotAPicture, match=impostor.name):
            make(impostor, tmp_path / "thumbnail.webp", PIXELS)
    with pytest.raises(FileNotFoundError):
        make(tmp_path / "not-there.jpg", tmp_path / "thumbnail.webp", PIXELS)


def test_nothing_is_left_of_a_thumbnail_that_cannot_be_written(tmp_path: Path) -> None:
    (picture,) = draw_all(tmp_path / "pictures", 1)
    (tmp_path / "taken.webp").mkdir()
    with pytest.raises(OSError):
        make(picture.path, tmp_path / "taken.webp", PIXELS)
    assert {path.name for path in tmp_path.iterdir()} == {"pictures", "taken.webp"}


@pytest.fixture
def made(tmp_path: Path) -> tuple[Drawn, Thumbnail]:
    """A turned photograph and its thumbnail."""
    picture = draw_all(tmp_path / "pictures", 2)[1]
    target = tmp_path / "thumbnail.webp"
    return picture, Thumbnail(target, *make(picture.path, target, PIXELS), pid=0, attempt=1)


def test_a_thumbnail_of_another_picture_is_noticed(made: tuple[Drawn, Thumbnail]) -> None:
    picture, thumbnail = made
    red, green, blue = picture.mark
    other = picture._replace(mark=(red, 255 - green, blue))
    assert "in its corner" in fault_of(other, thumbnail, PIXELS)


def test_a_thumbnail_that_lies_on_its_side_is_noticed(made: tuple[Drawn, Thumbnail]) -> None:
    picture, thumbnail = made
    with Image.open(thumbnail.path) as image:
        image.transpose(Image.Transpose.ROTATE_90).save(thumbnail.path)
    lying = Thumbnail(thumbnail.path, thumbnail.height, thumbnail.width, pid=0, attempt=1)
    assert "made of" in fault_of(picture, lying, PIXELS)
