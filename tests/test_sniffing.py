"""What a file is, is read from its bytes; its name is not asked."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from PIL import Image

from novai_web.errors import UnusableMedia
from novai_web.library.sniffing import ACCEPTED, sniff
from tests import media, things


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm"])
def test_every_accepted_video_is_known(tmp_path: Path, name):
    make = media.vp9 if name == "a.webm" else media.video
    path = make(tmp_path / name, frames=5)
    assert (sniff(path).kind, sniff(path).extension) == ("video", name[2:])


@pytest.mark.parametrize("name", ["a.mp3", "a.wav", "a.m4a", "a.aac", "a.flac", "a.ogg"])
def test_every_accepted_sound_is_known(tmp_path: Path, name):
    path = media.audio(tmp_path / name, seconds=0.3)
    assert (sniff(path).kind, sniff(path).extension) == ("audio", name[2:])


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_every_accepted_picture_is_known(tmp_path: Path, name):
    Image.new("RGB", (8, 8), "red").save(tmp_path / name)
    assert (sniff(tmp_path / name).kind, sniff(tmp_path / name).extension) == ("image", name[2:])


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (things.mp4(), "video"),
        (things.mp4(handler=b"soun"), "audio"),
        (things.mp4(handler=b"soun", brand=b"dash"), "audio"),
        (things.mp4(brand=b"qt  "), "video"),
        (b"\0\0\0\x08wide" + things.mp4()[28:], "video"),
    ],
)
def test_an_mp4_is_what_its_tracks_are(tmp_path: Path, content, kind):
    (tmp_path / "x").write_bytes(content)
    assert sniff(tmp_path / "x").kind == kind


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=200).map(lambda rest: b"\0\0\0\x20ftypisom" + rest)))
@limits(max_examples=400, deadline=None)
def test_no_bytes_are_anything_but_known_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz"
    path.write_bytes(content)
    with suppress(UnusableMedia):
        found = sniff(path)
        assert found.extension in ACCEPTED[found.kind]


def test_boxes_that_point_at_themselves_end(tmp_path: Path):
    """A size of 0 means "to the end", of 1 "see below"; either can be made to lead nowhere."""
    for size in (b"\0\0\0\0", b"\0\0\0\x01", b"\0\0\0\x02", b"\xff\xff\xff\xff"):
        (tmp_path / "x").write_bytes(b"\0\0\0\x14ftypisom\0\0\0\0isom" + (size + b"moov" + b"\0" * 8) * 5000)
        assert sniff(tmp_path / "x").extension == "mp4"
