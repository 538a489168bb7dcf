"""Everything with moving pictures and sound. Light to import: libav, Pillow and numpy live in child processes."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from novai_web.engines.ffmpeg import child
from novai_web.engines.ffmpeg.deciding import make_plan
from novai_web.engines.ffmpeg.explaining import explain
from novai_web.engines.ffmpeg.media import Checked, Copied, Limits, Media
from novai_web.engines.ffmpeg.planning import Plan, Variant, needs_reframing, target_size
from novai_web.engines.ffmpeg.rendering import render
from novai_web.engines.ffmpeg.settings import Fill, Framing, Making, RenderSettings, Sound
from novai_web.engines.ffmpeg.style import HookStyle
from novai_web.errors import UnusableMedia

__all__ = [
    "Checked",
    "Copied",
    "Framing",
    "HookStyle",
    "Limits",
    "Making",
    "Media",
    "Plan",
    "RenderSettings",
    "Sound",
    "Variant",
    "contact_sheet",
    "copies",
    "credentials_of",
    "explain",
    "needs_reframing",
    "plan",
    "previews",
    "probe",
    "probe_all",
    "render",
    "target_size",
    "what_is_missing",
]


PREVIEWS = {"video": ("poster", "thumb", "clip"), "audio": ("waveform",), "image": ("poster", "thumb")}


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


def _examine(paths: Sequence[Path], limits: Limits) -> list[dict[str, Any]]:
    seconds = limits.probe_seconds_max * max(1, len(paths))
    return child.ask("probe", limits, seconds, paths=[str(path.absolute()) for path in paths]) if paths else []


def plan(
    batch: Sequence[Variant],
    settings: RenderSettings,
    limits: Limits | None = None,
    known: Mapping[Path, Media] | None = None,
) -> Plan:
    """What the batch takes. Files that are not `known` are probed; one that is unusable refuses only its variants."""
    limits = limits or Limits()
    found: dict[Path, Media | UnusableMedia] = dict(known or {})
    files = dict.fromkeys(path for variant in batch for path in (variant.video, variant.audio) if path is not None)
    unknown = [path for path in files if path not in found]
    found.update(zip(unknown, probe_all(unknown, limits), strict=True))
    return make_plan(batch, settings, found, limits)


def previews(
    path: Path, media: Media, folder: Path, limits: Limits, only: Sequence[str] | None = None
) -> dict[str, Path]:
    """Small pictures and clips of a file, by name: "poster", "thumb", "clip", "waveform".

    Which there are depends on the kind; one that fails is absent, and takes no other with it.
    """
    made: dict[str, Path] = {}
    for name in PREVIEWS[media.kind] if only is None else only:
        with suppress(UnusableMedia):
            answer = child.ask(
                "previews",
                limits,
                limits.preview_seconds_max,
                name=name,
                path=str(path.absolute()),
                media=media.to_json(),
                folder=str(folder.absolute()),
            )
            made[name] = Path(answer)
    return made


def copies(paths: Sequence[Path], folder: Path, long_side: int, limits: Limits) -> list[Copied | UnusableMedia]:
    """JPEG copies of pictures with nothing in them but the picture, none larger than `long_side`, in order.

    A picture that cannot be read is its refusal; one on which the child dies takes no other with it.
    """
    seconds = limits.probe_seconds_max * max(1, len(paths))
    asked = {"paths": [str(path.absolute()) for path in paths], "folder": str(folder.absolute())}
    folder.mkdir(parents=True, exist_ok=True)
    try:
        answers = child.ask("copies", limits, seconds, long_side=long_side, **asked)
    except UnusableMedia as error:
        if len(paths) == 1:
            return [error]
        each = enumerate(paths)
        return [copies([path], folder / f"{number:04}", long_side, limits)[0] for number, path in each]
    return [UnusableMedia(answer["refusal"]) if "refusal" in answer else Copied.from_json(answer) for answer in answers]


def contact_sheet(
    texts: Sequence[str],
    style: HookStyle,
    width: int,
    height: int,
    folder: Path,
    limits: Limits,
    background: Path | None = None,
    fill: Fill = "crop",
) -> list[Path]:
    """One small picture a hook, in order, of a frame of width × height, drawn as the render would draw it.

    `background` is a picture or a video, whose poster is taken; without one the frame is grey. `fill` says what
    becomes of one that has another shape.
    Raises UnusableMedia for a text that cannot be drawn.
    """
    answer = child.ask(
        "sheet",
        limits,
        limits.preview_seconds_max,
        texts=list(texts),
        style=style.model_dump(mode="json"),
        size=[width, height],
        fill=fill,
        folder=str(folder.absolute()),
        background=str(background.absolute()) if background else None,
    )
    return [Path(path) for path in answer]


def credentials_of(
    path: Path, mime: str, ingredient: Mapping[str, Any], anchors: bytes, folder: Path, limits: Limits
) -> Path:
    """What a foreign file says of itself in its Content Credentials, as a file in `folder`: see engines/credentials.

    Raises UnusableMedia when it cannot be read.
    """
    target = folder / "ingredient.c2pa"
    child.ask(
        "credentials",
        limits,
        limits.probe_seconds_max,
        path=str(path.absolute()),
        mime=mime,
        ingredient=dict(ingredient),
        anchors=anchors.decode(),
        target=str(target.absolute()),
    )
    return target


def what_is_missing() -> list[str]:
    """Parts of an installation without which nothing can be read or drawn, each with its remedy; empty is well."""
    lost = [name for name in ("av", "PIL", "numpy", "uharfbuzz", "freetype") if find_spec(name) is None]
    sentences = [f"The Python package that provides “{name}” is missing: install requirements.txt." for name in lost]
    if not any((Path(__file__).parent / "fonts").glob("*.ttf")):
        sentences.append("The folder novai_web/engines/ffmpeg/fonts is empty: get the whole repository.")
    return sentences
