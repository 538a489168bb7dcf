"""Videos, audios, images and models over JSON."""

from datetime import date, datetime
from typing import Any

from flask import Response, jsonify, request, url_for
from pydantic import Field

from novai_web.accounts import Account
from novai_web.api.door import Door, Shape
from novai_web.db import session, transaction
from novai_web.errors import InvalidInput, NotFound
from novai_web.jobs import arrivals
from novai_web.library import editing, lineage, listing, trash, uploads
from novai_web.library.assets import Library
from novai_web.library.listing import Filter, Sort
from novai_web.library.models import Asset, Kind
from novai_web.library.paging import PAGE_SIZE, PAGE_SIZE_MAX
from novai_web.library.uploads import Announced
from novai_web.web import limits, receiving, who

door = Door("library")

PLURALS: dict[Kind, str] = {"video": "videos", "audio": "audios", "image": "images", "model": "models"}
_BIGGEST = 2**63 - 1


class AssetOut(Shape):
    """One video, audio, image or model."""

    id: int
    kind: str
    type: str
    name: str
    status: str
    error: str | None
    mime: str
    duration_seconds: float | None
    width: int | None
    height: int | None
    size_bytes: int
    sha256: str | None
    url: str = Field(description="The file; readable with the same token, in ranges too.")
    thumbnail_url: str | None
    previews: dict[str, str]
    tags: list[str]
    caption: str | None = Field(description="What a picture shows, for training models with it.")
    collection_id: int | None
    media: dict[str, Any]
    made_by_tool: str | None
    made_by_job_id: int | None
    created_at: datetime
    expires_at: datetime | None

    @classmethod
    def of(cls, asset: Asset) -> "AssetOut":
        same = {name: getattr(asset, name) for name in cls.model_fields if hasattr(asset, name)}
        shown = next((part for part in ("thumb", "poster", "waveform") if asset.has(part)), None)
        urls = {part: _url(asset, part) for part in asset.previews}
        return cls(**{**same, "url": _url(asset, "original"), "thumbnail_url": urls.get(shown or ""), "previews": urls})


class SourceOut(Shape):
    """What an asset was made from, as it was called when it was used."""

    role: str
    label: str
    sha256: str | None
    asset_id: int | None
    hook_id: int | None


class CredentialsOut(Shape):
    """What the file says of itself in its Content Credentials (C2PA)."""

    state: str = Field(description="signed; beside: in a file of their own; failed: delivered without, see `why`.")
    origin: str = Field(description="made by an AI, composite (with an AI), edited only, or computed without an AI.")
    agent: str | None = Field(None, description="The vendor and the model that made it, if one did.")
    signer: str | None = None
    kept: int = Field(0, description="How many inputs had credentials of their own, which it carries on.")
    why: str | None = None
    size_bytes: int | None = Field(None, description="Of the file beside it; its URL is in `previews`.")


class AssetDetailOut(AssetOut):
    recipe: dict[str, Any]
    credentials: CredentialsOut | None = Field(description="Of outputs of tools; null for what was uploaded.")
    made_from: list[SourceOut]
    made_into: list[int] = Field(description="The newest assets that were made from this one.")

    @classmethod
    def whole(cls, library: Library, asset: Asset) -> "AssetDetailOut":
        sources = [
            SourceOut(
                role=source.role,
                label=source.label,
                sha256=source.sha256,
                asset_id=found.id if found else None,
                hook_id=source.hook_id,
            )
            for source, found in lineage.made_from(library, asset)
        ]
        into = [made.id for made in lineage.made_into(library, asset)]
        said = asset.media.get("credentials")
        return cls(
            **AssetOut.of(asset).model_dump(),
            recipe=asset.recipe,
            credentials=CredentialsOut(**said) if said else None,
            made_from=sources,
            made_into=into,
        )


class AssetsAsked(Shape):
    q: str = Field("", max_length=200, description="Words that must all be in the name.")
    collection_id: int | None = Field(None, ge=1, le=_BIGGEST)
    type: str = Field("", max_length=20, description="source, swapped, variant, generated or diagram.")
    tag: str = Field("", max_length=200)
    tool: str = Field("", max_length=100, description="Made by this tool.")
    since: date | None = Field(None, description="Added on this day (UTC) or later.")
    until: date | None = Field(None, description="Added on this day (UTC) or earlier.")
    sort: Sort = "newest"
    cursor: str | None = Field(None, max_length=2000)
    limit: int = Field(PAGE_SIZE, ge=1, le=PAGE_SIZE_MAX)


class AssetsOut(Shape):
    items: list[AssetOut]
    next_cursor: str | None
    total: int


class FileForm(Shape):
    """What may come with a file."""

    name: str | None = Field(None, description="Shown instead of the file's own name.")
    collection_id: int | None = Field(None, description="The collection to put it into.")
    sha256: str | None = Field(None, description="Of the file, in hexadecimal; if it does not match, nothing is kept.")


class AssetChange(Shape):
    """What is left out stays as it is."""

    name: str | None = Field(None, max_length=1000)
    tags: list[str] | None = Field(None, max_length=100)
    collection_id: int | None = Field(None, ge=1, le=_BIGGEST, description="null: in none.")
    caption: str | None = Field(None, max_length=4000, description="Of an image: what it shows. Empty: nothing.")
    trigger: str | None = Field(
        None, max_length=200, description="Of a model from elsewhere: the word that calls it up."
    )


def _url(asset: Asset, part: str) -> str:
    return url_for("media.part", asset_id=asset.id, part=part)


def _find(library: Library, kind: Kind, asset_id: int) -> Asset:
    asset = library.find(asset_id)
    if asset.kind != kind:
        raise NotFound
    return asset


def _collection_id(given: str | None) -> int | None:
    """The form field `collection_id`."""
    if not given:
        return None
    if not (given.isascii() and given.isdecimal() and len(given) <= 18):
        raise InvalidInput({"collection_id": "This is not the id of a collection. Send a whole number, or nothing."})
    return int(given)


def receive(account: Account, kind: Kind) -> Response:
    """A file that came with a form, as an asset of this kind."""
    library, settings, store = Library(account.id), who.settings(), who.store()
    with transaction():
        uploads.admit(library, receiving.announced_bytes(), settings, store)
    filename, finished = receiving.files()[0]
    announced = Announced(
        size_bytes=finished.size_bytes,
        filename=filename,
        name=request.form.get("name", ""),
        kind=kind,
        collection_id=_collection_id(request.form.get("collection_id")),
        sha256=request.form.get("sha256") or None,
    )
    received = arrivals.take(library, announced, finished, store, settings)
    answer = jsonify(AssetOut.of(received.asset).model_dump(mode="json"))
    answer.status_code = 201
    if received.is_duplicate:
        answer.headers["Novai-Duplicate"] = "1"
    return answer


def _declare_reading(kind: Kind, plural: str) -> None:
    def listed(account: Account, asked: AssetsAsked) -> AssetsOut:
        """A page of them; `next_cursor` leads to the next one."""
        wanted = Filter(kind=kind, **asked.model_dump(exclude={"sort", "cursor", "limit"}))
        found = listing.listed(Library(account.id), wanted, asked.sort, asked.cursor, asked.limit)
        items = [AssetOut.of(asset) for asset in found.items]
        return AssetsOut(items=items, next_cursor=found.next_cursor, total=found.total)

    def shown(account: Account, asset_id: int) -> AssetDetailOut:
        """One of them, with its recipe and what it was made from."""
        library = Library(account.id)
        return AssetDetailOut.whole(library, _find(library, kind, asset_id))

    listed.__name__, shown.__name__ = plural, kind
    door.get(f"/{plural}", asks=AssetsAsked, gives=AssetsOut)(listed)
    door.get(f"/{plural}/<int:asset_id>", gives=AssetDetailOut)(shown)


def _declare_changing(kind: Kind, plural: str) -> None:
    @receiving.takes_files
    def received(account: Account) -> Response:
        """Send one file as multipart/form-data: `file`, and if you like `name`, `collection_id`, `sha256`."""
        return receive(account, kind)

    def changed(account: Account, asset_id: int, given: AssetChange) -> AssetOut:
        """Rename it, tag it, or move it to a collection."""
        library = Library(account.id)
        asset = _find(library, kind, asset_id)
        if given.name is not None:
            editing.rename(asset, given.name)
        if given.tags is not None:
            editing.retag(asset, given.tags)
        if given.caption is not None:
            editing.recaption(asset, given.caption)
        if given.trigger is not None:
            editing.set_trigger(asset, given.trigger)
        if "collection_id" in given.model_fields_set:
            editing.file_in(library, asset, given.collection_id)
        session.flush()
        return AssetOut.of(asset)

    received.__name__, changed.__name__ = plural, kind
    door.post(f"/{plural}", form=FileForm, gives=AssetOut, status=201, streams=True, limit=limits.uploads)(received)
    door.patch(f"/{plural}/<int:asset_id>", takes=AssetChange, gives=AssetOut)(changed)


def _declare_trash(kind: Kind, plural: str) -> None:
    def trashed(account: Account, asset_id: int) -> None:
        """Put it into the trash."""
        library = Library(account.id)
        trash.throw_away(library, editing.chosen(library, [_find(library, kind, asset_id).id]))

    def restored(account: Account, asset_id: int) -> AssetOut:
        """Take it out of the trash."""
        library = Library(account.id)
        trash.restore(library, ids=[asset_id])
        session.expire_all()
        return AssetOut.of(_find(library, kind, asset_id))

    def kept(account: Account, asset_id: int) -> AssetOut:
        """Keep an output that would expire."""
        asset = _find(Library(account.id), kind, asset_id)
        editing.keep(asset)
        return AssetOut.of(asset)

    trashed.__name__, restored.__name__, kept.__name__ = f"{kind}_trashed", f"{kind}_restored", f"{kind}_kept"
    door.delete(f"/{plural}/<int:asset_id>", status=204)(trashed)
    door.post(f"/{plural}/<int:asset_id>/restore", gives=AssetOut)(restored)
    door.post(f"/{plural}/<int:asset_id>/keep", gives=AssetOut)(kept)


for _kind, _plural in PLURALS.items():
    _declare_reading(_kind, _plural)
    _declare_changing(_kind, _plural)
    _declare_trash(_kind, _plural)
