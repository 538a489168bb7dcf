"""Presets of a tool's form: saved under a name, applied by the page, deleted and taken back."""

from flask import Blueprint, Response, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from novai_web import tools
from novai_web.db import transaction
from novai_web.library import presets, undoing
from novai_web.library.assets import Library
from novai_web.library.models import Preset
from novai_web.pages import forms
from novai_web.pages.tools import last_settings
from novai_web.tools import Tool
from novai_web.web import who

bp = Blueprint("presets", __name__)


@bp.post("/tools/<slug>/presets")
def save(slug: str) -> ResponseReturnValue:
    """Keep how the form is set; what is picked from the library is not part of that."""
    tool, library = tools.offered(slug, who.settings()), Library(who.account().id)
    names = set(forms.settings_of(tool.input))
    values = {name: value for name, value in forms.read(tool.input, request.form).items() if name in names}
    with transaction():
        presets.save(library, tool.slug, request.form.get("preset_name", ""), values)
    return _list(tool)


@bp.post("/presets/<int:preset_id>/delete")
def delete(preset_id: int) -> ResponseReturnValue:
    """The presets that are left; the header says where this is taken back."""
    library = Library(who.account().id)
    chosen = select(Preset).where(Preset.account_id == library.account_id, Preset.id == preset_id)
    with transaction(), undoing.recorded(library, undoing.whole(chosen)) as undo:
        preset = presets.find(library, preset_id)
        tool = tools.find(preset.tool)
        presets.delete(preset)
    answer = _list(tool)
    if undo.id:
        answer.headers["Novai-Undo"] = url_for("presets.take_back", slug=tool.slug, undo_id=undo.id)
    return answer


@bp.post("/tools/<slug>/presets/undo/<int:undo_id>")
def take_back(slug: str, undo_id: int) -> ResponseReturnValue:
    """Undo, answered with the presets, so that a half-filled form stays as it is."""
    tool = tools.offered(slug, who.settings())
    with transaction():
        undoing.take_back(Library(who.account().id), undo_id)
    return _list(tool)


def _list(tool: Tool) -> Response:
    account = who.account()
    kept = presets.listed(Library(account.id), tool.slug)
    return make_response(
        render_template("tools/_presets.html", tool=tool, presets=kept, last=last_settings(tool, account))
    )
