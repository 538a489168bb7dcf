"""About how long a batch takes and how large it becomes, before anything is looked at but the library's rows.

Seconds are CPU seconds, as seen on plain cores at 1080×1920 with x264's preset veryfast, shared out among the workers.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from novai_web.config import Settings
from novai_web.engines import ffmpeg
from novai_web.library.models import Asset, Hook
from novai_web.tools.tool import Estimate
from novai_web.tools.variants.form import Variant, VariantsInput

PIXELS = 1080 * 1920
DECODED = 1 / 155  # a frame
ENCODED = 1 / 50
ENCODED_AGAIN = 1 / 70  # with what x264 decided for another hook
BRIDGE_SECONDS = 1.0  # of a clip with a keyframe every two seconds, on the whole
SOUND = 0.02  # a second of it: read, made as loud, encoded
CLIP = 0.5  # beginning, looking at the pictures
VARIANT = 0.05  # muxing, checking, storing
BYTES_PER_SECOND = 700_000


def estimate(given: VariantsInput, made: Sequence[Variant], settings: Settings) -> Estimate:
    clips: dict[int, set[int]] = defaultdict(set)
    for cell in made:
        clips[cell.video.id].add(cell.hook.id if cell.hook else 0)
    videos = {cell.video.id: _Clip(cell.video, given) for cell in made}
    seconds = sum(CLIP + videos[video].seconds(hooks) for video, hooks in clips.items())
    seconds += SOUND * _sound_seconds(made) + VARIANT * len(made)
    size = sum(videos[cell.video.id].bytes(cell.hook) for cell in made)
    return Estimate(len(made), seconds / (settings.cpu_workers or os.cpu_count() or 1), size)


def is_encoded(cell: Variant, given: VariantsInput) -> bool:
    return cell.hook is not None or _is_reframed(cell.video, given)


@dataclass(frozen=True)
class _Clip:
    video: Asset
    given: VariantsInput

    def seconds(self, hooks: Iterable[int]) -> float:
        """For all its pictures; hook 0 is none."""
        hooks = set(hooks)
        pixels = (self.video.width or 1080) * (self.video.height or 1920) / PIXELS
        rate = (self.video.media or {}).get("frame_rate") or 30
        if not hooks - {0} and not _is_reframed(self.video, self.given):
            return 0.0
        if self.given.method == "naive":
            return len(hooks) * self._length * rate * pixels * (DECODED + ENCODED)
        shared = self._shared
        decoded = self._window + shared
        first, others = self._window * ENCODED, (len(hooks) - 1) * self._window * ENCODED_AGAIN
        return rate * pixels * (decoded * DECODED + shared * ENCODED + first + others)

    def bytes(self, hook: Hook | None) -> int:
        is_new = _is_reframed(self.video, self.given) or (hook is not None and not self._is_exact)
        return int(self._length * BYTES_PER_SECOND) if is_new else self.video.size_bytes

    @property
    def _length(self) -> float:
        return self.video.duration_seconds or 0.0

    @property
    def _window(self) -> float:
        """Seconds under the hook."""
        start = min(self.given.hook_start_seconds, self._length)
        return min(self._length - start, self.given.hook_duration_seconds or self._length)

    @property
    def _shared(self) -> float:
        """Seconds that are encoded without a hook, once."""
        rest = self._length - self._window
        return min(BRIDGE_SECONDS, rest) if self._is_exact else rest

    @property
    def _is_exact(self) -> bool:
        """Where something is left to copy."""
        is_continued = (self.video.media or {}).get("codec") == "h264" and not _is_reframed(self.video, self.given)
        return self.given.method == "exact" and is_continued and self._window < self._length


def _is_reframed(video: Asset, given: VariantsInput) -> bool:
    return ffmpeg.needs_reframing(video.width or 9, video.height or 16, given.frame)


def _sound_seconds(made: Sequence[Variant]) -> float:
    """Of all sounds that are different: one for each audio and length."""
    return sum({(cell.audio.id, length): length for cell in made if cell.audio and (length := _length(cell))}.values())


def _length(cell: Variant) -> float:
    return cell.video.duration_seconds or 0.0
