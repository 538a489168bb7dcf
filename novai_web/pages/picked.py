"""What a form has picked from the library: from ids to what they name, for showing it again."""

from collections.abc import Mapping, Sequence
from typing import Any

from werkzeug.datastructures import MultiDict

from novai_web.accounts import Account
from novai_web.library import listing
from novai_web.library.assets import Library
from novai_web.library.models import Asset, Hook
from novai_web.pages import answers, forms
from novai_web.tools.tool import Input

WIDGETS = ("asset", "assets", "hooks")
COLLECTION_MAX = 500


def _pickers(model: type[Input]) -> list[forms.FormField]:
    return [field for field in forms.of(model) if field.widget in WIDGETS]


def things(model: type[Input], account: Account, raw: Mapping[str, Any]) -> dict[str, list[Asset | Hook]]:
    """By field, what is picked, in its order; what is not there any more, or of another kind, is left out."""
    library = Library(account.id)
    found: dict[str, list[Asset | Hook]] = {}
    for field in _pickers(model):
        ids = _ids(raw.get(field.name))
        known = _known(library, field, ids)
        found[field.name] = [known[each] for each in ids if each in known]
    return found


def _known(library: Library, field: forms.FormField, ids: Sequence[int]) -> Mapping[int, Asset | Hook]:
    if field.widget == "hooks":
        return library.find_hooks(ids)
    return {each.id: each for each in library.find_many(ids).values() if each.kind in field.options}


def from_query(model: type[Input], account: Account, query: MultiDict[str, str]) -> dict[str, Any]:
    """A form filled from an address such as `?videos=1&videos=2`, or with a whole `?collection=`."""
    query = _one_by_one(model, query)
    raw = forms.read(model, query) if query else {}
    raw = {name: value for name, value in raw.items() if name in query}
    raw = _of_kinds(model, query) | raw
    collection = answers.number("collection")
    if collection is not None:
        wanted = listing.Filter(collection_id=collection)
        for asset in listing.listed(Library(account.id), wanted, size=COLLECTION_MAX).items:
            field = next((each for each in _pickers(model) if asset.kind in each.options), None)
            if field and field.widget != "asset":
                raw.setdefault(field.name, []).append(str(asset.id))
    return raw


def _one_by_one(model: type[Input], query: MultiDict[str, str]) -> MultiDict[str, str]:
    """Ids with commas between them, as a long selection is sent, since an address may only be so long."""
    names = {field.name for field in _pickers(model)} | {
        f"{kind}s" for each in _pickers(model) for kind in each.options
    }
    pairs = [(name, value.split(",") if name in names else [value]) for name, value in query.items(multi=True)]
    return MultiDict([(name, each) for name, values in pairs for each in values])


def _of_kinds(model: type[Input], query: MultiDict[str, str]) -> dict[str, Any]:
    """What an address such as `?images=1` picks in a form that calls it otherwise: the first field of that kind."""
    found: dict[str, Any] = {}
    for field in _pickers(model):
        for kind in field.options:
            ids = query.getlist(f"{kind}s") if f"{kind}s" not in model.model_fields else []
            if ids and not any(kind in each.options for each in _pickers(model) if each.name in found):
                found[field.name] = ids if field.widget != "asset" else ids[0]
    return found


def counts(model: type[Input], form: MultiDict[str, str]) -> dict[str, int]:
    """How many are picked in each field, and how many combinations that makes."""
    found = {field.name: len([value for value in form.getlist(field.name) if value]) for field in _pickers(model)}
    combinations = 1
    for count in found.values():
        combinations *= max(1, count)
    return found | {"combinations": combinations}


def _ids(value: Any) -> list[int]:
    given = value if isinstance(value, list | tuple) else [value] if value else []
    return answers.numbers(",".join(str(each) for each in given))
