"""What a batch takes: the clips, the pictures made of each, the sounds, and who shares them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from novai_web.engines.ffmpeg.media import Media, Way
from novai_web.engines.ffmpeg.settings import Frame, RenderSettings
from novai_web.engines.ffmpeg.source import Cut

ASPECTS = {"9:16": (9, 16), "1:1": (1, 1), "16:9": (16, 9)}
ASPECT_TOLERANCE = 0.01


@dataclass(frozen=True)
class Variant:
    """One wished-for video. `n` is the caller's number for it; `name` is only ever shown, never a path."""

    n: int
    video: Path
    audio: Path | None
    hook: str | None
    name: str

    def to_json(self) -> dict[str, Any]:
        audio = str(self.audio.absolute()) if self.audio else None
        return {**vars(self), "video": str(self.video.absolute()), "audio": audio}

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

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "audio": str(self.audio.absolute()) if self.audio else None}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        return cls(**{**given, "audio": Path(given["audio"]) if given["audio"] else None})


@dataclass(frozen=True)
class Picture:
    """One picture track, and the variants that share it, each with its sound. `why` reads after "because"."""

    hook: str | None
    way: Way
    why: str
    variants: tuple[tuple[Variant, Track], ...]

    def to_json(self) -> dict[str, Any]:
        pairs = [[variant.to_json(), track.to_json()] for variant, track in self.variants]
        return {**vars(self), "variants": pairs}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        pairs = tuple((Variant.from_json(variant), Track.from_json(track)) for variant, track in given["variants"])
        return cls(**{**given, "variants": pairs})


@dataclass(frozen=True)
class Clip:
    """One video of the batch. All its pictures that are encoded are encoded in the same way."""

    video: Path
    size: tuple[int, int]  # upright, of what is encoded; what is copied or exact keeps the source's
    remux: bool  # its packets are put into an MP4 first; only then is it known how it can be cut
    cut: Cut | None  # where an exact picture is cut, if that is known by now
    held: bool  # decoded once, its frames under the hook kept for all hooks; else decoded again for some at a time
    pictures: tuple[Picture, ...]

    def to_json(self) -> dict[str, Any]:
        pictures = [picture.to_json() for picture in self.pictures]
        cut = asdict(self.cut) if self.cut else None
        return {**vars(self), "video": str(self.video.absolute()), "cut": cut, "pictures": pictures}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        return cls(
            Path(given["video"]),
            (given["size"][0], given["size"][1]),
            given["remux"],
            Cut(**given["cut"]) if given["cut"] else None,
            given["held"],
            tuple(Picture.from_json(picture) for picture in given["pictures"]),
        )


@dataclass(frozen=True)
class Plan:
    """What will be done. `refused` are variants that cannot be made, with the sentence that says why."""

    settings: RenderSettings
    media: Mapping[Path, Media]
    clips: tuple[Clip, ...]
    refused: Mapping[int, str]

    @property
    def variants(self) -> list[Variant]:
        return [variant for clip in self.clips for picture in clip.pictures for variant, _ in picture.variants]

    def only(self, numbers: Iterable[int]) -> Self:
        """The same plan for fewer variants; what nobody needs any more is left out."""
        wanted = set(numbers)
        clips = []
        for clip in self.clips:
            pictures = []
            for picture in clip.pictures:
                if kept := tuple(pair for pair in picture.variants if pair[0].n in wanted):
                    pictures.append(replace(picture, variants=kept))
            if pictures:
                clips.append(replace(clip, pictures=tuple(pictures)))
        return replace(self, clips=tuple(clips), refused={})

    def plainly(self, why: str) -> Self:
        """The same variants, each picture encoded whole and by itself. A copy stays one: it decodes nothing."""

        def plain(picture: Picture) -> Picture:
            return picture if picture.way == "copy" else replace(picture, way="naive", why=why)

        clips = (replace(clip, cut=None, pictures=tuple(map(plain, clip.pictures))) for clip in self.clips)
        return replace(self, clips=tuple(clips))

    def to_json(self) -> dict[str, Any]:
        """Paths and settings only; the child decides nothing again, and is told nothing else."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "media": {str(path.absolute()): media.to_json() for path, media in self.media.items()},
            "clips": [clip.to_json() for clip in self.clips],
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        return cls(
            RenderSettings(**given["settings"]),
            {Path(path): Media.from_json(media) for path, media in given["media"].items()},
            tuple(Clip.from_json(clip) for clip in given["clips"]),
            {},
        )


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
