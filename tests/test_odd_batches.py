"""Batches that are large, brief or full of holes: each variant on its own, and nothing out of place."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import looking
import matrix
import media as make
import numpy as np
import pytest

from novai_web.engines import ffmpeg
from novai_web.engines.ffmpeg import Checked, Limits, RenderSettings, Variant
from novai_web.engines.ffmpeg.inside import render

Cell = tuple[Path, Path | None, str | None]


class Batch:
    """What became of each variant."""

    def __init__(self, folder: Path, cells: Sequence[Cell], limits: Limits | None = None, **settings: object) -> None:
        self.files: dict[int, Path] = {}
        self.checked: dict[int, Checked] = {}
        self.failed: dict[int, str] = {}
        batch = [Variant(n, *cell, name=str(n)) for n, cell in enumerate(cells)]
        plan = ffmpeg.plan(batch, RenderSettings(**settings), limits or Limits())  # type: ignore[arg-type]
        out = folder / "out"
        ffmpeg.render(plan, out, limits or Limits(), lambda _: None, self._done, self.failed.__setitem__)

    def _done(self, n: int, path: Path, checked: Checked) -> None:
        assert n not in self.files
        self.files[n], self.checked[n] = path, checked


def test_hundreds_of_hooks_and_sounds_need_no_hundreds_of_open_files(tmp_path: Path) -> None:
    clip = make.b_frames(tmp_path / "clip.mp4", frames=60)
    songs = [make.audio(tmp_path / f"{n}.wav", seconds=0.3) for n in range(30)]
    cells = [(clip, songs[n % 30], f"Hook {n // 3}") for n in range(90)]
    made = Batch(tmp_path, cells, Limits(open_files_max=48), hook_duration_seconds=0.4)
    assert not made.failed and len(made.files) == 90
    assert {checked.way for checked in made.checked.values()} == {"exact"}


def test_copies_begin_together_however_little_memory_there_is_for_frames(tmp_path: Path) -> None:
    clips = [make.b_frames(tmp_path / f"{n}.mp4") for n in range(4)]
    limits = Limits(frame_bytes_max=1)
    plan = ffmpeg.plan([Variant(n, clip, None, None, str(n)) for n, clip in enumerate(clips)], RenderSettings(), limits)
    (tmp_path / "out").mkdir()
    said: list[str] = []
    render.answer({"plan": plan.to_json(), "folder": str(tmp_path / "out")}, limits, lambda **event: said.extend(event))
    assert said[:4] == ["started"] * 4 and said.count("done") == 4


def test_a_hook_that_falls_between_two_frames_fails_alone(tmp_path: Path) -> None:
    clip = make.vp9(tmp_path / "clip.webm", frames=30)
    made = Batch(
        tmp_path, [(clip, None, None), (clip, None, "Hi")], hook_start_seconds=0.51, hook_duration_seconds=0.005
    )
    assert list(made.files) == [0]
    assert "Show it longer" in made.failed[1]


def test_a_hook_that_no_frame_carries_takes_no_other_clip_with_it(tmp_path: Path) -> None:
    brief, other = make.b_frames(tmp_path / "brief.mp4"), make.b_frames(tmp_path / "other.mp4", rate=250, frames=400)
    given = {"hook_start_seconds": 0.505, "hook_duration_seconds": 0.012}
    made = Batch(tmp_path, [(brief, None, "Hi"), (other, None, "Hi")], **given)
    assert list(made.failed) == [0]
    assert made.checked[1].way == "exact"


def test_a_hook_that_is_too_long_to_draw_fails_alone(tmp_path: Path) -> None:
    clip = make.b_frames(tmp_path / "clip.mp4")
    made = Batch(tmp_path, [(clip, None, "A"), (clip, None, "x" * 1001), (clip, None, "B")], hook_duration_seconds=0.5)
    assert made.failed == {1: "Its hook is longer than 1000 characters. Shorten it."}
    assert {checked.way for checked in made.checked.values()} == {"exact"}


def test_sound_keeps_its_place_after_a_gap(tmp_path: Path) -> None:
    clip = _with_a_gap(tmp_path / "gap.mkv")
    quiet = make.audio(tmp_path / "quiet.wav", seconds=6, level=0.02)
    given = {"hook_duration_seconds": 0.5, "audio_mode": "mix", "audio_loudness_lufs": None}
    made = Batch(tmp_path, [(clip, None, "Hi"), (clip, quiet, "Hi")], **given)
    for path in made.files.values():
        assert looking.clicks(path) == pytest.approx(looking.flashes(looking.frames(path)), abs=1024 / 48_000)


def test_a_very_short_sound_is_repeated_quickly(tmp_path: Path) -> None:
    clip, tick = make.b_frames(tmp_path / "clip.mp4"), make.audio(tmp_path / "tick.wav", seconds=0.0005)
    made = Batch(tmp_path, [(clip, tick, None)], Limits(silence_seconds_max=8), audio_loudness_lufs=None)
    assert not made.failed


def test_a_stray_byte_at_the_end_of_a_song_is_passed_over(tmp_path: Path) -> None:
    clip, song = make.b_frames(tmp_path / "clip.mp4", frames=120), make.audio(tmp_path / "song.mp3", seconds=1.2)
    song.write_bytes(song.read_bytes() + b"\xff")
    made = Batch(tmp_path, [(clip, song, None)])
    assert not made.failed


def test_windows_that_are_too_long_to_be_held_are_made_side_by_side(tmp_path: Path) -> None:
    clip = make.b_frames(tmp_path / "clip.mp4", frames=90)
    hooks = [f"Hook {n}" for n in range(11)]
    made = Batch(tmp_path, [(clip, None, hook) for hook in hooks], Limits(frame_bytes_max=1), hook_duration_seconds=1.6)
    assert not made.failed
    for path in made.files.values():
        shown = looking.frames(path)
        assert len(shown) == 90


def _with_a_gap(path: Path) -> Path:
    """Half a second of its sound was never recorded; clicks and flashes come together all the same."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=30, options={"g": "30", "preset": "ultrafast", "crf": "12"})
        video.codec_context.width, video.codec_context.height, video.codec_context.pix_fmt = 180, 320, "yuv420p"
        video.codec_context.time_base = Fraction(1, 90_000)
        audio = out.add_stream("flac", rate=48_000, layout="stereo")
        for number in range(150):
            frame = matrix.Clip().frame(number)
            frame.pts, frame.time_base = number * 3000, Fraction(1, 90_000)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        wave = matrix.clicking([number / 30 for number in matrix.FLASHES], 5, 48_000)
        for start in range(0, len(wave), 960):
            if 1.0 <= start / 48_000 < 1.5:
                continue
            piece = np.repeat(wave[start : start + 960], 2)[None, :]
            sound = av.AudioFrame.from_ndarray(piece, format="s16", layout="stereo")
            sound.sample_rate, sound.pts, sound.time_base = 48_000, start, Fraction(1, 48_000)
            out.mux(audio.encode(sound))
        out.mux(audio.encode(None))
    return path
