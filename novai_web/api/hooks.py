"""Hooks over JSON, and as CSV."""

from datetime import datetime
from typing import Annotated, Literal

from flask import Response, request
from pydantic import FailFast, Field

from novai_web.accounts import Account
from novai_web.api.door import Door, Shape
from novai_web.db import session
from novai_web.errors import InvalidInput
from novai_web.library import hooks, spreadsheets, trash
from novai_web.library.assets import Library
from novai_web.library.hooks import Added
from novai_web.library.paging import PAGE_SIZE_MAX

door = Door("hooks")


class HookOut(Shape):
    id: int
    text: str
    category: str
    created_at: datetime
    updated_at: datetime


class HooksAsked(Shape):
    q: str = Field("", max_length=200, description="Words that must all be in the text.")
    category: str | None = Field(None, max_length=200)
    sort: Literal["newest", "oldest", "name"] = "newest"
    cursor: str | None = Field(None, max_length=2000)
    limit: int = Field(hooks.HOOKS_A_PAGE, ge=1, le=PAGE_SIZE_MAX)


class HooksOut(Shape):
    items: list[HookOut]
    next_cursor: str | None
    total: int


class HookGiven(Shape):
    text: str
    category: str = ""


class HookChange(Shape):
    """What is left out stays as it is."""

    text: str | None = None
    category: str | None = None


class HooksGiven(Shape):
    texts: Annotated[list[str], FailFast()] = Field(description=f"At most {hooks.HOOKS_A_REQUEST_MAX}.")
    category: str = ""


class HooksAdded(Shape):
    """Every hook of the request, in its order and once each; `existing` of them were there already."""

    items: list[HookOut]
    added: int
    existing: int

    @classmethod
    def of(cls, added: Added) -> "HooksAdded":
        items = [HookOut.model_validate(hook) for hook in added.hooks]
        return cls(items=items, added=added.fresh, existing=added.known)


class CategoryOut(Shape):
    name: str
    count: int


class CategoriesOut(Shape):
    items: list[CategoryOut]


class CategoryChange(Shape):
    category: str
    name: str


class CategoryChanged(Shape):
    changed: int


@door.get("/hooks", asks=HooksAsked, gives=HooksOut)
def hooks_listed(account: Account, asked: HooksAsked) -> HooksOut:
    """A page of them; `next_cursor` leads to the next one."""
    wanted = hooks.Filter(asked.q, asked.category)
    found = hooks.listed(Library(account.id), wanted, asked.sort, asked.cursor, asked.limit)
    items = [HookOut.model_validate(hook) for hook in found.items]
    return HooksOut(items=items, next_cursor=found.next_cursor, total=found.total)


@door.post("/hooks", takes=HookGiven, gives=HookOut, status=201)
def hook_added(account: Account, given: HookGiven) -> HookOut:
    """Add one. One that is there already is answered, not doubled."""
    try:
        added = hooks.add(Library(account.id), [given.text], given.category)
    except InvalidInput as wrong:
        raise InvalidInput({name.replace("texts", "text"): said for name, said in wrong.fields.items()}) from None
    return HookOut.model_validate(added.hooks[0])


@door.post("/hooks/bulk", takes=HooksGiven, gives=HooksAdded, status=201)
def hooks_added(account: Account, given: HooksGiven) -> HooksAdded:
    """Add many to one category."""
    return HooksAdded.of(hooks.add(Library(account.id), given.texts, given.category))


@door.get("/hooks/categories", gives=CategoriesOut)
def categories(account: Account) -> CategoriesOut:
    """The categories with the number of their hooks; the empty name is for those without one."""
    found = hooks.categories(Library(account.id))
    return CategoriesOut(items=[CategoryOut(name=name, count=count) for name, count in found])


@door.patch("/hooks/categories", takes=CategoryChange, gives=CategoryChanged)
def category_renamed(account: Account, given: CategoryChange) -> CategoryChanged:
    """Call a category something else. If there is one of that name, the two become one."""
    return CategoryChanged(changed=hooks.rename_category(Library(account.id), given.category, given.name))


@door.get("/hooks/csv", media_type="text/csv")
def hooks_as_csv(account: Account) -> Response:
    """All of them as CSV, safe to open in a spreadsheet."""
    content = "".join(spreadsheets.written(Library(account.id)))
    headers = {"Content-Disposition": "attachment; filename=hooks.csv"}
    return Response(content, content_type="text/csv; charset=utf-8", headers=headers)


@door.post("/hooks/csv", gives=HooksAdded, status=201)
def hooks_from_csv(account: Account) -> HooksAdded:
    """Add the hooks of a CSV file, all or none: as the body (text/csv), or as the form field `file`."""
    sent = request.files.get("file")
    content = sent.read() if sent else request.get_data() if request.mimetype == "text/csv" else b""
    if not content:
        raise InvalidInput({"file": "Send the CSV as the body (text/csv) or as the form field “file”."})
    return HooksAdded.of(spreadsheets.load(Library(account.id), content))


@door.get("/hooks/<int:hook_id>", gives=HookOut)
def hook(account: Account, hook_id: int) -> HookOut:
    """One of them."""
    return HookOut.model_validate(Library(account.id).find_hook(hook_id))


@door.patch("/hooks/<int:hook_id>", takes=HookChange, gives=HookOut)
def hook_changed(account: Account, hook_id: int, given: HookChange) -> HookOut:
    """Change its text or its category."""
    found = Library(account.id).find_hook(hook_id)
    hooks.edit(found, text=given.text, category=given.category)
    session.refresh(found)
    return HookOut.model_validate(found)


@door.delete("/hooks/<int:hook_id>", status=204)
def hook_trashed(account: Account, hook_id: int) -> None:
    """Put it into the trash."""
    library = Library(account.id)
    trash.throw_away_hooks(library, hooks.chosen(library, [library.find_hook(hook_id).id]))


@door.post("/hooks/<int:hook_id>/restore", gives=HookOut)
def hook_restored(account: Account, hook_id: int) -> HookOut:
    """Take it out of the trash."""
    library = Library(account.id)
    trash.restore_hooks(library, ids=[hook_id])
    return HookOut.model_validate(library.find_hook(hook_id))
