"""Which way each picture of a batch is made, and why: decided from containers and headers, in about a millisecond."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from novai_web.engines.ffmpeg.malformed import Malformed
from novai_web.engines.ffmpeg.media import Limits, Media, Way
from novai_web.engines.ffmpeg.planning import Clip, Picture, Plan, Track, Variant, needs_reframing, target_size
from novai_web.engines.ffmpeg.settings import RenderSettings
from novai_web.engines.ffmpeg.source import Cut, Source
from novai_web.engines.ffmpeg.style import TEXT_LENGTH_MAX
from novai_web.errors import UnusableMedia

COPYABLE = ("h264", "hevc")  # what every player of MP4 can be expected to have, if it could play the source
CONTAINERS = ("mp4", "mov")  # whose indexes we read; what lies in another is put into an MP4 first
TICK_SECONDS = 0.001
BYTES_PER_PIXEL = 1.5  # 4:2:0, eight bits

Found = Mapping[Path, Media | UnusableMedia]
Pairs = list[tuple[Variant, Track]]


def make_plan(batch: Sequence[Variant], settings: RenderSettings, found: Found, limits: Limits | None = None) -> Plan:
    """`found` says what each video and audio of the batch is, or why it cannot be used."""
    media = {path: what for path, what in found.items() if isinstance(what, Media)}
    refused: dict[int, str] = {}
    clips: dict[Path, dict[str | None, Pairs]] = {}
    for variant in batch:
        if (reason := _reason_to_refuse(variant, settings, found)) is not None:
            refused[variant.n] = reason
            continue
        hook = (variant.hook or "").strip() or None
        pairs = clips.setdefault(variant.video, {}).setdefault(hook, [])
        pairs.append((variant, _track(variant, settings, media)))
    made = (_Clip(video, settings, media[video], limits or Limits()).plan(hooks) for video, hooks in clips.items())
    return Plan(settings, media, tuple(made), refused)


@dataclass(frozen=True)
class _Facts:
    """What a clip's container says. Reasons read after "because"; None is none."""

    against_exact: str | None = None
    against_copy: str | None = None
    remux: bool = False
    cut: Cut | None = None


class _Clip:
    """One video, looked at once for all its pictures."""

    def __init__(self, video: Path, settings: RenderSettings, media: Media, limits: Limits) -> None:
        self.video, self.settings, self.media, self.limits = video, settings, media, limits
        self.shown = media.width or 2, media.height or 2
        self.size = target_size(*self.shown, settings.frame)
        self.is_reframed = needs_reframing(*self.shown, settings.frame)
        self.facts = _Facts() if self.is_reframed else _examine(video, media, settings.window)

    def plan(self, hooks: Mapping[str | None, Pairs]) -> Clip:
        pictures = tuple(Picture(hook, *self._way(hook), tuple(pairs)) for hook, pairs in hooks.items())
        ways = {picture.way for picture in pictures}
        return Clip(
            video=self.video,
            size=self.size,
            remux=self.facts.remux and not ways.isdisjoint({"copy", "exact"}),
            cut=self.facts.cut if "exact" in ways else None,
            held=self._held_bytes() <= self.limits.frame_bytes_max,
            pictures=pictures,
        )

    def _way(self, hook: str | None) -> tuple[Way, str]:
        if self.is_reframed:
            return self._encoded(f"it is fitted to {self.settings.frame}")
        if hook is None:
            reason = self.facts.against_copy
            return ("copy", "nothing in the picture changes") if reason is None else self._encoded(reason)
        if self.settings.method != "exact":
            return self._encoded("this method was chosen")
        if self.facts.against_exact is not None:
            return self._encoded(self.facts.against_exact)
        return "exact", "only the pictures around the hook change"

    def _encoded(self, why: str) -> tuple[Way, str]:
        return ("naive", "this method was chosen") if self.settings.method == "naive" else ("normalise", why)

    def _held_bytes(self) -> float:
        """Of the decoded frames under the hook; an estimate where the clip's own times are not known yet."""
        width, height = self.size
        if self.facts.cut is not None:
            return self.facts.cut.hook * width * height * BYTES_PER_PIXEL
        start, end = self.settings.window
        seconds = min(end, self.media.duration_seconds or 0) - start
        return max(0.0, seconds) * (self.media.frame_rate or 30) * width * height * BYTES_PER_PIXEL


def _examine(video: Path, media: Media, window: tuple[float, float]) -> _Facts:
    codec = media.codec or "unknown"
    if codec not in COPYABLE:
        return _Facts(f"it is {codec.upper()}", f"{codec.upper()} is not widely played in MP4")
    against_exact = None if codec == "h264" else f"it is {codec.upper()}"
    if media.container not in CONTAINERS:
        return _Facts(against_exact, remux=True)
    try:
        with Source(video) as source:
            return _facts_of(source, window)
    except (Malformed, OSError):  # fragmented, or an index that we do not read and libav may
        return _Facts(against_exact, remux=True)


def _facts_of(source: Source, window: tuple[float, float]) -> _Facts:
    if source.reason is not None:
        return _Facts(source.reason, source.copyable)
    cut = source.cut(*window)
    reason = reason_against(cut)
    return _Facts(reason, source.copyable, cut=None if reason else cut)


def reason_against(cut: Cut) -> str | None:
    """Why a cut is of no use, although it could be made: as a clause that reads after "because"."""
    if cut.copied:
        return None
    # Then all of it is encoded in any case: with keyframes of its own, and the source's parameters are no bound.
    return "it has no keyframe to copy from" if cut.bridge_before + cut.bridge_after else "the hook is on all of it"


def _reason_to_refuse(variant: Variant, settings: RenderSettings, found: Found) -> str | None:
    video = found[variant.video]
    if isinstance(video, UnusableMedia):
        return f"Its video cannot be used. {video}"
    if video.kind != "video":
        return "Its video has no moving picture. Choose a video."
    audio = found[variant.audio] if variant.audio and settings.audio_mode != "keep" else None
    if isinstance(audio, UnusableMedia):
        return f"Its audio cannot be used. {audio}"
    if audio is not None and not audio.has_audio:
        return "Its audio has no sound. Choose another."
    if len((variant.hook or "").strip()) > TEXT_LENGTH_MAX:
        return f"Its hook is longer than {TEXT_LENGTH_MAX} characters. Shorten it."
    end = video.duration_seconds or 0
    if (variant.hook or "").strip() and settings.hook_start_seconds > end - TICK_SECONDS:
        return (
            f"The hook would appear at {settings.hook_start_seconds:g} s, but the video ends at {end:.1f} s. "
            "Let it appear earlier."
        )
    return None


def _track(variant: Variant, settings: RenderSettings, media: Mapping[Path, Media]) -> Track:
    video = media[variant.video]
    if variant.audio is not None and settings.audio_mode != "keep":
        mixed = settings.audio_mode == "mix" and video.has_audio
        why = (
            "mixed under the original"
            if mixed
            else "it replaces the original"
            if video.has_audio
            else "there is no original"
        )
        return Track("encode", why, variant.audio, with_original=mixed)
    if not video.has_audio:
        return Track("none", "the video is silent and no audio was chosen")
    if video.audio_codec == "aac":
        return Track("copy", "the original sound is kept", with_original=True)
    return Track(
        "encode", f"the original sound is kept, but MP4 wants AAC, not {video.audio_codec}", with_original=True
    )
