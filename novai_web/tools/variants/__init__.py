"""Variants: many short videos out of clips, sounds and hooks."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from novai_web import __version__
from novai_web.config import Settings
from novai_web.engines import ffmpeg
from novai_web.errors import NotFound
from novai_web.library.models import Asset, Hook
from novai_web.tools.tool import Estimate, Made, Part, Promise, Step, Tool, Work
from novai_web.tools.variants import estimating, splitting
from novai_web.tools.variants.form import Variant, VariantsInput, cells, names_of, sources


def price(given: VariantsInput, settings: Settings) -> int:
    """Free, unless the installation sets a price for each variant."""
    return settings.variants_price_credits * len(cells(given, settings))


def estimate(given: VariantsInput, settings: Settings) -> Estimate:
    """About how long and how large, from the clips' durations."""
    return estimating.estimate(given, cells(given, settings), settings)


def split(given: VariantsInput, settings: Settings) -> Sequence[Part]:
    """Jobs in which variants that share work stay together."""
    made = cells(given, settings)
    called = names_of(made, given.name_template)
    parts = []
    for chunk in splitting.jobs_of(made, lambda cell: estimating.is_encoded(cell, given)):
        videos, audios, hooks = sources(chunk)
        own = given.model_copy(update={"videos": videos, "audios": audios, "hooks": hooks, "without": []})
        parts.append(Part(own, [Promise(cell.n, called[cell.n], _spec(cell)) for cell in chunk]))
    return parts


def render(given: VariantsInput, work: Work) -> None:
    """Make what is still promised. Each variant is checked and kept as soon as it is finished."""
    promised = {promise.n: promise for promise in work.promises}
    made = {n: _cell(given, promise) for n, promise in promised.items()}
    limits = ffmpeg.Limits.of(work.settings)
    wanted = [each for n, cell in made.items() if (each := _variant(cell, promised[n].name, work))]
    known = _known([made[each.n] for each in wanted], work)
    plan = ffmpeg.plan(wanted, _settings(given), limits, known)

    def keep(n: int, path: Path, checked: ffmpeg.Checked) -> None:
        work.keep(path, _made(made[n], promised[n].name, given, checked), n=n)
        path.unlink()

    shelf = work.settings.shelf_folder
    ffmpeg.render(plan, work.folder / "made", limits, work.progress, keep, work.fail, shelf)


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


def _variant(cell: Variant, name: str, work: Work) -> ffmpeg.Variant | None:
    """As the engine has it. None: one of its files is gone, which was said, and is no reason to make no other."""
    try:
        video = work.fetch(cell.video)
        audio = work.fetch(cell.audio) if cell.audio else None
    except NotFound:
        work.fail(cell.n, "Its video or audio is missing in the storage. Upload that file again.")
        return None
    return ffmpeg.Variant(cell.n, video, audio, cell.hook.text if cell.hook else None, name)


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


def _made(cell: Variant, name: str, given: VariantsInput, checked: ffmpeg.Checked) -> Made:
    picked = given.model_dump(mode="json", exclude={"videos", "audios", "hooks", "without", "mix", "limit", "seed"})
    used: list[tuple[str, Asset | Hook | None]] = [("video", cell.video), ("audio", cell.audio), ("hook", cell.hook)]
    return Made(
        kind="video",
        type="variant",
        origin="edited",
        name=Path(name).stem,
        mime="video/mp4",
        media=checked.media.to_json(),
        recipe={
            "tool": tool.slug,
            "version": __version__,
            "input": picked | {"videos": [cell.video.id], "audios": _ids(cell.audio), "hooks": _ids(cell.hook)},
            "sha256": {role: asset.sha256 for role, asset in used[:2] if isinstance(asset, Asset)},
            "hook": cell.hook.text if cell.hook else None,
            "way": checked.way,
            "why": checked.why,
        },
        sources=[(role, source) for role, source in used if source is not None],
        previews={part: Path(path) for part, path in checked.faces.items()},
        pieces=checked.pieces,
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
