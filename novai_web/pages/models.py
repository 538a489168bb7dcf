"""What only models have: pictures from a ZIP to train one with, captions, trigger words."""

from flask import Blueprint, request, url_for
from flask.typing import ResponseReturnValue

from novai_web.db import transaction
from novai_web.errors import InvalidInput, NovaiError, TooLarge, UnusableMedia
from novai_web.jobs import arrivals, unpacking
from novai_web.library import editing
from novai_web.library.assets import Library
from novai_web.library.models import Asset
from novai_web.pages import answers
from novai_web.pages.library import recorded
from novai_web.pages.wording import plural
from novai_web.tools import lora_trainer
from novai_web.web import limits, receiving, who

bp = Blueprint("models", __name__)

NAMED_MAX = 5


@bp.post("/models/pictures")
@limits.uploads
@receiving.takes_files
def pictures() -> ResponseReturnValue:
    """A ZIP of pictures: they come into the library, and the trainer's form opens with them picked."""
    here, library = lora_trainer.tool.slug, Library(who.account().id)
    try:
        unpacking.check_size(receiving.announced_bytes())
        filename, finished = receiving.files()[0]
        taken = unpacking.take_pictures(library, filename, finished, who.store(), who.settings())
    except (InvalidInput, TooLarge, UnusableMedia) as refused:
        answers.toast(_sentence(refused), "failed")
        return answers.back(url_for("tools.show", slug=here))
    _say(taken)
    return answers.back(url_for("tools.show", slug=here, pictures=[picture.id for picture in taken.pictures]))


def _say(taken: unpacking.Taken) -> None:
    answers.toast(f"{plural(len(taken.pictures), 'picture')} came in, as the collection “{taken.collection.name}”.")
    for each in taken.left_out[:NAMED_MAX]:
        answers.toast(f"{each.name} was left out. {each.why}", "failed")
    if (more := len(taken.left_out) - NAMED_MAX) > 0:
        answers.toast(f"{plural(more, 'other file')} {'was' if more == 1 else 'were'} left out too.", "failed")


@bp.post("/assets/<int:asset_id>/high")
@limits.uploads
@receiving.takes_files
def high(asset_id: int) -> ResponseReturnValue:
    """The second file of a model that came from elsewhere."""
    library = Library(who.account().id)
    with transaction():
        library.find(asset_id)
    try:
        arrivals.add_high(library, asset_id, receiving.files()[0][1], who.store(), who.settings())
        answers.toast("The high-noise weights are part of it now.")
    except (InvalidInput, UnusableMedia) as refused:
        answers.toast(_sentence(refused), "failed")
    return answers.back(url_for("library.asset", asset_id=asset_id))


@bp.post("/assets/<int:asset_id>/caption")
def caption(asset_id: int) -> ResponseReturnValue:
    with transaction(), recorded(asset_id, Asset.caption) as undo:
        editing.recaption(Library(who.account().id).find(asset_id), request.form.get("caption", ""))
    answers.toast("Caption saved.", undo=undo)
    return answers.back(url_for("library.asset", asset_id=asset_id))


@bp.post("/assets/<int:asset_id>/trigger")
def trigger(asset_id: int) -> ResponseReturnValue:
    with transaction(), recorded(asset_id, Asset.media) as undo:
        editing.set_trigger(Library(who.account().id).find(asset_id), request.form.get("trigger", ""))
    answers.toast("Trigger word saved.", undo=undo)
    return answers.back(url_for("library.asset", asset_id=asset_id))


def _sentence(refused: NovaiError) -> str:
    return " ".join(refused.fields.values()) if isinstance(refused, InvalidInput) else str(refused)
