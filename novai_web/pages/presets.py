"""Presets of a tool's form: saved under a name, applied by the page, deleted."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from novai_web import tools
from novai_web.db import transaction
from novai_web.library import presets
from novai_web.library.assets import Library
from novai_web.pages import forms
from novai_web.tools import Tool
from novai_web.web import who

bp = Blueprint("presets", __name__)

NOT_SAVED = ("asset", "assets", "hooks", "consent", "hidden")


@bp.post("/tools/<slug>/presets")
def save(slug: str) -> ResponseReturnValue:
    """Keep how the form is set; what is picked from the library is not part of that."""
    tool, library = tools.offered(slug, who.settings()), Library(who.account().id)
    picked = {field.name for field in forms.of(tool.input) if field.widget in NOT_SAVED}
    values = {name: value for name, value in forms.read(tool.input, request.form).items() if name not in picked}
    with transaction():
        presets.save(library, tool.slug, request.form.get("preset_name", ""), values)
    return _list(tool, library)


@bp.post("/presets/<int:preset_id>/delete")
def delete(preset_id: int) -> ResponseReturnValue:
    library = Library(who.account().id)
    with transaction():
        preset = presets.find(library, preset_id)
        tool = tools.find(preset.tool)
        presets.delete(preset)
    return _list(tool, library)


def _list(tool: Tool, library: Library) -> str:
    return render_template("tools/_presets.html", tool=tool, presets=presets.listed(library, tool.slug))
