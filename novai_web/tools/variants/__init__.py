"""Variants: many short videos out of clips, sounds and hooks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from novai_web import __version__
from novai_web.config import Settings
from novai_web.engines import ffmpeg
from novai_web.library.models import Asset, Hook
from novai_web.tools.tool import Estimate, Made, Part, Promise, Step, Tool, Work
from novai_web.tools.variants.form import Variant, VariantsInput, cells, names_of, sources

# Enough for the sharing inside a job to pay, few enough for a killed worker to repeat little.
JOB_OUTPUTS_MAX = 12
# One clip with one hook and hundreds of sounds is encoded again for every so many, so that all cores have work.
SHARED_OUTPUTS_MAX = 48

# Seen on two plain cores at 1080×1920; only for saying "about".
ENCODED_SECONDS_PER_SECOND = 1.1
COPIED_SECONDS = 0.3
BYTES_PER_SECOND = 700_000


def price(given: VariantsInput, settings: Settings) -> int:
    """Free, unless the installation sets a price for each variant."""
    return settings.variants_price_credits * len(cells(given, settings))


def estimate(given: VariantsInput, settings: Settings) -> Estimate:
    """About how long and how large, from the clips' durations: one encode for each clip and hook."""
    made = cells(given, settings)
    encoded = {(cell.video.id, cell.hook.id if cell.hook else 0): cell for cell in made if _is_encoded(cell, given)}
    seconds = sum(_duration(cell) for cell in encoded.values()) * ENCODED_SECONDS_PER_SECOND
    size = sum(_bytes(cell, given) for cell in made)
    return Estimate(len(made), seconds + COPIED_SECONDS * len(made), size)


def split(given: VariantsInput, settings: Settings) -> Sequence[Part]:
    """Jobs of one clip each, in which variants that share a hook stay together."""
    made = cells(given, settings)
    called = names_of(made, given.name_template)
    parts = []
    for chunk in _chunks(made):
        videos, audios, hooks = sources(chunk)
        own = given.model_copy(update={"videos": videos, "audios": audios, "hooks": hooks, "without": []})
        parts.append(Part(own, [Promise(cell.n, called[cell.n], _spec(cell)) for cell in chunk]))
    return parts


def render(given: VariantsInput, work: Work) -> None:
    """Make what is still promised. Each variant is checked and kept as soon as it is finished."""
    promised = {promise.n: promise for promise in work.promises}
    made = {n: _cell(given, promise) for n, promise in promised.items()}
    limits = ffmpeg.Limits.of(work.settings)
    wanted = [_variant(cell, promised[n].name, work) for n, cell in made.items()]
    plan = ffmpeg.plan(wanted, _settings(given), limits, _known(made.values(), work))
    faces = _Faces(work, limits)

    def keep(n: int, path: Path, checked: ffmpeg.Checked) -> None:
        cell, name = made[n], promised[n].name
        work.keep(path, _made(cell, name, given, checked, faces.of(cell, path, checked.media)), n=n)
        path.unlink()

    ffmpeg.render(plan, work.folder / "made", limits, work.progress, keep, work.fail)


class _Faces:
    """The small pictures that stand for a variant, drawn once for all that show the same."""

    def __init__(self, work: Work, limits: ffmpeg.Limits) -> None:
        self.work, self.limits = work, limits
        self.drawn: dict[tuple[int, int], Mapping[str, Path]] = {}

    def of(self, cell: Variant, path: Path, media: ffmpeg.Media) -> Mapping[str, Path]:
        shows = cell.video.id, cell.hook.id if cell.hook else 0
        if shows not in self.drawn:
            folder = self.work.folder / f"faces-{len(self.drawn)}"
            folder.mkdir()
            self.drawn[shows] = ffmpeg.previews(path, media, folder, self.limits, only=("poster", "thumb"))
        return self.drawn[shows]


def _is_encoded(cell: Variant, given: VariantsInput) -> bool:
    return cell.hook is not None or given.frame != "source"


def _duration(cell: Variant) -> float:
    return cell.video.duration_seconds or 0.0


def _bytes(cell: Variant, given: VariantsInput) -> int:
    return int(_duration(cell) * BYTES_PER_SECOND) if _is_encoded(cell, given) else cell.video.size_bytes


def _chunks(made: Sequence[Variant]) -> Iterator[list[Variant]]:
    """By clip, then by hook, as many hooks together as a job may hold; no job is empty or without end."""

    def same_encode(cell: Variant) -> tuple[int, int]:
        return cell.video.id, cell.hook.id if cell.hook else 0

    chunk: list[Variant] = []
    for _, group in groupby(sorted(made, key=same_encode), key=same_encode):
        together = list(group)
        is_full = len(chunk) + len(together) > JOB_OUTPUTS_MAX
        if chunk and (is_full or chunk[0].video.id != together[0].video.id):
            yield chunk
            chunk = []
        chunk += together
        while len(chunk) > SHARED_OUTPUTS_MAX:
            yield chunk[:SHARED_OUTPUTS_MAX]
            chunk = chunk[SHARED_OUTPUTS_MAX:]
    yield chunk


def _spec(cell: Variant) -> dict[str, Any]:
    return {
        "video": cell.video.id,
        "audio": cell.audio.id if cell.audio else None,
        "hook": cell.hook.id if cell.hook else None,
    }


def _cell(given: VariantsInput, promise: Promise) -> Variant:
    assets = {asset.id: asset for asset in (*given.videos, *given.audios)}
    hooks = {hook.id: hook for hook in given.hooks}
    spec = promise.spec
    return Variant(promise.n, assets[spec["video"]], assets.get(spec["audio"]), hooks.get(spec["hook"]))


def _variant(cell: Variant, name: str, work: Work) -> ffmpeg.Variant:
    return ffmpeg.Variant(
        n=cell.n,
        video=work.fetch(cell.video),
        audio=work.fetch(cell.audio) if cell.audio else None,
        hook=cell.hook.text if cell.hook else None,
        name=name,
    )


def _settings(given: VariantsInput) -> ffmpeg.RenderSettings:
    return ffmpeg.RenderSettings(**_own(given, ffmpeg.RenderSettings.model_fields))


def style_of(given: VariantsInput) -> ffmpeg.HookStyle:
    return ffmpeg.HookStyle(**_own(given, ffmpeg.HookStyle.model_fields))


def _own(given: VariantsInput, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(given, name) for name in names if name in VariantsInput.model_fields}


def _known(made: Iterable[Variant], work: Work) -> dict[Path, ffmpeg.Media]:
    """What was found out when the sources were uploaded."""
    used = {asset.id: asset for cell in made for asset in (cell.video, cell.audio) if asset}
    return {work.fetch(asset): ffmpeg.Media.from_json(asset.media) for asset in used.values()}


def _made(
    cell: Variant, name: str, given: VariantsInput, checked: ffmpeg.Checked, previews: Mapping[str, Path]
) -> Made:
    picked = given.model_dump(mode="json", exclude={"videos", "audios", "hooks", "without", "mix", "limit", "seed"})
    used: list[tuple[str, Asset | Hook | None]] = [("video", cell.video), ("audio", cell.audio), ("hook", cell.hook)]
    return Made(
        kind="video",
        type="variant",
        name=Path(name).stem,
        mime="video/mp4",
        sha256=checked.sha256,
        media=checked.media.to_json(),
        recipe={
            "tool": tool.slug,
            "version": __version__,
            "input": picked | {"videos": [cell.video.id], "audios": _ids(cell.audio), "hooks": _ids(cell.hook)},
            "sha256": {role: asset.sha256 for role, asset in used[:2] if isinstance(asset, Asset)},
            "hook": cell.hook.text if cell.hook else None,
        },
        sources=[(role, source) for role, source in used if source is not None],
        previews=previews,
    )


def _ids(picked: Any) -> list[int]:
    return [picked.id] if picked else []


def _title(given: VariantsInput) -> str:
    first = given.videos[0].name
    return first if len(given.videos) == 1 else f"{first} and {len(given.videos) - 1} more"


tool = Tool(
    slug="variants",
    title="Variant Generator",
    about="Many short videos out of clips, sounds and hooks: every one checked before it counts.",
    icon="layers",
    input=VariantsInput,
    price=price,
    estimate=estimate,
    split=split,
    name=_title,
    steps=(Step("Rendering", render),),
    makes=("video",),
    queue="cpu",
    deadline_seconds=6 * 3600,
)
