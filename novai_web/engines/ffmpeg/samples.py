"""The sample media that an installation makes for itself: what there is, and having it drawn in a child process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from novai_web.engines.ffmpeg import child
from novai_web.engines.ffmpeg.media import Kind, Limits
from novai_web.errors import UnusableMedia

WIDTH, SECONDS = 720, 7.0
FAILED = "The sample media could not be drawn on this machine. Look at the log of the worker."
SECONDS_MAX = 1800  # of a machine that has hardly any time for this


@dataclass(frozen=True)
class Sample:
    """One of them, and what a library calls it."""

    name: str
    kind: Kind
    title: str
    caption: str | None = None
    is_synthetic: bool = False  # a face that is nobody's


SAMPLES = (
    Sample("waves", "video", "Waves at dusk"),
    Sample("city", "video", "City at night"),
    Sample("lights", "video", "Drifting lights"),
    Sample("silk", "video", "Silk in the wind"),
    Sample("slow-tide", "audio", "Slow tide"),
    Sample("bright-steps", "audio", "Bright steps"),
    Sample(
        "portrait",
        "image",
        "Drawn portrait",
        "A drawn portrait of a woman with brown hair and a green pullover, who does not exist",
        is_synthetic=True,
    ),
)


def make(
    folder: Path, limits: Limits, heard: Callable[[float], None], *, width: int = WIDTH, seconds: float = SECONDS
) -> dict[str, Path]:
    """All of SAMPLES as files in `folder`, by name. `heard` is told how far it is, 0 to 1, and may raise to stop it.

    No clip is longer than `seconds`. Raises UnusableMedia.
    """
    asked = {"folder": str(folder.absolute()), "width": width, "longest": seconds}
    done = 0.0
    try:
        for event in child.talk("samples", limits, SECONDS_MAX, **asked):
            if "answer" in event:
                return {name: Path(path) for name, path in event["answer"].items()}
            done = event.get("progress", done)
            heard(done)
    except child.Crashed as problem:
        raise UnusableMedia(FAILED) from problem
    raise UnusableMedia(FAILED)
