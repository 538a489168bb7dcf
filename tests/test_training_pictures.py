"""The copies of pictures that leave for a vendor: nothing in them but the picture, and no picture twice."""

import os
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from novai_web.engines import ffmpeg
from novai_web.engines.store import open_store
from novai_web.errors import UnusableMedia
from novai_web.jobs.cleaning import ABANDONED_SECONDS, clean_library

GPS, ORIENTATION, ROTATED, COMMENT = 0x8825, 0x0112, 6, b"taken at home"


@pytest.fixture
def picture(tmp_path: Path):
    """`picture(1)`: a scene of its own for each number, saved as it is told."""

    def drawn(seed: int, name: str, *, size: tuple[int, int] = (800, 600), **saved: object) -> Path:
        scene = Image.new("RGB", (800, 600), (seed * 40 % 255, 90, 160))
        pen = ImageDraw.Draw(scene)
        for n in range(12):
            x, y = (seed * 97 + n * 131) % 700, (seed * 61 + n * 173) % 500
            pen.ellipse((x, y, x + 40 + n * 9, y + 50 + n * 7), fill=(n * 20, seed * 50 % 255, 255 - n * 20))
        path = tmp_path / name
        scene.resize(size).save(path, **saved)  # type: ignore[arg-type]
        return path

    return drawn


@pytest.fixture
def copied(tmp_path: Path):
    return lambda *paths, side=1024: ffmpeg.copies(list(paths), tmp_path / "copies", side, ffmpeg.Limits())


def test_a_copy_is_upright_no_larger_than_asked_and_says_nothing_of_where_it_was_taken(picture, copied):
    notes = Image.Exif()
    notes[ORIENTATION] = ROTATED
    notes[GPS] = {1: "N", 2: (52.0, 31.0, 12.0)}
    (copy,) = copied(picture(1, "home.jpg", exif=notes, comment=COMMENT), side=400)
    assert (copy.width, copy.height) == (300, 400)
    content = Path(copy.path).read_bytes()
    assert COMMENT not in content and b"Exif" not in content
    with Image.open(copy.path) as opened:
        assert opened.format == "JPEG" and not opened.getexif() and opened.size == (300, 400)


def test_the_same_picture_makes_the_same_bytes(picture, copied):
    path = picture(1, "one.png")
    first = Path(copied(path)[0].path).read_bytes()
    assert Path(copied(path)[0].path).read_bytes() == first


def test_another_size_quality_or_format_of_a_picture_is_like_it_and_another_picture_is_not(picture, copied):
    one, small, poor, webp, other = copied(
        picture(1, "one.png"),
        picture(1, "small.png", size=(400, 300)),
        picture(1, "poor.jpg", quality=25),
        picture(1, "one.webp"),
        picture(2, "other.png"),
    )
    assert all(one.is_like(each) and each.is_like(one) for each in (small, poor, webp))
    assert not one.is_like(other)


def test_what_cannot_be_read_is_its_own_refusal_and_takes_no_other_along(picture, copied, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture(1, "one.png").read_bytes()[:500])
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0\0\xff\xff" * 2 + b"\x08\x02\0\0\0" + b"\0" * 50)
    first, second, third = copied(broken, bomb, picture(3, "three.png"))
    assert isinstance(first, UnusableMedia) and isinstance(second, UnusableMedia)
    assert isinstance(third, ffmpeg.Copied)


def test_what_a_killed_process_had_unpacked_is_swept_away(app, settings):
    left = settings.arriving_folder / "zip-left"
    left.mkdir(parents=True)
    (left / "0001").write_bytes(b"x")
    clean_library(open_store(settings), settings)
    assert left.exists()
    os.utime(left, (left.stat().st_mtime - ABANDONED_SECONDS - 1,) * 2)
    clean_library(open_store(settings), settings)
    assert not left.exists()
