"""How a hook looks and when it is seen: one model that drives the form, the API and the render."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Position = Literal["top-left", "top", "top-right", "left", "center", "right", "bottom-left", "bottom", "bottom-right"]
Family = Literal["Inter", "Montserrat", "Anton", "Bebas Neue", "Playfair Display", "Roboto Mono", "Noto Sans"]
Align = Literal["auto", "left", "center", "right"]
Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]

TEXT_LENGTH_MAX = 1000  # characters of one hook that can be drawn


class HookStyle(BaseModel):
    """Sizes are shares of the frame, so that a hook looks alike at every resolution."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hook_position: Position = Field(
        "top", title="Position", description="Nine places, all clear of what the platforms lay over a video."
    )
    hook_start_seconds: float = Field(
        0, ge=0, le=7200, title="Appears at", description="Seconds from the start of the video."
    )
    hook_duration_seconds: float | None = Field(
        3, gt=0, le=7200, title="Shown for", description="Seconds; leave empty to show it for the whole clip."
    )
    hook_font: Family = Field("Montserrat", title="Font", description="Letters it lacks come from Noto.")
    hook_size: float = Field(
        7, ge=2, le=25, title="Size", description="Percent of the shorter side; shrinks when a long text would not fit."
    )
    hook_max_lines: int = Field(
        5,
        ge=1,
        le=20,
        title="Lines at most",
        description="A longer text is drawn smaller; only a very long one takes more lines.",
    )
    hook_color: Colour = Field("#ffffff", title="Colour", description="Of the letters.")
    hook_outline_color: Colour = Field("#000000", title="Outline colour", description="Of the line around the letters.")
    hook_outline_width: float = Field(
        12, ge=0, le=40, title="Outline width", description="Percent of the letters' size; 0 is none."
    )
    hook_box: bool = Field(False, title="Box", description="A panel behind every line.")
    hook_box_color: Colour = Field("#000000", title="Box colour", description="Of the panel.")
    hook_box_opacity: float = Field(0.8, ge=0, le=1, title="Box opacity", description="From 0, invisible, to 1, solid.")
    hook_box_radius: float = Field(
        25, ge=0, le=50, title="Box corners", description="Percent of a line's height; 0 is square, 50 is round."
    )
    hook_align: Align = Field("auto", title="Alignment", description="Of several lines; auto follows the position.")

    @property
    def window(self) -> tuple[float, float]:
        """From and until when it is seen, in seconds; the end is not in it."""
        if self.hook_duration_seconds is None:
            return self.hook_start_seconds, float("inf")
        return self.hook_start_seconds, self.hook_start_seconds + self.hook_duration_seconds
