"""What a file is, from its bytes."""

import subprocess
import sys
from pathlib import Path

import av
import media as make
import pytest

from novai_web.engines import ffmpeg
from novai_web.engines.ffmpeg import Limits, Media
from novai_web.errors import UnusableMedia

LIMITS = Limits()


def test_the_engine_is_imported_without_any_heavy_library() -> None:
    code = (
        "import sys, novai_web.engines.ffmpeg; print({'av', 'PIL', 'numpy', 'uharfbuzz', 'freetype'} & {*sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_a_whole_installation_misses_nothing() -> None:
    assert ffmpeg.what_is_missing() == []


@pytest.mark.parametrize(
    ("name", "maker", "container", "codec"),
    [
        ("b.mp4", make.b_frames, "mp4", "h264"),
        ("b.mov", make.b_frames, "mov", "h264"),
        ("b.mkv", make.b_frames, "mkv", "h264"),
        ("h.mp4", make.hevc, "mp4", "hevc"),
        ("v.webm", make.vp9, "webm", "vp9"),
    ],
)
def test_videos_are_known_by_their_bytes(tmp_path: Path, name: str, maker, container: str, codec: str) -> None:  # type: ignore[no-untyped-def]
    path = maker(tmp_path / name)
    path = path.rename(tmp_path / "holiday.txt")
    found = ffmpeg.probe(path, LIMITS)
    assert (found.kind, found.container, found.codec) == ("video", container, codec)
    assert (found.width, found.height, found.extension) == (180, 320, f".{container}")
    assert found.duration_seconds == pytest.approx(2, abs=0.03)
    assert found.frame_rate == pytest.approx(30, abs=0.1)
    assert found.has_audio
    assert not found.variable_frame_rate
    assert found.frames in (60, None)


def test_av1_is_accepted(tmp_path: Path) -> None:
    assert ffmpeg.probe(make.video(tmp_path / "a.mp4", codec="libsvtav1", frames=10), LIMITS).codec == "av1"


def test_a_rotated_phone_clip_is_as_tall_as_it_is_shown(tmp_path: Path) -> None:
    found = ffmpeg.probe(make.rotated(tmp_path / "phone.mp4"), LIMITS)
    assert (found.width, found.height, found.rotation, found.upright) == (180, 320, 90, False)


def test_narrow_pixels_are_counted_as_they_are_shown(tmp_path: Path) -> None:
    found = ffmpeg.probe(make.video(tmp_path / "sar.mp4", aspect=make.Fraction(4, 3)), LIMITS)
    assert (found.width, found.height, found.upright) == (240, 320, False)


def test_a_variable_frame_rate_is_noticed(tmp_path: Path) -> None:
    found = ffmpeg.probe(make.variable_rate(tmp_path / "vfr.mp4"), LIMITS)
    assert found.variable_frame_rate
    assert found.frames == 60


def test_a_clip_without_sound_says_so(tmp_path: Path) -> None:
    found = ffmpeg.probe(make.silent(tmp_path / "silent.mp4"), LIMITS)
    assert not found.has_audio
    assert found.audio_codec is None


@pytest.mark.parametrize("name", ["a.mp3", "a.wav", "a.m4a", "a.flac", "a.ogg", "a.aac"])
def test_audios_are_known_by_their_bytes(tmp_path: Path, name: str) -> None:
    found = ffmpeg.probe(make.audio(tmp_path / name, seconds=3).rename(tmp_path / "x.mp4"), LIMITS)
    assert (found.kind, found.container) == ("audio", name[2:])
    assert found.duration_seconds == pytest.approx(3, abs=0.06)
    assert (found.sample_rate, found.channels, found.has_audio) == (48_000, 2, True)


def test_a_song_with_a_cover_picture_is_an_audio(tmp_path: Path) -> None:
    song = make.audio(tmp_path / "plain.mp3", seconds=1)
    cover = make.image(tmp_path / "cover.png").read_bytes()
    frame = b"\0image/png\0\3\0" + cover
    body = b"APIC" + len(frame).to_bytes(4, "big") + b"\0\0" + frame
    size = bytes(len(body) >> shift & 127 for shift in (21, 14, 7, 0))
    (tmp_path / "song.mp3").write_bytes(b"ID3\x03\0\0" + size + body + song.read_bytes())
    assert ffmpeg.probe(tmp_path / "song.mp3", LIMITS).kind == "audio"


@pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.webp"])
def test_pictures_are_known_by_their_bytes(tmp_path: Path, name: str) -> None:
    found = ffmpeg.probe(make.image(tmp_path / name).rename(tmp_path / "p.mp4"), LIMITS)
    assert (found.kind, found.extension, found.width, found.height) == ("image", name[1:], 64, 48)


def test_a_picture_on_its_side_is_measured_upright(tmp_path: Path) -> None:
    found = ffmpeg.probe(make.image(tmp_path / "p.jpg", orientation=6), LIMITS)
    assert (found.width, found.height) == (48, 64)


def test_what_is_found_survives_json(tmp_path: Path) -> None:
    found = ffmpeg.probe(make.b_frames(tmp_path / "b.mp4"), LIMITS)
    assert Media.from_json({**found.to_json(), "unknown": 1}) == found


def test_many_files_are_read_in_one_go_and_only_the_bad_one_is_refused(tmp_path: Path) -> None:
    good, bad = make.audio(tmp_path / "a.wav", seconds=1), tmp_path / "bad.mp4"
    bad.write_bytes(b"\0" * 100)
    first, second, third = ffmpeg.probe_all([good, bad, good], LIMITS)
    assert isinstance(first, Media)
    assert isinstance(second, UnusableMedia)
    assert first == third


def test_previews_of_a_video(tmp_path: Path) -> None:
    path = make.rotated(tmp_path / "phone.mp4", frames=150)
    made = ffmpeg.previews(path, ffmpeg.probe(path, LIMITS), tmp_path, LIMITS)
    assert set(made) == {"poster", "thumb", "clip"}
    poster, clip = ffmpeg.probe(made["poster"], LIMITS), ffmpeg.probe(made["clip"], LIMITS)
    assert (poster.width, poster.height) == (180, 320)
    assert (clip.width, clip.height, clip.has_audio) == (180, 320, False)
    assert clip.duration_seconds == pytest.approx(3, abs=0.05)
    with av.open(str(made["clip"])) as opened:
        assert sum(packet.is_keyframe for packet in opened.demux(video=0)) >= 6


def test_previews_of_a_picture_are_upright_and_small(tmp_path: Path) -> None:
    path = make.image(tmp_path / "p.jpg", (1600, 800), orientation=6)
    made = ffmpeg.previews(path, ffmpeg.probe(path, LIMITS), tmp_path, LIMITS)
    sizes = {name: (found.width, found.height) for name, found in _probed(made).items()}
    assert sizes == {"poster": (320, 640), "thumb": (160, 320)}


def test_the_preview_of_an_audio_is_its_waveform(tmp_path: Path) -> None:
    path = make.audio(tmp_path / "a.mp3")
    made = ffmpeg.previews(path, ffmpeg.probe(path, LIMITS), tmp_path, LIMITS)
    assert set(_probed(made)) == {"waveform"}


def test_a_preview_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    path = make.b_frames(tmp_path / "b.mp4")
    found = ffmpeg.probe(path, LIMITS)
    (tmp_path / "clip.mp4").mkdir()
    assert set(ffmpeg.previews(path, found, tmp_path, LIMITS)) == {"poster", "thumb"}


def test_the_contact_sheet_shows_each_hook_in_the_frame_it_will_be_in(tmp_path: Path) -> None:
    style = ffmpeg.HookStyle()
    sheet = ffmpeg.contact_sheet(["One", "حكاية", ""], style, 1080, 1920, tmp_path, LIMITS)
    assert [(found.width, found.height) for found in (ffmpeg.probe(path, LIMITS) for path in sheet)] == [(270, 480)] * 3


def _probed(made: dict[str, Path]) -> dict[str, Media]:
    return {name: ffmpeg.probe(path, LIMITS) for name, path in made.items()}
