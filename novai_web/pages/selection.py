"""What a bulk action is meant for: the ids that were ticked, or everything that matches the list's filter."""

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Select
from werkzeug.datastructures import MultiDict

from novai_web.errors import InvalidInput
from novai_web.library import editing, hooks
from novai_web.library.assets import Library
from novai_web.library.listing import Filter
from novai_web.library.models import KINDS, Asset, Hook, Kind
from novai_web.pages import answers

IDS_MAX = 10_000


def kind_of(text: str) -> Kind:
    """Raises InvalidInput."""
    for kind in KINDS:
        if text == kind:
            return kind
    raise InvalidInput({"kind": f"Choose one of: {', '.join(KINDS)}."})


def filter_of(kind: Kind, given: MultiDict[str, str]) -> Filter:
    """The filter that a list's address or its selection form carries."""
    return Filter(
        kind=kind,
        q=given.get("q", ""),
        collection_id=optional_id(given.get("collection", "")),
        type=given.get("type", ""),
        tag=given.get("tag", ""),
        tool=given.get("tool", ""),
        since=_since(given.get("days", "")),
    )


def _since(days: str) -> date | None:
    """The first day of the last so many."""
    if not (days.isascii() and days.isdecimal() and len(days) <= 4):
        return None
    return datetime.now(UTC).date() - timedelta(days=max(0, int(days) - 1))


def assets(library: Library, form: MultiDict[str, str]) -> Select[tuple[Asset]]:
    """The query of the selected assets. Raises InvalidInput when nothing is selected."""
    if form.get("all"):
        return filter_of(kind_of(form.get("kind", "")), form).of(library)
    return editing.chosen(library, _ticked(form))


def these_hooks(library: Library, form: MultiDict[str, str]) -> Select[tuple[Hook]]:
    """The query of the selected hooks. Raises InvalidInput when nothing is selected."""
    if form.get("all"):
        return hooks.Filter(form.get("q", ""), form.get("in_category") or None).of(library)
    return hooks.chosen(library, _ticked(form))


def ids(form: MultiDict[str, str], name: str = "ids") -> list[int]:
    found = answers.numbers(",".join(form.getlist(name)))
    if len(found) > IDS_MAX:
        raise InvalidInput({name: f"At most {IDS_MAX:,} at once."})
    return found


def optional_id(text: str) -> int | None:
    found = answers.numbers(text)
    return found[0] if found else None


def _ticked(form: MultiDict[str, str]) -> list[int]:
    found = ids(form)
    if not found:
        raise InvalidInput({"ids": "Nothing is selected."}, "Nothing is selected. Tick something first.")
    return found
