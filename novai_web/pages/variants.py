"""What the variant builder shows while it is filled in: the live frame, the contact sheet, the cells."""

import base64
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

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
from novai_web.tools.variants.form import VariantsInput, all_cells, names_of
from novai_web.web import who

bp = Blueprint("variants", __name__, url_prefix="/tools/variants")

SHEET_MAX = 24
CELLS_MAX = 300
# What a preview needs: the frame of a poster, not of the film.
FRAME_PIXELS = 640
SAMPLE_TEXT = "Your hook here"


@bp.get("/frame")
def frame() -> ResponseReturnValue:
    """The first video's poster with one hook, drawn by the code that renders."""
    account = who.account()
    library = Library(account.id)
    video = answers.number("video")
    hook = answers.number("hook")
    text = library.find_hook(hook).text if hook else request.args.get("text", "")[:500] or SAMPLE_TEXT
    asset = library.find(video) if video else None
    picture = _draw([text], _style(forms.read(VariantsInput, request.args)), asset)[0]
    return Response(picture, mimetype="image/webp", headers={"Cache-Control": "private, max-age=300"})


@bp.post("/sheet")
def sheet() -> ResponseReturnValue:
    """Each hook as it will look on the first video."""
    given = _given(who.account())
    shown = given.hooks[:SHEET_MAX]
    pictures = _draw([hook.text for hook in shown], style_of(given), given.videos[0])
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
    called = names_of(shown, given.name_template)
    rows = [
        {
            "n": cell.n,
            "key": cell.key,
            "video": cell.video,
            "audio": cell.audio,
            "hook": cell.hook,
            "name": name,
            "is_out": cell.key in out,
        }
        for cell, name in zip(shown, called, strict=True)
    ]
    return render_template("tools/_cells.html", cells=rows, more=len(everything) - len(shown))


def _given(account: Account) -> VariantsInput:
    return VariantsInput.read(forms.read(VariantsInput, request.form), reading(account, who.settings()))


def _style(raw: dict[str, Any]) -> ffmpeg.HookStyle:
    try:
        return ffmpeg.HookStyle(**{name: raw[name] for name in ffmpeg.HookStyle.model_fields if name in raw})
    except ValidationError as error:
        raise InvalidInput(sentences(error)) from None


def _draw(texts: Sequence[str], style: ffmpeg.HookStyle, video: Asset | None) -> list[bytes]:
    width, height = _size(video)
    with TemporaryDirectory(dir=_scratch()) as scratch:
        folder = Path(scratch)
        background = None
        if video and video.has("poster"):
            background = folder / f"poster{Path(video.previews['poster']).suffix}"
            who.store().fetch(video.previews["poster"], background)
        drawn = ffmpeg.contact_sheet(
            list(texts), style, width, height, folder, ffmpeg.Limits.of(who.settings()), background
        )
        return [path.read_bytes() for path in drawn]


def _size(video: Asset | None) -> tuple[int, int]:
    """The video's proportions, its longer side as long as a preview's."""
    width, height = (video.width or 9, video.height or 16) if video else (9, 16)
    scale = FRAME_PIXELS / max(width, height)
    return max(2, round(width * scale)), max(2, round(height * scale))


def _scratch() -> Path:
    folder = who.settings().scratch_folder
    folder.mkdir(parents=True, exist_ok=True)
    return folder
