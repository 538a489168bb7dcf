"""`flask variants`: folders of clips and sounds and a file of hooks become variants, without server or account."""

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from novai_web.config import Settings
from novai_web.engines import credentials, ffmpeg
from novai_web.engines.credentials import Input, Statement
from novai_web.engines.ffmpeg import Limits, Plan, RenderSettings, Variant
from novai_web.errors import InvalidInput, NovaiError
from novai_web.tools.sentences import sentences
from novai_web.tools.variants import names
from novai_web.tools.variants.mix import mix

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".m4v")
SOUNDS = (".mp3", ".wav", ".m4a", ".aac", ".flac", ".ogg")
HOOKS_FILE_BYTES_MAX = 4 * 1024 * 1024

Folder = click.Path(exists=True, file_okay=False, path_type=Path)


def _with_engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Every setting of the render as an option, from the same declaration as the form and the API."""
    for name, info in reversed(RenderSettings.model_fields.items()):
        command = click.option(f"--{name.replace('_', '-')}", name, **_option(info))(command)
    return command


def _option(info: FieldInfo) -> dict[str, Any]:
    kinds = [kind for kind in get_args(info.annotation) if kind is not NoneType] or [info.annotation]
    choices = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
    shown = "" if info.default in (None, PydanticUndefined) else f" [{info.default}]"
    return {
        "type": click.Choice(choices) if choices else bool if kinds[0] is bool else str,
        "default": None,
        "help": f"{info.description}{shown}",
    }


@click.command()
@click.option("--videos", type=Folder, required=True, help="Folder of clips.")
@click.option("--audios", type=Folder, help="Folder of sounds.")
@click.option("--hooks", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="One hook a line, UTF-8.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Where they go.")
@click.option("--mix", "mode", type=click.Choice(["round-robin", "every"]), default="round-robin", show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="How many at most.")
@click.option("--seed", type=int, help="Shuffle; the same number shuffles the same way.")
@click.option("--name", "template", default=names.DEFAULT_TEMPLATE, show_default=True, help="Names of the files.")
@click.option("--explain", is_flag=True, help="Say what would be copied, encoded and shared, and stop.")
@_with_engine_options
def variants(
    videos: Path,
    audios: Path | None,
    hooks: Path | None,
    out: Path,
    mode: Literal["round-robin", "every"],
    limit: int | None,
    seed: int | None,
    template: str,
    explain: bool,
    **look: Any,
) -> None:
    """Make variants of a folder of clips: every file is checked before it counts."""
    try:
        batch = _batch(_files(videos, VIDEOS), _files(audios, SOUNDS), _lines(hooks), mode, limit, seed, template)
        settings = Settings.read()
        limits = ffmpeg.Limits.of(settings)
        plan = ffmpeg.plan(batch, _settings(look), limits)
        if explain:
            click.echo(ffmpeg.explain(plan))
            return
        failed = _render(plan, batch, out, limits, settings)
    except InvalidInput as error:
        raise click.UsageError("; ".join(f"{field}: {said}" for field, said in error.fields.items())) from None
    except NovaiError as error:
        raise click.ClickException(str(error)) from None
    if failed:
        raise SystemExit(1)


def _render(plan: Plan, batch: Sequence[Variant], out: Path, limits: Limits, settings: Settings) -> int:
    """Make them into `out`. Returns how many could not be made; each says why."""
    out.mkdir(parents=True, exist_ok=True)
    made = {variant.n: variant for variant in batch}
    failures: list[tuple[str, str]] = []
    with (
        TemporaryDirectory(dir=out, prefix=".making-") as scratch,
        click.progressbar(length=1000, label="Rendering") as bar,
    ):

        def progress(done: float) -> None:
            bar.update(int(done * 1000) - bar.pos)

        def keep(n: int, path: Path, checked: ffmpeg.Checked) -> None:
            signed = credentials.sign(path, _said(made[n]), settings, checked.pieces)
            shutil.move(signed, out / made[n].name)

        def fail(n: int, reason: str) -> None:
            failures.append((made[n].name, reason))

        ffmpeg.render(plan, Path(scratch), limits, progress, keep, fail)
    for name, reason in failures:
        click.echo(f"failed: {name}: {reason}", err=True)
    click.echo(f"{len(batch) - len(failures)} of {len(batch)} variants in {out}")
    return len(failures)


def _said(variant: Variant) -> Statement:
    """What its file says of itself: which files it is an edit of."""
    inputs = [Input("video", variant.video.name, "parentOf")]
    if variant.audio:
        inputs.append(Input("audio", variant.audio.name, "componentOf"))
    texts = [variant.hook] if variant.hook else []
    return Statement(variant.name, "video/mp4", "edited", "Variant Generator", inputs=inputs, texts=texts)


def _batch(
    videos: Sequence[Path],
    audios: Sequence[Path],
    hooks: Sequence[str],
    mode: Literal["round-robin", "every"],
    limit: int | None,
    seed: int | None,
    template: str,
) -> list[Variant]:
    cells = mix(len(videos), len(audios), len(hooks), mode, limit, seed)
    parts = [
        names.Parts(
            cell.n,
            videos[cell.video].stem,
            "" if cell.audio is None else audios[cell.audio].stem,
            "" if cell.hook is None else hooks[cell.hook],
        )
        for cell in cells
    ]
    called = names.name_all(template, parts, datetime.now(UTC).date())
    return [
        Variant(
            cell.n,
            videos[cell.video],
            None if cell.audio is None else audios[cell.audio],
            None if cell.hook is None else hooks[cell.hook],
            name,
        )
        for cell, name in zip(cells, called, strict=True)
    ]


def _files(folder: Path | None, endings: tuple[str, ...]) -> list[Path]:
    if folder is None:
        return []
    found = sorted(path.absolute() for path in folder.iterdir() if path.suffix.lower() in endings and path.is_file())
    if not found:
        raise click.UsageError(f"There is nothing to use in {folder}: it needs files ending in {', '.join(endings)}.")
    return found


def _lines(file: Path | None) -> list[str]:
    if file is None:
        return []
    if file.stat().st_size > HOOKS_FILE_BYTES_MAX:
        raise click.UsageError(f"{file} is larger than {HOOKS_FILE_BYTES_MAX // 1024**2} MB. Split it.")
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise click.UsageError(f"{file} is not UTF-8 text. Save it as UTF-8.") from None
    return list(dict.fromkeys(line for line in lines if line))


def _settings(look: dict[str, Any]) -> RenderSettings:
    chosen = {name: value for name, value in look.items() if value is not None}
    # The word for "nothing" where nothing is a value, as in: shown for the whole clip.
    chosen = {name: None if value == "none" else value for name, value in chosen.items()}
    try:
        return RenderSettings(**chosen)
    except ValidationError as error:
        raise InvalidInput(sentences(error)) from None
