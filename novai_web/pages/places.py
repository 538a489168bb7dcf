"""Every place there is to go to: the menus, the keys after `g`, and the pages that a search finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from novai_web.accounts import Account
from novai_web.tools import TOOLS

Group = Literal["tools", "library", "foot", "admin"]
# The tool that everything else is made for has a letter; all of them have their number in the menu.
MAIN_TOOL = next(tool for tool in TOOLS if tool.engine is None)
MAIN_KEY = "m"


@dataclass(frozen=True)
class Place:
    """A page worth a line in a menu. `key` is pressed after `g`; `also` are other words that find it."""

    endpoint: str
    title: str
    icon: str
    key: str
    group: Group
    also: str = ""
    args: Mapping[str, Any] = field(default_factory=dict)


PLACES: tuple[Place, ...] = (
    Place("dashboard.show", "Dashboard", "layout-grid", "d", "tools", "home start"),
    Place("batches.list", "Batches", "square-stack", "b", "tools", "variants results zip"),
    Place("jobs.list", "Jobs", "list-checks", "j", "tools", "queue running failed"),
    Place("library.videos", "Videos", "film", "v", "library", "clips upload"),
    Place("library.audios", "Audios", "music", "a", "library", "sounds music upload"),
    Place("hooks.list", "Hooks", "text-quote", "h", "library", "texts captions csv import"),
    Place("library.images", "Images", "image", "i", "library", "pictures photos upload"),
    Place("library.models", "Models", "box", "o", "library", "lora weights safetensors"),
    Place("diagrams.list", "Diagrams", "layout-template", "w", "library", "characters sheets"),
    Place("collections.list", "Collections", "folder", "c", "library", "folders"),
    Place("consents.list", "Consents", "shield-check", "p", "library", "faces voices likeness"),
    Place("trash.list", "Trash", "trash-2", "t", "library", "deleted restore"),
    Place("credits.show", "Credits", "coins", "r", "foot", "balance spending ledger"),
    Place("accounts.settings", "Settings", "settings", "s", "foot", "password theme notifications profile"),
    Place("admin.credits", "Everyone’s credits", "shield", "e", "admin", "people accounts grant"),
    Place("state.show", "State of the installation", "monitor", "y", "admin", "queue workers disk errors health"),
    Place("vendors.list", "Vendors", "key-round", "n", "admin", "keys prices bills"),
)


def of(visitor: Account) -> Sequence[Place]:
    """The places of this person, in the order of the menus: the tools come after the dashboard."""
    open_to = [place for place in PLACES if place.group != "admin" or visitor.is_admin]
    return (*open_to[:1], *_tools(), *open_to[1:])


def _tools() -> list[Place]:
    found = []
    for number, tool in enumerate(TOOLS, start=1):
        key = MAIN_KEY if tool == MAIN_TOOL else str(number)
        made = " ".join(f"{kind}s" for kind in tool.makes)
        found.append(Place("tools.show", tool.title, tool.icon, key, "tools", made, {"slug": tool.slug}))
    return found


def found(visitor: Account, q: str) -> list[Place]:
    """The places that every word of `q` is about; those whose title begins with it first."""
    said = q.casefold().split()
    if not said:
        return []
    fitting = [place for place in of(visitor) if all(word in f"{place.title} {place.also}".casefold() for word in said)]
    return sorted(fitting, key=lambda place: not place.title.casefold().startswith(" ".join(said)))
