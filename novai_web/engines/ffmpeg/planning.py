"""What a batch takes: which videos are copied and which encoded, what is shared by whom, and why."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from novai_web.engines.ffmpeg.media import Media
from novai_web.engines.ffmpeg.settings import Frame, RenderSettings
from novai_web.errors import UnusableMedia

COPYABLE = ("h264", "hevc")  # what every player of MP4 can be expected to have, if it could play the source
ASPECTS = {"9:16": (9, 16), "1:1": (1, 1), "16:9": (16, 9)}
ASPECT_TOLERANCE = 0.01
TICK_SECONDS = 0.001


@dataclass(frozen=True)
class Variant:
    """One wished-for video. `n` is the caller's number for it; `name` is only ever shown, never a path."""

    n: int
    video: Path
    audio: Path | None
    hook: str | None
    name: str

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "video": str(self.video), "audio": str(self.audio) if self.audio else None}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        audio = Path(given["audio"]) if given["audio"] else None
        return cls(given["n"], Path(given["video"]), audio, given["hook"], given["name"])


@dataclass(frozen=True)
class Track:
    """The sound of some variants: none, the original copied, or AAC made once and shared.

    `audio` is the chosen file, `with_original` says whether the video's own sound is in it as well.
    """

    action: Literal["none", "copy", "encode"]
    why: str
    audio: Path | None = None
    with_original: bool = False


@dataclass(frozen=True)
class Segment:
    """One picture track and the variants that share it, each with its sound."""

    video: Path
    hook: str | None
    action: Literal["copy", "encode"]
    why: str
    size: tuple[int, int]
    variants: tuple[tuple[Variant, Track], ...]


@dataclass(frozen=True)
class Plan:
    """What will be done. `refused` are variants that cannot be made, with the sentence that says why."""

    settings: RenderSettings
    media: Mapping[Path, Media]
    segments: tuple[Segment, ...]
    refused: Mapping[int, str]

    @property
    def variants(self) -> list[Variant]:
        return [variant for segment in self.segments for variant, _ in segment.variants]

    def only(self, numbers: Iterable[int]) -> Self:
        """The same plan for fewer variants; what nobody needs any more is left out."""
        wanted = set(numbers)
        segments = []
        for segment in self.segments:
            if kept := tuple(pair for pair in segment.variants if pair[0].n in wanted):
                segments.append(Segment(**{**vars(segment), "variants": kept}))
        return type(self)(self.settings, self.media, tuple(segments), {})

    def explain(self) -> str:
        """The plan in words, one line for each picture track and each sound."""
        actions = Counter(segment.action for segment in self.segments)
        tracks = Counter(_sharing(segment, track) for segment in self.segments for _, track in segment.variants)
        made = sum(track.action == "encode" for _, track in tracks)
        lines = [
            f"{len(self.variants)} variants: {actions['encode']} video encodes, {actions['copy']} video copies, "
            f"{made} audio encodes; everything else is shared."
        ]
        lines += [_describe(segment) for segment in self.segments]
        for (video, track), users in tracks.items():
            what = (
                track.audio.name
                if track.audio
                else f"the sound of {video.name}"
                if track.action != "none"
                else "no sound"
            )
            lines.append(f"sound  {track.action:6} {what} for {video.name} → {users} variants: {track.why}")
        lines += [f"refuse {n}: {sentence}" for n, sentence in self.refused.items()]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Paths and settings only; the child decides nothing again, and is told nothing else."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "media": {str(path): media.to_json() for path, media in self.media.items()},
            "segments": [
                {
                    **vars(segment),
                    "video": str(segment.video),
                    "variants": [
                        [variant.to_json(), {**vars(track), "audio": str(track.audio) if track.audio else None}]
                        for variant, track in segment.variants
                    ],
                }
                for segment in self.segments
            ],
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        return cls(
            RenderSettings(**given["settings"]),
            {Path(path): Media.from_json(media) for path, media in given["media"].items()},
            tuple(
                Segment(
                    **{
                        **segment,
                        "video": Path(segment["video"]),
                        "size": tuple(segment["size"]),
                        "variants": tuple(
                            (
                                Variant.from_json(variant),
                                Track(**{**track, "audio": Path(track["audio"]) if track["audio"] else None}),
                            )
                            for variant, track in segment["variants"]
                        ),
                    }
                )
                for segment in given["segments"]
            ),
            {},
        )


def make_plan(batch: Sequence[Variant], settings: RenderSettings, found: Mapping[Path, Media | UnusableMedia]) -> Plan:
    """`found` says what each video and audio of the batch is, or why it cannot be used."""
    media = {path: what for path, what in found.items() if isinstance(what, Media)}
    refused: dict[int, str] = {}
    groups: dict[tuple[Path, str | None], list[tuple[Variant, Track]]] = {}
    for variant in batch:
        if (reason := _reason_to_refuse(variant, settings, found)) is not None:
            refused[variant.n] = reason
            continue
        hook = (variant.hook or "").strip() or None
        groups.setdefault((variant.video, hook), []).append((variant, _track(variant, settings, media)))
    segments = tuple(_segment(video, hook, pairs, settings, media[video]) for (video, hook), pairs in groups.items())
    return Plan(settings, media, segments, refused)


def target_size(width: int, height: int, frame: Frame) -> tuple[int, int]:
    """The size of the picture made from one displayed at width × height. The shorter side is kept; both are even."""
    if not needs_reframing(width, height, frame):
        return max(2, width // 2 * 2), max(2, height // 2 * 2)
    wide, high = ASPECTS[frame]
    short = min(width, height)
    return _even(short * wide / min(wide, high)), _even(short * high / min(wide, high))


def needs_reframing(width: int, height: int, frame: Frame) -> bool:
    if frame == "source":
        return False
    wide, high = ASPECTS[frame]
    return abs(width * high / (height * wide) - 1) > ASPECT_TOLERANCE


def _even(length: float) -> int:
    return max(2, round(length / 2) * 2)


def _reason_to_refuse(
    variant: Variant, settings: RenderSettings, found: Mapping[Path, Media | UnusableMedia]
) -> str | None:
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
    end = video.duration_seconds or 0
    if (variant.hook or "").strip() and settings.hook_start_seconds > end - TICK_SECONDS:
        return (
            f"The hook would appear at {settings.hook_start_seconds:g} s, but the video ends at {end:.1f} s. "
            "Let it appear earlier."
        )
    return None


def _segment(
    video: Path,
    hook: str | None,
    pairs: list[tuple[Variant, Track]],
    settings: RenderSettings,
    media: Media,
) -> Segment:
    width, height = media.width or 2, media.height or 2
    reasons = []
    if hook:
        reasons.append("a hook is drawn on it")
    if needs_reframing(width, height, settings.frame):
        reasons.append(f"it is fitted to {settings.frame}")
    if media.codec not in COPYABLE:
        reasons.append(f"{(media.codec or '').upper()} is not widely played in MP4")
    size = target_size(width, height, settings.frame)
    if reasons:
        return Segment(video, hook, "encode", " and ".join(reasons), size, tuple(pairs))
    return Segment(video, hook, "copy", "nothing in the picture changes", (width, height), tuple(pairs))


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


def _sharing(segment: Segment, track: Track) -> tuple[Path, Track]:
    return segment.video, track


def _describe(segment: Segment) -> str:
    hook = f" + “{' '.join(segment.hook.split())[:60]}”" if segment.hook else ""
    width, height = segment.size
    numbers = len(segment.variants)
    return f"video  {segment.action:6} {segment.video.name}{hook} → {numbers} variants, {width}×{height}: {segment.why}"
