"""What is known about a media file, and the limits under which it is read."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from novai_web.config import Settings

MEGABYTE = 1024**2
GIGABYTE = 1024**3

Kind = Literal["video", "audio", "image"]
POSTER_SIDE, THUMB_SIDE = 640, 320  # the longer side of the pictures by which a file is recognised
LIKE_BITS_MAX = 8  # of the 256 in a fingerprint, in which two pictures differ that show the same
FACES = "faces"  # the folder of the small pictures, beside the finished variants
Way = Literal["copy", "exact", "normalise", "naive"]  # how one picture track is made


class _Json:
    """Frozen dataclasses of plain values, to and from JSON; unknown keys are ignored, so that old rows can be read."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        return cls(**{each.name: given[each.name] for each in fields(cls) if each.name in given})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Media(_Json):
    """One file as its bytes say. Width and height are as displayed: upright, with square pixels."""

    kind: Kind
    container: str  # mp4, mov, mkv, webm, mp3, wav, m4a, aac, flac, ogg, jpeg, png, webp
    mime: str
    extension: str  # with the dot
    duration_seconds: float | None = None
    width: int | None = None
    height: int | None = None
    frame_rate: float | None = None
    frames: int | None = None
    variable_frame_rate: bool = False
    codec: str | None = None  # of the video or image; of the sound where there is only sound
    pixel_format: str | None = None
    rotation: int = 0  # degrees clockwise that a player turns the stored picture
    upright: bool = True  # stored as displayed: not turned, not mirrored, square pixels
    high_dynamic_range: bool = False
    has_audio: bool = False
    audio_codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    bit_rate: int | None = None


@dataclass(frozen=True)
class Checked(_Json):
    """What was found when a finished variant was read back, and how its picture was made.

    `why` reads after "because". `faces` are small pictures of it, by name ("poster", "thumb"), shared by all variants
    that show the same, and gone when the render is over; there may be none. `pieces` are lengths and SHA-256 of what
    its media data consists of, for whoever signs it.
    """

    size_bytes: int
    media: Media
    frames: int
    peak_dbfs: float | None = None  # of the sound, if there is any
    way: Way = "naive"
    why: str = ""
    faces: Mapping[str, str] = field(default_factory=dict)
    pieces: Sequence[tuple[int, str]] = ()

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        return super().from_json({**given, "media": Media.from_json(given["media"])})


@dataclass(frozen=True)
class Copied(_Json):
    """A clean copy of a picture. `print` is its fingerprint: 256 bits in hexadecimal, alike for pictures that are."""

    path: str
    width: int
    height: int
    print: str

    def is_like(self, other: "Copied") -> bool:
        """Whether both show the same, as far as a fingerprint says: another size, another quality, hardly another."""
        return (int(self.print, 16) ^ int(other.print, 16)).bit_count() <= LIKE_BITS_MAX


@dataclass(frozen=True)
class Limits(_Json):
    """Bounds of one child process and of what it may be asked to read."""

    media_seconds_max: float = 2 * 3600
    image_pixels_max: int = 64_000_000
    frame_pixels_max: int = 8192 * 4352  # 8K, in either direction
    streams_max: int = 32
    memory_bytes_max: int = 6 * GIGABYTE  # address space
    frame_bytes_max: int = 768 * MEGABYTE  # decoded pictures that a render keeps for its hooks to share
    shelf_bytes_max: int = 256 * MEGABYTE  # finished sounds that stay for other renders
    file_bytes_max: int = 16 * GIGABYTE  # largest file the child may write
    open_files_max: int = 4096
    probe_seconds_max: float = 60
    preview_seconds_max: float = 120
    silence_seconds_max: float = 120  # a render that says nothing for so long is stuck
    render_seconds_max: float = 6 * 3600

    @classmethod
    def of(cls, settings: "Settings") -> Self:
        return cls(
            media_seconds_max=settings.media_seconds_max,
            image_pixels_max=settings.image_pixels_max,
            memory_bytes_max=settings.render_memory_bytes,
            frame_bytes_max=settings.render_frame_bytes,
            shelf_bytes_max=settings.sound_shelf_bytes,
        )
