"""What the sandbox draws: real pictures and videos, each plainly the sandbox's, and the same ones each time."""

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw

from novai_web.sandbox import pictures, swaps
from tests import media


@pytest.fixture
def face(tmp_path: Path) -> Path:
    path = tmp_path / "face.jpg"
    Image.new("RGB", (300, 400), (20, 200, 60)).save(path)
    return path


def test_a_picture_follows_from_its_seed_its_words_and_its_sources(face):
    one = pictures.picture(256, 320, 7, "a sheet")
    assert one == pictures.picture(256, 320, 7, "a sheet")
    assert one not in (
        pictures.picture(256, 320, 8, "a sheet"),
        pictures.picture(256, 320, 7, "another"),
        pictures.picture(256, 320, 7, "a sheet", [face]),
    )


@pytest.mark.parametrize(("kind", "name"), [("png", "PNG"), ("jpeg", "JPEG")])
def test_a_picture_has_its_size_and_kind(kind, name):
    with Image.open(io.BytesIO(pictures.picture(90, 50, 1, "x" * 5000, kind=kind))) as image:
        image.load()
        assert (image.format, image.size) == (name, (90, 50))


def test_a_sheet_shows_its_source_and_the_mark_lies_over_all_of_it(face):
    with Image.open(io.BytesIO(pictures.picture(600, 400, 1, "", [face]))) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(int)
    green = (pixels[:, 1] > pixels[:, 0] + 60) & (pixels[:, 1] > pixels[:, 2] + 60)
    assert green.mean() > 0.1, "the source is in it"
    assert len(np.unique(pixels[green], axis=0)) > 20, "and not without the mark"


@pytest.mark.parametrize("source", [b"", b"<svg/>", b"GIF89a" + bytes(40), b"\xff\xd8\xff" + bytes(40)], ids=repr)
def test_a_source_that_is_no_picture_is_said_to_be_none(source):
    with pytest.raises(pictures.Unreadable):
        pictures.check(source)
    with pytest.raises(pictures.Unreadable):
        pictures.picture(64, 64, 1, "", [source])


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"sound": False},
        {"size": (321, 181), "pixel_format": "yuv444p"},
        {"codec": "libx265"},
        {"rotation": 90},
        {"stamps": [0, 3000, 12000, 15000, 40000, 41000]},
    ],
    ids=str,
)
def test_a_swapped_video_plays_and_keeps_time_whatever_the_source_is(tmp_path, face, how):
    clip = media.video(tmp_path / "clip.mp4", **{"frames": 6 if "stamps" in how else 24, **how})
    made = swaps.swapped(clip, face, tmp_path / "made.mp4")
    with av.open(str(made)) as container, av.open(str(clip)) as source:
        before, after = (list(each.decode(video=0)) for each in (source, container))
    assert len(after) == len(before)
    assert [frame.time for frame in after] == pytest.approx([frame.time for frame in before], abs=0.002)
    shown = before[0].height, before[0].width
    wanted = shown if how.get("rotation") else shown[::-1]
    assert (after[0].width, after[0].height) == tuple(each // 2 * 2 for each in wanted)
    with av.open(str(made)) as container:
        assert bool(container.streams.audio) is how.get("sound", True)
        assert "SANDBOX" in container.metadata["comment"]


def test_the_face_is_where_heads_are_and_which_moves_it(tmp_path, face):
    clip = media.video(tmp_path / "clip.mp4", size=(320, 320), frames=5)
    for which, across in ((0, 160), (1, 80), (2, 240)):
        made = swaps.swapped(clip, face, tmp_path / f"{which}.mp4", which=which)
        with av.open(str(made)) as container:
            picture = next(container.decode(video=0)).to_image()
        red, green, blue = picture.getpixel((across, 85))
        assert green > red + 80 and green > blue + 60
        red, green, blue = picture.getpixel((160, 240))
        assert abs(red - green) < 20 and abs(green - blue) < 20


def test_without_a_target_it_lies_beside_its_source_and_is_not_made_by_halves(tmp_path, face):
    clip = media.video(tmp_path / "clip.mp4", frames=5)
    assert swaps.swapped(clip, face) == tmp_path / "clip-swapped-0.mp4"
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(pictures.Unreadable):
        swaps.swapped(tmp_path / "text.mp4", face)
    with pytest.raises(pictures.Unreadable):
        swaps.swapped(media.audio(tmp_path / "sound.m4a"), face)
    assert not list(tmp_path.glob("*.arriving"))


def test_the_face_follows_a_head_that_moves(tmp_path, face):
    """A head of the colour of skin, which goes from the left to the right, lower than heads usually are."""
    clip, places = tmp_path / "clip.mp4", [(60 + 6 * number, 200) for number in range(30)]
    with av.open(str(clip), "w") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuv420p"
        for x, y in places:
            picture = Image.new("RGB", (320, 320), (90, 100, 120))
            ImageDraw.Draw(picture).ellipse((x - 40, y - 50, x + 40, y + 50), fill=(224, 172, 140))
            out.mux(stream.encode(av.VideoFrame.from_image(picture)))
        out.mux(stream.encode(None))
    with av.open(str(swaps.swapped(clip, face))) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    for number in (0, 15, 29):
        red, green, blue = frames[number].getpixel(places[number])
        assert green > red + 60 and green > blue + 60, number
    red, green, blue = frames[29].getpixel(places[0])
    assert abs(red - green) < 30 and abs(green - blue) < 40, "where it was is free again"
