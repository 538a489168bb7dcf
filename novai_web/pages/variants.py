"""What the variant builder shows while it is filled in: the live frame, the contact sheet, the cells."""

import base64
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from flask import Blueprint, Response, render_template, request
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from novai_web.accounts import Account
from novai_web.engines import ffmpeg
from novai_web.errors import InvalidInput
from novai_web.jobs.submitting import reading
from novai_web.library.assets import Library
from novai_web.library.models import Asset
from novai_web.pages import answers, forms
from novai_web.tools.sentences import sentences
from novai_web.tools.variants import style_of
from novai_web.tools.variants.form import Variant, VariantsInput, all_cells, names_of
from novai_web.web import who

bp = Blueprint("variants", __name__, url_prefix="/tools/variants")

SHEET_MAX = 24
CELLS_MAX = 300
# What a preview needs: the frame of a poster, not of the film.
FRAME_PIXELS = 640
SAMPLE_TEXT = "Your hook here"

Part = TypeVar("Part", ffmpeg.HookStyle, ffmpeg.Framing)


@bp.get("/frame")
def frame() -> ResponseReturnValue:
    """The first video's poster with one hook, drawn by the code that renders."""
    account = who.account()
    library = Library(account.id)
    video = answers.number("video")
    hook = answers.number("hook")
    text = library.find_hook(hook).text if hook else request.args.get("text", "")[:500] or SAMPLE_TEXT
    asset = library.find(video) if video else None
    raw = forms.read(VariantsInput, request.args)
    picture = _draw([text], _checked(ffmpeg.HookStyle, raw), asset, _checked(ffmpeg.Framing, raw))[0]
    return Response(picture, mimetype="image/webp", headers={"Cache-Control": "private, max-age=300"})


@bp.post("/sheet")
def sheet() -> ResponseReturnValue:
    """Each hook as it will look on the first video."""
    given = _given(who.account())
    shown = given.hooks[:SHEET_MAX]
    if not shown:
        return render_template("tools/_sheet.html", sheet=[], more=0)
    framing = ffmpeg.Framing(frame=given.frame, frame_fill=given.frame_fill)
    pictures = _draw([hook.text for hook in shown], style_of(given), given.videos[0], framing)
    sources = [f"data:image/webp;base64,{base64.b64encode(picture).decode()}" for picture in pictures]
    return render_template(
        "tools/_sheet.html", sheet=list(zip(shown, sources, strict=True)), more=len(given.hooks) - len(shown)
    )


@bp.post("/cells")
def cells() -> ResponseReturnValue:
    """The variants that would be made, each of which can be crossed out."""
    given = _given(who.account())
    everything = all_cells(given, who.settings())
    out = set(given.without)
    shown = everything[:CELLS_MAX]
    called = _names(shown, out, given.name_template)
    rows = [
        {
            "n": cell.n,
            "key": cell.key,
            "video": cell.video,
            "audio": cell.audio,
            "hook": cell.hook,
            "name": called.get(cell.key, ""),
            "is_out": cell.key in out,
        }
        for cell in shown
    ]
    return render_template("tools/_cells.html", cells=rows, more=len(everything) - len(shown))


def _names(shown: Sequence[Variant], out: Collection[str], template: str) -> dict[str, str]:
    """What each file will be called, by cell: what is crossed out has no name and no number."""
    made = [cell for cell in shown if cell.key not in out]
    numbered = [replace(cell, n=n) for n, cell in enumerate(made)]
    return {cell.key: name for cell, name in zip(made, names_of(numbered, template), strict=True)}


def _given(account: Account) -> VariantsInput:
    return VariantsInput.read(forms.read(VariantsInput, request.form), reading(account, who.settings()))


def _checked(model: type[Part], raw: dict[str, Any]) -> Part:
    """Those fields of the form that this model has."""
    try:
        return model(**{name: raw[name] for name in model.model_fields if name in raw})
    except ValidationError as error:
        raise InvalidInput(sentences(error)) from None


def _draw(texts: Sequence[str], style: ffmpeg.HookStyle, video: Asset | None, framing: ffmpeg.Framing) -> list[bytes]:
    width, height = _size(video, framing)
    with TemporaryDirectory(dir=_scratch()) as scratch:
        folder = Path(scratch)
        background = None
        if video and video.has("poster"):
            background = folder / f"poster{Path(video.previews['poster']).suffix}"
            who.store().fetch(video.previews["poster"], background)
        drawn = ffmpeg.contact_sheet(
            list(texts), style, width, height, folder, ffmpeg.Limits.of(who.settings()), background, framing.frame_fill
        )
        return [path.read_bytes() for path in drawn]


def _size(video: Asset | None, framing: ffmpeg.Framing) -> tuple[int, int]:
    """The proportions that the variant will have, its longer side as long as a preview's."""
    source = (video.width or 720, video.height or 1280) if video else (720, 1280)
    width, height = ffmpeg.target_size(*source, framing.frame)
    scale = FRAME_PIXELS / max(width, height)
    return max(2, round(width * scale)), max(2, round(height * scale))


def _scratch() -> Path:
    folder = who.settings().scratch_folder
    folder.mkdir(parents=True, exist_ok=True)
    return folder
