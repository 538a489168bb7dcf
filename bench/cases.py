"""What is measured: each case is a batch, and how many times faster than one FFmpeg process a variant it must be."""

from dataclasses import dataclass, replace
from typing import Literal

HOOKS = (
    "Wait for the end, you won't believe what happens next",
    "POV: you finally found the hack that saves 3 hours a day",
    "Nobody talks about this...",
    "3 mistakes everyone makes in the first 30 days",
    "Stop scrolling: this changes everything",
)


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    target: float | None  # the ratio of wall times through the whole product; None: none is set
    seconds: float
    gop: int = 60
    codec: Literal["h264", "hevc"] = "h264"
    hook_seconds: float | None = 3  # None: shown for the whole clip
    videos: int = 4
    hooks: int = 5  # 0: variants without a hook
    audios: int = 3
    size: tuple[int, int] = (1080, 1920)

    @property
    def variants(self) -> int:
        return self.videos * self.audios * max(1, self.hooks)

    @property
    def window_seconds(self) -> float:
        """How much of a clip lies under the hook."""
        if not self.hooks:
            return 0
        return self.seconds if self.hook_seconds is None else self.hook_seconds

    @property
    def batch(self) -> str:
        hooks = f" × {self.hooks} hooks" if self.hooks else ""
        return f"{self.videos} videos{hooks} × {self.audios} audios = {self.variants} variants"

    def small(self) -> "Case":
        """The same in seconds, to see that it works; its ratios say nothing."""
        return replace(
            self,
            title=f"{self.title}, in small",
            target=None,
            seconds=self.seconds / 10,
            hook_seconds=None if self.hook_seconds is None else 0.4,
            gop=15 if self.gop == 60 else self.gop,
            videos=2,
            hooks=min(self.hooks, 2),
            audios=2,
            size=(360, 640),
        )


CASES = (
    Case("hook-30s", "hook 3 s, 30 s clip, GOP 60", 35, seconds=30),
    Case("hook-15s", "hook 3 s, 15 s clip, GOP 60", 20, seconds=15),
    Case("hook-15s-gop250", "hook 3 s, 15 s clip, GOP 250", 14, seconds=15, gop=250),
    Case("none-30s", "no hook, 30 s clip", 80, seconds=30, hooks=0),
    Case("hevc-15s", "hook 3 s, 15 s clip, HEVC: normalised", 8, seconds=15, codec="hevc"),
    Case("whole-15s", "hook on the whole 15 s clip", 4.5, seconds=15, hook_seconds=None),
    Case("none-30s-many", "no hook, 30 s clip, 15 audios", None, seconds=30, hooks=0, audios=15),
)
