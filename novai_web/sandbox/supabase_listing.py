"""The two ways in which the stand-in for Supabase Storage lists a bucket."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from novai_web.sandbox.supabase_access import invalid
from novai_web.sandbox.supabase_objects import Objects, shown

_COLUMNS = ("name", "updated_at", "created_at", "last_accessed_at")
_FOLDER = dict.fromkeys(("id", "updated_at", "created_at", "last_accessed_at", "metadata"))
PAGE = 100
PAGE_BY_CURSOR = 1000


def folder(objects: Objects, bucket: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """One folder: its objects by their last name, its folders with nothing but a name."""
    prefix = str(asked.get("prefix") or "")
    prefix = f"{prefix.rstrip('/')}/" if prefix else ""
    entries: dict[str, dict[str, Any]] = {}
    for row in objects.below(bucket, prefix):
        name, slash, _ = row["name"].removeprefix(prefix).partition("/")
        entries[name] = {"name": name, **_FOLDER} if slash else {**shown(row), "name": name}
    search = str(asked.get("search") or "").lower()
    found = [entry for entry in entries.values() if search in entry["name"].lower()]
    sort = asked.get("sortBy") or {}
    column = sort.get("column", "name")
    if column not in _COLUMNS:
        raise invalid("body/sortBy/column must be equal to one of the allowed values")
    found.sort(key=lambda entry: entry[column] or "", reverse=sort.get("order") == "desc")
    start = int(asked.get("offset") or 0)
    return found[start : start + int(asked.get("limit") or PAGE)]


def page(objects: Objects, bucket: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Everything that begins with the prefix, or with a delimiter one folder of it, page by page."""
    prefix, limit = str(asked.get("prefix") or ""), int(asked.get("limit") or PAGE_BY_CURSOR)
    after = urlsafe_b64decode(str(asked["cursor"])).decode() if asked.get("cursor") else ""
    entries: dict[str, dict[str, Any] | None] = {}
    for row in objects.below(bucket, prefix):
        head, slash, _ = row["name"].removeprefix(prefix).partition("/")
        if asked.get("with_delimiter") and slash:
            entries[f"{prefix}{head}/"] = None
        else:
            entries[row["name"]] = shown(row)
    names = sorted(name for name in entries if name > after)
    here = names[:limit]
    more = len(names) > limit
    answer = {
        "hasNext": more,
        "folders": [{"name": name, "key": name.rstrip("/")} for name in here if entries[name] is None],
        "objects": [{**entry, "key": name} for name in here if (entry := entries[name])],
    }
    if more:
        answer |= {"nextCursor": urlsafe_b64encode(here[-1].encode()).decode(), "nextCursorKey": here[-1]}
    return answer
