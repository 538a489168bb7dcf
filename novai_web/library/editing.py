"""Changing what an asset is called, tagged and filed as, and keeping it for good."""

import re
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, func, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from novai_web.db import session
from novai_web.errors import InvalidInput
from novai_web.library import words
from novai_web.library.assets import Library
from novai_web.library.models import Asset, Collection

CAPTION_CHARACTERS_MAX = 1000
TRIGGER = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_-]{2,40}")
NO_TRIGGER = "Write one word of 2 to 40 letters, digits, - and _, with a letter in it."


def rename(asset: Asset, name: str) -> None:
    """Raises InvalidInput when nothing readable is left of `name`."""
    clean = words.name(name)
    if not clean:
        raise InvalidInput({"name": "Give it a name of at least one visible character."})
    asset.name = clean


def retag(asset: Asset, tags: Sequence[str]) -> None:
    """Replace the tags of one asset."""
    asset.tags = words.tags(list(tags))


def recaption(asset: Asset, caption: str) -> None:
    """Say what a picture shows, or nothing. Raises InvalidInput for what is no picture, and for too long a text."""
    if asset.kind != "image":
        raise InvalidInput({"caption": "Only pictures have captions. Leave it out here."})
    clean = words.plain(caption)
    if len(clean) > CAPTION_CHARACTERS_MAX:
        raise InvalidInput({"caption": f"Write at most {CAPTION_CHARACTERS_MAX:,} characters."})
    asset.caption = clean if words.is_visible(clean) else None


def set_trigger(asset: Asset, trigger: str) -> None:
    """Say which word calls up a model that came from elsewhere, or none. Raises InvalidInput."""
    if asset.kind != "model" or asset.type != "source":
        raise InvalidInput({"trigger": "Only a model that came from elsewhere can be told its trigger word."})
    clean = words.plain(trigger)
    if clean and not TRIGGER.fullmatch(clean):
        raise InvalidInput({"trigger": NO_TRIGGER})
    asset.media = asset.media | {"trigger": clean}


def keep(asset: Asset) -> None:
    """Keep an output that would have expired."""
    asset.expires_at = None


def move(library: Library, chosen: Select[tuple[Asset]], collection: Collection | None) -> int:
    """File the chosen assets in a collection of their kind, or in none; how many were moved."""
    if collection is not None:
        chosen = chosen.where(Asset.kind == collection.kind)
    return _change(library, chosen, collection_id=collection.id if collection else None)


def add_tag(library: Library, chosen: Select[tuple[Asset]], tag: str) -> int:
    """Add one tag to the chosen assets; how many have it now. Raises InvalidInput."""
    clean = words.tags([tag])
    if not clean:
        raise InvalidInput({"tag": "Type a tag of at least one visible character."})
    return _change(
        library,
        chosen.where(func.cardinality(Asset.tags) < words.TAGS_MAX),
        tags=func.array_append(func.array_remove(Asset.tags, clean[0]), literal(clean[0], Text), type_=ARRAY(Text)),
    )


def chosen(library: Library, ids: Sequence[int]) -> Select[tuple[Asset]]:
    """Exactly these assets of the library; the ids of others are no part of it."""
    return library.assets().where(Asset.id.in_(ids))


def collection_for(library: Library, collection_id: int, field: str = "collection_id") -> Collection:
    """A collection that somebody names in a form. Raises InvalidInput, also for another's."""
    found = session.scalar(
        select(Collection).where(Collection.account_id == library.account_id, Collection.id == collection_id)
    )
    if found is None:
        raise InvalidInput({field: "This collection is not there any more. Choose another."})
    return found


def file_in(library: Library, asset: Asset, collection_id: int | None) -> None:
    """Put one asset into a collection of its kind, or into none. Raises InvalidInput."""
    if collection_id is None:
        asset.collection_id = None
        return
    collection = collection_for(library, collection_id)
    if collection.kind != asset.kind:
        raise InvalidInput({"collection_id": f"This collection holds {collection.kind}s. Choose one of {asset.kind}s."})
    asset.collection_id = collection.id


def _change(library: Library, chosen: Select[tuple[Asset]], **values: object) -> int:
    ids: ColumnElement[int] = chosen.with_only_columns(Asset.id).scalar_subquery()
    changed = session.execute(
        update(Asset)
        .where(Asset.account_id == library.account_id, Asset.id.in_(ids))
        .values(**values)
        .returning(Asset.id)
        .execution_options(synchronize_session=False)
    )
    return len(changed.all())
