"""What a person keeps: assets, hooks, collections, and where assets came from."""

from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import CheckConstraint, Float, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from novai_web.db import Base, Id, Json
from novai_web.engines.ffmpeg.media import POSTER_SIDE, THUMB_SIDE
from novai_web.library import words

Kind = Literal["video", "audio", "image", "model"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# The kinds that collections hold.
COLLECTED: tuple[Kind, ...] = ("video", "audio", "image")


def _among(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


_LIVE = text("trashed_at IS NULL AND deleting_at IS NULL")


class Collection(Base):
    """A named set of assets of one kind."""

    __tablename__ = "collections"
    __table_args__ = (
        Index("uq_collections_name", "account_id", "kind", func.lower(text("name")), unique=True),
        CheckConstraint(_among("kind", COLLECTED), name="kind"),
    )

    id: Mapped[Id]
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    kind: Mapped[str]
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Asset(Base):
    """One video, audio, image or model. `processing` until its file was looked at, then `ready` or `failed`."""

    __tablename__ = "assets"
    __table_args__ = (
        CheckConstraint(_among("kind", KINDS), name="kind"),
        CheckConstraint("type IN ('source', 'swapped', 'variant', 'generated', 'diagram')", name="type"),
        CheckConstraint("status IN ('processing', 'ready', 'failed')", name="status"),
        # The same bytes uploaded twice by one person are one asset.
        Index(
            "uq_assets_source_sha256",
            "account_id",
            "sha256",
            unique=True,
            postgresql_where=text("type = 'source' AND status <> 'failed' AND deleting_at IS NULL"),
        ),
        # `id + 0` and not `id`: for an order by `id` alone the planner prefers the primary key, and then walks over
        # everything that others have added since.
        Index("ix_assets_newest", "account_id", "kind", text("(id + 0)"), postgresql_where=_LIVE),
        # Every name of a library beside each other: a search, and a count, never reads the table.
        Index(
            "ix_assets_search",
            "account_id",
            "kind",
            "id",
            postgresql_include=["type", "name"],
            postgresql_where=text("trashed_at IS NULL AND deleting_at IS NULL AND expires_at IS NULL"),
        ),
        Index("ix_assets_name", "account_id", "kind", func.lower(text("name")), "id", postgresql_where=_LIVE),
        Index("ix_assets_size", "account_id", "kind", "size_bytes", "id", postgresql_where=_LIVE),
        Index(
            "ix_assets_duration",
            "account_id",
            "kind",
            text("coalesce(duration_seconds, -1)"),
            "id",
            postgresql_where=_LIVE,
        ),
        Index(
            "ix_assets_shelf",
            "account_id",
            "collection_id",
            text("(id + 0)"),
            postgresql_where=text(
                "trashed_at IS NULL AND deleting_at IS NULL AND expires_at IS NULL AND collection_id IS NOT NULL"
            ),
        ),
        Index(
            "ix_assets_room",
            "account_id",
            postgresql_include=["size_bytes"],
            postgresql_where=text("deleting_at IS NULL"),
        ),
        Index("ix_assets_trash", "account_id", "trashed_at", postgresql_where=text("trashed_at IS NOT NULL")),
        Index("ix_assets_expiry", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
        Index("ix_assets_deleting", "deleting_at", postgresql_where=text("deleting_at IS NOT NULL")),
        Index("ix_assets_tags", "tags", postgresql_using="gin"),
        Index(
            "ix_assets_consent",
            "account_id",
            text("((recipe -> 'consent') ->> 'id')"),
            postgresql_where=text("recipe ? 'consent'"),
        ),
    )

    id: Mapped[Id]
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    kind: Mapped[str]
    type: Mapped[str] = mapped_column(default="source")
    name: Mapped[str]
    status: Mapped[str] = mapped_column(default="processing")
    error: Mapped[str | None]
    collection_id: Mapped[int | None] = mapped_column(ForeignKey("collections.id", ondelete="SET NULL"), index=True)
    tags: Mapped[list[str]] = mapped_column(server_default=text("'{}'"), default=list)
    caption: Mapped[str | None]  # what a picture shows, in words that a model can be trained with
    store_key: Mapped[str | None]
    previews: Mapped[Json] = mapped_column(server_default=text("'{}'"), default=dict)
    mime: Mapped[str]
    sha256: Mapped[str | None]
    size_bytes: Mapped[int] = mapped_column(default=0)
    media: Mapped[Json] = mapped_column(server_default=text("'{}'"), default=dict)
    duration_seconds: Mapped[float | None] = mapped_column(Float)
    width: Mapped[int | None]
    height: Mapped[int | None]
    made_by_job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), index=True)
    made_by_tool: Mapped[str | None]
    recipe: Mapped[Json] = mapped_column(server_default=text("'{}'"), default=dict)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]
    trashed_at: Mapped[datetime | None]
    deleting_at: Mapped[datetime | None]

    collection: Mapped[Collection | None] = relationship(lazy="raise_on_sql")

    @property
    def is_ready(self) -> bool:
        return self.status == "ready"

    @property
    def is_processing(self) -> bool:
        return self.status == "processing"

    @property
    def extension(self) -> str:
        """With its dot, as the file's bytes say; empty while that is not known."""
        return str(self.media.get("extension", ""))

    @property
    def file_name(self) -> str:
        """What a download is called: a name that every file system takes, with the ending its bytes deserve."""
        stem = self.name[: -len(self.extension)] if self.name.lower().endswith(self.extension or " ") else self.name
        return f"{words.file_name(stem)}{self.extension}"

    def file_name_of(self, part: str) -> str:
        """What a download of one of its files is called: a model has more than one that is worth having."""
        if part == "credentials":
            return f"{self.file_name}.c2pa"
        if part not in ("high", "config") or not self.has(part):
            return self.file_name
        ending = str(self.previews[part]).rpartition(".")[2]
        return f"{words.file_name(self.name)} {part}.{ending}"

    @property
    def is_sandbox(self) -> bool:
        """Made in the sandbox, and not by the vendor whose part it plays."""
        vendor = self.recipe.get("vendor")
        return isinstance(vendor, dict) and vendor.get("sandbox") is True

    def has(self, part: str) -> bool:
        return part in self.previews

    def size_of(self, part: Literal["poster", "thumb"]) -> tuple[int, int]:
        """Width and height of a preview, as it was fitted into its square; of one that nobody measured, the square."""
        side = POSTER_SIDE if part == "poster" else THUMB_SIDE
        width, height = self.width or side, self.height or side
        scale = min(1.0, side / max(width, height))
        return max(1, int(width * scale)), max(1, int(height * scale))


class Sent(Base):
    """Where a vendor keeps what it was sent of one file of an asset, so that it is not sent for every run anew."""

    __tablename__ = "sent_files"

    asset_id: Mapped[int] = mapped_column(ForeignKey("assets.id", ondelete="CASCADE"), primary_key=True)
    part: Mapped[str] = mapped_column(primary_key=True)
    vendor: Mapped[str] = mapped_column(primary_key=True)
    url: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=func.now())


class Source(Base):
    """One line of lineage: `asset_id` was made from `source_id`, or from the hook whose text is kept here."""

    __tablename__ = "asset_sources"
    __table_args__ = (Index("uq_asset_sources", "asset_id", "source_id", "role", unique=True),)

    id: Mapped[Id]
    asset_id: Mapped[int] = mapped_column(ForeignKey("assets.id", ondelete="CASCADE"))
    source_id: Mapped[int | None] = mapped_column(ForeignKey("assets.id", ondelete="SET NULL"), index=True)
    hook_id: Mapped[int | None] = mapped_column(ForeignKey("hooks.id", ondelete="SET NULL"), index=True)
    role: Mapped[str]
    # What the source was called and contained when it was used, so that a recipe outlives it.
    label: Mapped[str]
    sha256: Mapped[str | None]


class Hook(Base):
    """A short text shown on a video."""

    __tablename__ = "hooks"
    __table_args__ = (
        Index(
            "uq_hooks_text",
            "account_id",
            "category",
            func.md5(text("text")),
            unique=True,
            postgresql_where=text("trashed_at IS NULL"),
        ),
        Index("ix_hooks_list", "account_id", "id", postgresql_where=text("trashed_at IS NULL")),
    )

    id: Mapped[Id]
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    text: Mapped[str]
    category: Mapped[str] = mapped_column(server_default="", default="")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    trashed_at: Mapped[datetime | None]


class Upload(Base):
    """A file on its way in. The offset is the size of the partial file, never a column."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str]
    kind: Mapped[str | None]
    collection_id: Mapped[int | None] = mapped_column(ForeignKey("collections.id", ondelete="SET NULL"))
    size_bytes: Mapped[int]
    sha256: Mapped[str | None]
    # The id its asset will have, so that the file can be stored under it before the asset exists.
    reserved_id: Mapped[int | None]
    asset_id: Mapped[int | None] = mapped_column(ForeignKey("assets.id", ondelete="SET NULL"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(index=True)
    finished_at: Mapped[datetime | None]


class Preset(Base):
    """Saved values of a tool's form, under a name."""

    __tablename__ = "presets"
    __table_args__ = (Index("uq_presets_name", "account_id", "tool", func.lower(text("name")), unique=True),)

    id: Mapped[Id]
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    tool: Mapped[str]
    name: Mapped[str]
    values: Mapped[Json]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Undo(Base):
    """What a change of somebody's library replaced, for as long as it can be taken back."""

    __tablename__ = "undos"

    id: Mapped[Id]
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    changes: Mapped[Json]
    made_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    taken_back_at: Mapped[datetime | None]
