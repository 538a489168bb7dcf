"""Rendered variants, read back frame by frame."""

import hashlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import media as make
import numpy as np
import pytest

from novai_web.engines import ffmpeg
from novai_web.engines.ffmpeg import Checked, Limits, RenderSettings, Variant
from novai_web.engines.ffmpeg.inside.audio import loudness

LIMITS = Limits()
HOOK = RenderSettings(hook_start_seconds=0.5, hook_duration_seconds=0.7, hook_position="center", hook_size=12)


class Rendered(NamedTuple):
    files: dict[int, Path]
    checked: dict[int, Checked]
    failed: dict[int, str]
    progress: list[float]


class Frame(NamedTuple):
    pts: Fraction
    luma: float  # of a corner, where no hook is
    marked: int  # points that are much brighter or darker than that


def render(
    folder: Path, cells: Sequence[tuple[Path, Path | None, str | None]], settings: RenderSettings = HOOK
) -> Rendered:
    done = Rendered({}, {}, {}, [])
    batch = [Variant(n, *cell, name=str(n)) for n, cell in enumerate(cells)]

    def on_done(n: int, path: Path, checked: Checked) -> None:
        assert {name: Path(face).stat().st_size > 0 for name, face in checked.faces.items()} == {
            "poster": True,
            "thumb": True,
        }
        done.files[n], done.checked[n] = path, checked

    plan = ffmpeg.plan(batch, settings, LIMITS)
    ffmpeg.render(plan, folder / "out", LIMITS, done.progress.append, on_done, done.failed.__setitem__)
    return done


def frames(path: Path) -> list[Frame]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        found = []
        for frame in container.decode(stream):
            luma = np.frombuffer(memoryview(frame.planes[0]), np.uint8).reshape(-1, frame.planes[0].line_size)
            luma = luma[: frame.height, : frame.width]
            corner = float(luma[4:12, 4:12].mean())
            found.append(Frame(frame.pts * frame.time_base, corner, int((np.abs(luma - corner) > 40).sum())))
        return found


def sound(path: Path) -> np.ndarray:
    """The left channel at 48 kHz."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=make.RATE)
        pieces = [piece.to_ndarray() for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
        return np.concatenate(pieces, axis=1)[0]


def packets(path: Path, kind: str = "video") -> list[tuple[bytes, Fraction, Fraction]]:
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return [
            (hashlib.md5(bytes(packet)).digest(), packet.pts * packet.time_base, (packet.dts or 0) * packet.time_base)
            for packet in container.demux(stream)
            if packet.size
        ]


SOURCES: dict[str, Callable[[Path], Path]] = {
    "b_frames.mp4": make.b_frames,
    "hevc.mp4": make.hevc,
    "vp9.webm": make.vp9,
    "rotated.mp4": make.rotated,
    "variable.mp4": make.variable_rate,
    "silent.mp4": make.silent,
    "b_frames.mkv": make.b_frames,
    "narrow.mp4": lambda path: make.video(path, aspect=Fraction(4, 3)),
    "odd.mp4": lambda path: make.video(path, size=(181, 321), pixel_format="yuv444p"),
    "ten_bit.mp4": lambda path: make.hevc(path, pixel_format="yuv420p10le"),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sources")
    return {name: maker(folder / name) for name, maker in SOURCES.items()}


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make.audio(tmp_path_factory.mktemp("audio") / "song.mp3", seconds=5)


@pytest.fixture(scope="module")
def hooked(sources: dict[str, Path], song: Path, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """Every source with a hook and a song; one render for all the tests that look at it."""
    return render(tmp_path_factory.mktemp("hooked"), [(path, song, "HOOK") for path in sources.values()])


@pytest.mark.parametrize("name", SOURCES)
def test_a_hook_is_there_in_its_window_and_gone_afterwards(
    hooked: Rendered, sources: dict[str, Path], name: str
) -> None:
    number = list(SOURCES).index(name)
    for frame in frames(hooked.files[number]):
        inside = Fraction(1, 2) <= frame.pts + Fraction(1, 1000) and frame.pts < Fraction(12, 10) - Fraction(1, 1000)
        assert (frame.marked > 300) == inside, float(frame.pts)
        assert inside or frame.marked < 20, float(frame.pts)


@pytest.mark.parametrize("name", SOURCES)
def test_every_frame_is_there_at_its_own_time_with_its_own_brightness(
    hooked: Rendered, sources: dict[str, Path], name: str
) -> None:
    number = list(SOURCES).index(name)
    before, after = frames(sources[name]), frames(hooked.files[number])
    assert len(before) == len(after) == hooked.checked[number].frames == 60
    assert [frame.pts - before[0].pts for frame in before] == [frame.pts for frame in after]
    expected = [make.ground(index) for index in range(60)]
    assert max(abs(frame.luma - luma) for frame, luma in zip(after, expected, strict=True)) < 3


@pytest.mark.parametrize("name", SOURCES)
def test_encodes_are_upright_high_profile_h264_with_aac_and_begin_with_the_index(hooked: Rendered, name: str) -> None:
    path = hooked.files[list(SOURCES).index(name)]
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        size = (240, 320) if name == "narrow.mp4" else (180, 320)
        assert (video.codec_context.name, video.codec_context.profile) == ("h264", "High")
        assert (video.codec_context.width, video.codec_context.height, video.codec_context.pix_fmt) == (
            *size,
            "yuv420p",
        )
        assert (audio.codec_context.name, audio.codec_context.sample_rate) == ("aac", 48_000)
        assert video.sample_aspect_ratio in (None, 1)
        assert next(container.decode(video)).rotation == 0
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_nothing_failed_and_progress_never_went_back(hooked: Rendered) -> None:
    assert hooked.failed == {}
    assert hooked.progress == sorted(hooked.progress)
    assert hooked.progress[-1] == 1
    assert max(hooked.progress[:-1]) <= 1


def test_what_is_reported_is_what_is_on_disk(hooked: Rendered) -> None:
    for n, path in hooked.files.items():
        checked = hooked.checked[n]
        assert checked.size_bytes == path.stat().st_size
        assert checked.media.duration_seconds == pytest.approx(2, abs=0.25)
        assert checked.peak_dbfs is not None
        assert checked.peak_dbfs > -30
    assert {path.name for path in next(iter(hooked.files.values())).parent.iterdir()} == {
        path.name for path in hooked.files.values()
    }


def test_without_a_hook_the_packets_of_the_picture_are_the_source_s_own(
    sources: dict[str, Path], song: Path, tmp_path: Path
) -> None:
    names = ["b_frames.mp4", "hevc.mp4", "rotated.mp4", "variable.mp4", "b_frames.mkv", "narrow.mp4", "odd.mp4"]
    done = render(tmp_path, [(sources[name], song, None) for name in names])
    assert done.failed == {}
    for number, name in enumerate(names):
        source, copied = packets(sources[name]), packets(done.files[number])
        assert [digest for digest, _, _ in copied] == [digest for digest, _, _ in source]
        start = min(pts for _, pts, _ in source)
        assert [float(pts) for _, pts, _ in copied] == pytest.approx(
            [float(pts - start) for _, pts, _ in source], abs=1e-3
        )
        found = done.checked[number].media
        original = ffmpeg.probe(sources[name], LIMITS)
        assert (found.width, found.height, found.rotation) == (original.width, original.height, original.rotation)


def test_without_a_hook_or_an_audio_the_sound_is_copied_too(sources: dict[str, Path], tmp_path: Path) -> None:
    source = sources["b_frames.mp4"]
    done = render(tmp_path, [(source, None, None)])
    assert [packet[0] for packet in packets(done.files[0], "audio")] == [
        packet[0] for packet in packets(source, "audio")
    ]
    assert _lag(sound(done.files[0]), sound(source)) == 0


def test_a_video_with_the_same_hook_is_encoded_once_for_all_its_audios(
    sources: dict[str, Path], song: Path, tmp_path: Path
) -> None:
    other = make.audio(tmp_path / "other.wav", frequency=330)
    source = sources["b_frames.mp4"]
    done = render(tmp_path, [(source, song, "Hi"), (source, other, "Hi"), (source, None, "Hi")])
    first, second, third = (packets(done.files[n]) for n in range(3))
    assert first == second == third
    assert len({hashlib.sha256(done.files[n].read_bytes()).digest() for n in range(3)}) == 3


def test_a_clip_cut_by_an_edit_list_keeps_its_cut(sources: dict[str, Path], tmp_path: Path) -> None:
    """As a phone trims: the frames before the cut are in the file, but not shown."""
    trimmed = _trimmed(sources["b_frames.mp4"], tmp_path / "trimmed.mp4", Fraction(5, 4))
    shown = frames(trimmed)
    assert 0 < len(shown) < 60
    done = render(tmp_path, [(trimmed, None, None), (trimmed, None, "Hi")], RenderSettings(hook_duration_seconds=0.2))
    assert done.failed == {}
    for n in (0, 1):
        after = frames(done.files[n])
        assert [round(frame.luma) for frame in after] == pytest.approx([round(frame.luma) for frame in shown], abs=2)


@pytest.mark.parametrize("fill", ["crop", "blur"])
@pytest.mark.parametrize(("frame", "size"), [("9:16", (180, 320)), ("1:1", (180, 180)), ("16:9", (320, 180))])
def test_every_shape_and_fill(
    sources: dict[str, Path], tmp_path: Path, fill: str, frame: str, size: tuple[int, int]
) -> None:
    cells: list[tuple[Path, Path | None, str | None]] = [
        (sources["narrow.mp4"], None, None),
        (sources["rotated.mp4"], None, "Hi"),
    ]
    done = render(tmp_path, cells, RenderSettings(frame=frame, frame_fill=fill))  # type: ignore[arg-type]
    assert done.failed == {}
    assert (done.checked[1].media.width, done.checked[1].media.height) == size
    assert all(abs(shown.luma - make.ground(index)) < 4 for index, shown in enumerate(frames(done.files[1])))


def test_full_range_and_bt601_stay_what_they_are(tmp_path: Path) -> None:
    colours = {"color_range": 2, "colorspace": 6, "color_primaries": 6, "color_trc": 6}
    source = make.video(tmp_path / "full.mp4", colours=colours, pixel_format="yuvj420p")
    done = render(tmp_path, [(source, None, "HOOK")], HOOK.model_copy(update={"hook_outline_width": 0}))
    with av.open(str(done.files[0])) as container:
        decoded = list(container.decode(video=0))
    assert {(frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc) for frame in decoded} == {
        (2, 6, 6, 6)
    }
    luma = np.frombuffer(memoryview(decoded[20].planes[0]), np.uint8)
    assert np.median(luma[luma > 200]) > 250  # white is 255 here
    assert frames(done.files[0])[0].luma == pytest.approx(frames(source)[0].luma, abs=2)


def test_white_in_limited_range_is_235(sources: dict[str, Path], tmp_path: Path) -> None:
    done = render(
        tmp_path, [(sources["b_frames.mp4"], None, "HOOK")], HOOK.model_copy(update={"hook_outline_width": 0})
    )
    with av.open(str(done.files[0])) as container:
        frame = list(container.decode(video=0))[20]
        luma = np.frombuffer(memoryview(frame.planes[0]), np.uint8).reshape(-1, frame.planes[0].line_size)[:, :180]
    bright = luma[luma > 200]
    assert len(bright) > 300
    assert 230 <= np.median(bright) <= 238


def test_high_dynamic_range_becomes_standard(tmp_path: Path) -> None:
    colours = {"color_range": 1, "colorspace": 9, "color_primaries": 9, "color_trc": 18}
    source = make.hevc(tmp_path / "hlg.mp4", pixel_format="yuv420p10le", colours=colours, frames=24)
    assert ffmpeg.probe(source, LIMITS).high_dynamic_range
    done = render(tmp_path, [(source, None, "HOOK"), (source, None, None)])
    made = done.checked[0].media
    assert (made.high_dynamic_range, made.pixel_format) == (False, "yuv420p")
    assert done.checked[1].media.high_dynamic_range, "a copy keeps what it was"


def test_the_chosen_audio_replaces_the_original_and_is_as_long_as_the_video(hooked: Rendered) -> None:
    heard = sound(hooked.files[0])
    assert abs(len(heard) - 2 * make.RATE) < 1024  # the end of the last AAC frame is padding
    assert _strength(heard, 220) > 20 * _strength(heard, 440)


def test_a_mixed_audio_lies_under_the_original_at_its_level(
    sources: dict[str, Path], song: Path, tmp_path: Path
) -> None:
    settings = RenderSettings(audio_mode="mix", audio_level_db=-12, audio_fade_seconds=0)
    heard = sound(render(tmp_path, [(sources["b_frames.mp4"], song, None)], settings).files[0])
    ratio = _strength(heard[4800:-4800], 220) / _strength(heard[4800:-4800], 440)
    assert 20 * np.log10(ratio) == pytest.approx(-12, abs=1.5)


def test_keep_leaves_the_original_alone(sources: dict[str, Path], song: Path, tmp_path: Path) -> None:
    done = render(tmp_path, [(sources["b_frames.mp4"], song, "Hi")], RenderSettings(audio_mode="keep"))
    assert packets(done.files[0], "audio")[0][0] == packets(sources["b_frames.mp4"], "audio")[0][0]


def test_a_short_audio_is_repeated_or_followed_by_silence(sources: dict[str, Path], tmp_path: Path) -> None:
    short = make.audio(tmp_path / "short.wav", seconds=0.5)
    cell: tuple[Path, Path | None, str | None] = (sources["silent.mp4"], short, None)
    looped = sound(render(tmp_path / "a", [cell]).files[0])
    once = sound(render(tmp_path / "b", [cell], RenderSettings(audio_loop=False)).files[0])
    assert abs(len(looped) - 2 * make.RATE) < 1024
    assert len(once) == len(looped)
    assert np.abs(looped[-40_000:-30_000]).max() > 0.05
    assert np.abs(once[:20_000]).max() > 0.05
    assert np.abs(once[30_000:]).max() < 0.001


def test_the_end_fades_out(hooked: Rendered) -> None:
    heard = np.abs(sound(hooked.files[0]))
    assert heard[-480:].max() < 0.05 * heard[40_000:60_000].max()


@pytest.mark.parametrize(("level", "lufs"), [(0.05, -14), (0.9, -14), (0.003, -26.5)])
def test_loudness_is_minus_fourteen_unless_that_would_only_raise_noise(
    tmp_path: Path, level: float, lufs: float
) -> None:
    video = make.silent(tmp_path / "long.mp4", frames=150)
    tune = make.audio(tmp_path / "tune.wav", seconds=6, frequency=1000, level=level)
    heard = sound(render(tmp_path, [(video, tune, None)], RenderSettings(audio_fade_seconds=0)).files[0])
    measured = loudness(iter([np.stack([heard, heard]).astype(np.float32)]))
    assert measured == pytest.approx(lufs, abs=1)
    assert np.abs(heard).max() <= 1


def test_a_silent_audio_is_delivered_as_silence(sources: dict[str, Path], tmp_path: Path) -> None:
    quiet = make.audio(tmp_path / "quiet.wav", level=0)
    done = render(tmp_path, [(sources["b_frames.mp4"], quiet, None)])
    assert done.failed == {}
    assert np.abs(sound(done.files[0])).max() < 0.001


def test_the_sound_begins_with_the_picture(tmp_path: Path) -> None:
    """A click at half a second is still at half a second after encoding, to the sample or nearly so."""
    video = make.silent(tmp_path / "v.mp4")
    click = tmp_path / "click.wav"
    with av.open(str(click), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=make.RATE, layout="mono")
        samples = np.zeros((1, 2 * make.RATE), np.int16)
        samples[0, make.RATE // 2 : make.RATE // 2 + 40] = 20_000
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = make.RATE
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    heard = sound(render(tmp_path, [(video, click, "Hi")]).files[0])
    assert abs(int(np.abs(heard).argmax()) - make.RATE // 2 - 20) < 100


def test_a_callback_that_raises_ends_the_render_and_leaves_nothing_half_made(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    class Stop(BaseException):
        pass

    def stop(share: float) -> None:
        if share > 0:
            raise Stop

    batch = [Variant(n, sources["b_frames.mp4"], None, f"Hook {n}", "") for n in range(6)]
    failed: dict[int, str] = {}
    done: dict[int, Path] = {}
    with pytest.raises(Stop):
        ffmpeg.render(
            ffmpeg.plan(batch, HOOK),
            tmp_path / "out",
            LIMITS,
            stop,
            lambda n, path, _: done.update({n: path}),
            failed.__setitem__,
        )
    assert failed == {}
    assert set((tmp_path / "out").iterdir()) == set(done.values())


def _lag(one: np.ndarray, other: np.ndarray) -> int:
    size = min(len(one), len(other), 48_000)
    product = np.fft.irfft(np.fft.rfft(one[:size], 2 * size) * np.conj(np.fft.rfft(other[:size], 2 * size)))
    lag = int(product.argmax())
    return lag if lag <= size else lag - 2 * size


def _strength(samples: np.ndarray, frequency: int) -> float:
    moments = np.arange(len(samples)) / make.RATE
    return float(abs(np.mean(samples * np.exp(-2j * np.pi * frequency * moments))))


def _trimmed(source: Path, target: Path, start: Fraction) -> Path:
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        stream = before.streams.video[0]
        copy = after.add_stream_from_template(stream)
        shift = int(start / stream.time_base)
        packets = [packet for packet in before.demux(stream) if packet.size]
        key = max(index for index, packet in enumerate(packets) if packet.is_keyframe and packet.pts <= shift)
        for packet in packets[key:]:
            packet.pts -= shift
            packet.dts -= shift
            packet.stream = copy
            after.mux(packet)
    return target
