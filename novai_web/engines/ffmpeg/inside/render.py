"""Carrying out a plan: segment by segment, each variant checked and told of as soon as it stands."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from errno import EDQUOT, ENOSPC
from fractions import Fraction
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import av

from novai_web.engines.ffmpeg.inside import audio, video
from novai_web.engines.ffmpeg.inside.check import Checker, CheckFailed, Expected, shown_frames
from novai_web.engines.ffmpeg.inside.mux import mux
from novai_web.engines.ffmpeg.inside.video import Encoded
from novai_web.engines.ffmpeg.media import Limits
from novai_web.engines.ffmpeg.planning import Plan, Segment, Track, Variant, target_size
from novai_web.errors import UnusableMedia

MUX_SHARE = 0.05  # of a video's encoding, what one variant costs besides

Say = Callable[..., None]


def answer(request: dict[str, Any], limits: Limits, say: Say) -> None:
    """Says started [n], progress 0..1, done n with path and checked, failed n with why, full (the disk)."""
    folder = Path(request["folder"])
    with _work_folder(folder) as work:
        _Render(Plan.from_json(request["plan"]), folder, work, limits, say).run()


@contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    work = Path(mkdtemp(prefix=".work-", dir=folder))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _Render:
    def __init__(self, plan: Plan, folder: Path, work: Path, limits: Limits, say: Say) -> None:
        self.plan, self.folder, self.work, self.limits, self.say = plan, folder, work, limits, say
        self.settings = plan.settings
        self.checker = Checker(limits)
        self.sounds: dict[tuple[Any, ...], audio.Made] = {}
        self.done_work = 0.0
        self.all_work = sum(self._work_of(segment) for segment in plan.segments) or 1.0
        self.told = -1.0

    def run(self) -> None:
        for segment in self.plan.segments:
            self.say(started=[variant.n for variant, _ in segment.variants])
            before = self.done_work
            self._segment(segment)
            self._advance(before + self._work_of(segment) - self.done_work)

    def _segment(self, segment: Segment) -> None:
        pending = list(segment.variants)
        if segment.action == "copy":
            pending = self._copy(segment)
        if pending:
            self._encode(segment, pending)

    def _copy(self, segment: Segment) -> list[tuple[Variant, Track]]:
        """Those that did not stand the check when copied; their picture is encoded after all."""
        left: list[tuple[Variant, Track]] = []
        try:
            codec, frames, duration = shown_frames(segment.video, self.limits)
        except (UnusableMedia, av.FFmpegError):
            return list(segment.variants)
        for variant, track in segment.variants:
            try:
                self._deliver(segment, Encoded(segment.video, frames, duration), variant, track, codec)
            except (UnusableMedia, av.FFmpegError):
                left.append((variant, track))
        return left

    def _encode(self, segment: Segment, pending: list[tuple[Variant, Track]]) -> None:
        segment = replace(segment, size=target_size(*segment.size, "source"))
        path = self.work / "picture.mp4"
        try:
            encoded = video.encode(segment, self.settings, self.limits, path, on_frame=lambda: self._advance(1))
        except (UnusableMedia, av.FFmpegError, OSError) as error:
            for variant, _ in pending:
                self._fail(variant, error)
            return
        for variant, track in pending:
            try:
                self._deliver(segment, encoded, variant, track, "h264")
            except (UnusableMedia, av.FFmpegError, OSError) as error:
                self._fail(variant, error)

    def _deliver(self, segment: Segment, encoded: Encoded, variant: Variant, track: Track, codec: str) -> None:
        sound, audible = self._sound(segment.video, encoded, track)
        draft = self.work / "variant.mp4"
        mux(encoded.path, sound, draft, self.limits)
        expected = Expected(
            codec=codec,
            size=segment.size,
            frames=encoded.frames,
            duration=encoded.duration,
            sound_seconds={"none": None, "copy": Fraction(0), "encode": encoded.duration}[track.action],
            audible=audible,
            joints=self._joints(segment, encoded),
        )
        checked = self.checker.check(draft, expected)
        path = self.folder / f"{variant.n:06d}.mp4"
        draft.replace(path)
        self.say(done=variant.n, path=str(path), checked=checked.to_json())
        self._advance(MUX_SHARE * encoded.frames)

    def _joints(self, segment: Segment, encoded: Encoded) -> tuple[float, ...]:
        """Where the picture changes: the hook's first and last moment."""
        if segment.hook is None:
            return ()
        return tuple(moment for moment in self.settings.window if moment < encoded.duration)

    def _sound(self, source: Path, encoded: Encoded, track: Track) -> tuple[Path | None, bool]:
        """The file to take the sound from, and whether it must be heard. Made once for all that sound the same."""
        if track.action == "none":
            return None, False
        if track.action == "copy":
            return source, False
        key = (track.audio, source if track.with_original else None, encoded.duration)
        if key not in self.sounds:
            path = self.work / f"sound-{len(self.sounds)}.m4a"
            self.sounds[key] = audio.make(track, source, encoded.duration, self.settings, self.limits, path)
        made = self.sounds[key]
        return made.path, made.audible

    def _fail(self, variant: Variant, error: Exception) -> None:
        if getattr(error, "errno", None) in (ENOSPC, EDQUOT):
            self.say(full=True)
            raise error
        self.say(failed=variant.n, why=_sentence(error))

    def _work_of(self, segment: Segment) -> float:
        """In frames to encode, or as much work as that."""
        media = self.plan.media[segment.video]
        frames = media.frames or (media.duration_seconds or 0) * (media.frame_rate or 30)
        return frames * ((segment.action == "encode") + MUX_SHARE * len(segment.variants))

    def _advance(self, work: float) -> None:
        self.done_work += work
        share = min(1.0, self.done_work / self.all_work)
        if share - self.told >= 0.002:
            self.told = share
            self.say(progress=share)


def _sentence(error: Exception) -> str:
    if isinstance(error, CheckFailed):
        return f"It did not pass the check after rendering: {error}. It was not kept; try it again."
    if isinstance(error, UnusableMedia):
        return str(error)
    return "It could not be rendered: its video or audio is damaged somewhere. Export that file again."
