"""Presets: the values of a tool's form, saved under a name."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select

from novai_web.db import session
from novai_web.errors import InvalidInput, NotFound
from novai_web.library import words
from novai_web.library.assets import Library
from novai_web.library.models import Preset

PRESETS_MAX = 100
VALUES_CHARACTERS_MAX = 16_000


def listed(library: Library, tool: str) -> Sequence[Preset]:
    """The presets of one tool, by alphabet."""
    return session.scalars(
        select(Preset)
        .where(Preset.account_id == library.account_id, Preset.tool == tool)
        .order_by(func.lower(Preset.name))
    ).all()


def save(library: Library, tool: str, name: str, values: Mapping[str, Any]) -> Preset:
    """Save values under a name; an older preset of that name is replaced. Raises InvalidInput."""
    clean = words.name(name)
    values = {field: _clean(value) for field, value in values.items()}
    if not clean:
        raise InvalidInput({"preset_name": "Give this preset a name."})
    if len(json.dumps(values)) > VALUES_CHARACTERS_MAX:
        raise InvalidInput({"preset_name": "These values are too long to be saved. Shorten the texts."})
    known = listed(library, tool)
    preset = next((preset for preset in known if preset.name.lower() == clean.lower()), None)
    if preset is None:
        if len(known) >= PRESETS_MAX:
            raise InvalidInput({"preset_name": f"You have {PRESETS_MAX} presets. Delete one first."})
        preset = Preset(account_id=library.account_id, tool=tool, name=clean)
        session.add(preset)
    preset.name, preset.values = clean, values
    session.flush()
    return preset


def _clean(value: Any) -> Any:
    return words.plain(value, lines=True) if isinstance(value, str) else value


def find(library: Library, preset_id: int) -> Preset:
    """Raises NotFound, also for another's."""
    found = session.scalar(select(Preset).where(Preset.account_id == library.account_id, Preset.id == preset_id))
    if found is None:
        raise NotFound
    return found


def delete(preset: Preset) -> None:
    session.delete(preset)
    session.flush()
