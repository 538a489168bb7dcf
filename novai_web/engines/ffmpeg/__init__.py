"""Everything with moving pictures and sound. Light to import: libav, Pillow and numpy live in child processes."""

from collections.abc import Sequence
from pathlib import Path

from novai_web.engines.ffmpeg import child
from novai_web.engines.ffmpeg.media import Checked, Limits, Media
from novai_web.engines.ffmpeg.style import HookStyle
from novai_web.errors import UnusableMedia

__all__ = ["Checked", "HookStyle", "Limits", "Media", "probe", "probe_all"]


def probe(path: Path, limits: Limits) -> Media:
    """What the file is. Raises UnusableMedia, with a sentence for a person, when it cannot be used."""
    found = probe_all([path], limits)[0]
    if isinstance(found, UnusableMedia):
        raise found
    return found


def probe_all(paths: Sequence[Path], limits: Limits) -> list[Media | UnusableMedia]:
    """Several files in one child; a file on which that child dies is asked for alone, so that only it is refused."""
    try:
        answers = _examine(paths, limits)
    except UnusableMedia as error:
        if len(paths) == 1:
            return [error]
        return [probe_all([path], limits)[0] for path in paths]
    return [
        Media.from_json(answer["media"]) if "media" in answer else UnusableMedia(answer["refusal"])
        for answer in answers
    ]


def _examine(paths: Sequence[Path], limits: Limits) -> list[dict[str, str]]:
    seconds = limits.probe_seconds_max * max(1, len(paths))
    return child.ask("probe", limits, seconds, paths=[str(path.absolute()) for path in paths]) if paths else []
