"""The trash over JSON: what is in it, and how it is emptied. Each thing is restored where it came from."""

from pydantic import Field

from novai_web.accounts import Account
from novai_web.api.door import Door, Shape
from novai_web.api.hooks import HookOut
from novai_web.api.library import AssetOut
from novai_web.library import trash
from novai_web.library.assets import Library
from novai_web.library.paging import PAGE_SIZE, PAGE_SIZE_MAX

door = Door("trash")


class TrashAsked(Shape):
    cursor: str | None = Field(None, max_length=2000)
    limit: int = Field(PAGE_SIZE, ge=1, le=PAGE_SIZE_MAX)


class TrashOut(Shape):
    items: list[AssetOut]
    next_cursor: str | None
    total: int
    hooks: list[HookOut] = Field(description=f"The last {trash.HOOKS_SHOWN_MAX} hooks thrown away.")


class Emptied(Shape):
    deleted: int


@door.get("/trash", asks=TrashAsked, gives=TrashOut)
def trash_listed(account: Account, asked: TrashAsked) -> TrashOut:
    """What is in it, last thrown away first."""
    library = Library(account.id)
    found = trash.listed(library, asked.cursor, asked.limit)
    return TrashOut(
        items=[AssetOut.of(asset) for asset in found.items],
        next_cursor=found.next_cursor,
        total=found.total,
        hooks=[HookOut.model_validate(hook) for hook in trash.listed_hooks(library)],
    )


@door.delete("/trash", gives=Emptied)
def trash_emptied(account: Account) -> Emptied:
    """Delete all that is in it, for good."""
    return Emptied(deleted=trash.empty(Library(account.id)))
