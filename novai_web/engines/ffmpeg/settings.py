"""Everything a person can choose about a render besides the hook's look, in the same flat form."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from novai_web.engines.ffmpeg.style import HookStyle

AudioMode = Literal["replace", "mix", "keep"]
Frame = Literal["source", "9:16", "1:1", "16:9"]
Fill = Literal["crop", "blur"]
Method = Literal["exact", "normalise", "naive"]
Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"]


class Sound(BaseModel):
    """What is heard."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    audio_mode: AudioMode = Field(
        "replace",
        title="Sound",
        description="The chosen audio instead of the original, under it, or not at all; without one, it stays.",
    )
    audio_level_db: float = Field(
        -12, ge=-40, le=0, title="Level when mixed", description="Decibels of the chosen audio below the original."
    )
    audio_loop: bool = Field(
        True, title="Loop", description="Repeat an audio that is shorter than the video; otherwise silence follows."
    )
    audio_fade_seconds: float = Field(
        0.5, ge=0, le=10, title="Fade out", description="Seconds, where the audio is cut at the end of the video."
    )
    audio_loudness_lufs: float | None = Field(
        -14, ge=-40, le=-5, title="Loudness", description="LUFS; −14 is what the platforms play. Empty leaves it alone."
    )


class Framing(BaseModel):
    """What shape the picture has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frame: Frame = Field("source", title="Frame", description="As the source, or fitted to a shape.")
    frame_fill: Fill = Field(
        "crop", title="Fill", description="Cut off what does not fit, or show all of it over a blurred copy."
    )


class Making(BaseModel):
    """How much of a clip is encoded again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = Field(
        "exact",
        title="Method",
        description="Exact encodes only around the hook and keeps the clip's own pictures and size. Normalise encodes "
        "each clip once, for smaller files. Naive encodes it again for every hook, and is slow.",
    )


class RenderSettings(HookStyle, Sound, Framing, Making):
    """All of it, and how the encoder is set."""

    crf: int = Field(20, ge=10, le=40, title="Quality", description="x264's CRF: lower is better and larger.")
    preset: Preset = Field("veryfast", title="Effort", description="x264's preset: slower is smaller.")
    audio_bit_rate: int = Field(
        192_000, ge=32_000, le=512_000, title="Audio bitrate", description="Bits a second, AAC."
    )
    threads: int = Field(0, ge=0, le=64, title="Encoder threads", description="0: one per core.")
