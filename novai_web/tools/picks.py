"""Inputs that are picked from the library: ids come in, what they name comes out, ids are stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from novai_web.library.models import Asset, Hook, Kind
from novai_web.tools.tool import Reading

# 2,000 variants need no more, and one query can look them all up.
PICKS_MAX = 2000


def reading_of(info: ValidationInfo) -> Reading:
    """What `Input.read` was given."""
    assert isinstance(info.context, Reading), "read inputs with Input.read(raw, reading)"
    return info.context


def _ids(value: Any) -> list[int]:
    """Ids as a form or JSON sends them. The database's ids fit in 63 bits."""
    given = value if isinstance(value, list | tuple) else [value]
    if len(given) > PICKS_MAX:
        raise PydanticCustomError("too_many", "Pick at most {most}; this is {count}.", _counted(len(given)))
    ids = [an_id(each) for each in given]
    if len(set(ids)) < len(ids):
        raise PydanticCustomError("picked_twice", "Something is picked twice. Pick each only once.")
    return ids


def an_id(value: Any) -> int:
    """One id as a form or JSON sends it. Raises a sentence for the field."""
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise PydanticCustomError("not_an_id", "These are not ids of your library. Send whole numbers.")
    return int(text)


def _counted(count: int) -> dict[str, Any]:
    return {"most": PICKS_MAX, "count": count}


@dataclass(frozen=True)
class Pick:
    """One ready asset of one of `kinds`, or several in their order. Loaded in one query."""

    kinds: tuple[Kind, ...]
    many: bool = False

    def load(self, value: Any, info: ValidationInfo) -> Asset | list[Asset]:
        ids = _ids(value)
        if not self.many and len(ids) != 1:
            raise PydanticCustomError("one_only", "Pick one.")
        found = reading_of(info).library.find_many(ids)
        if self.many and reading_of(info).is_begun:
            ids = [each for each in ids if each in found]  # what was deleted since is no reason to lose the rest
        picked = [self._check(found.get(asset_id)) for asset_id in ids]
        return picked if self.many else picked[0]

    def _check(self, asset: Asset | None) -> Asset:
        if asset is None:
            raise PydanticCustomError(
                "not_there", "Something picked here is not in your library any more. Remove it and pick again."
            )
        name = {"name": asset.name}
        if asset.kind not in self.kinds:
            raise PydanticCustomError(
                "wrong_kind", "“{name}” is of another kind. Pick {wanted}.", name | {"wanted": " or ".join(self.kinds)}
            )
        if asset.is_processing:
            raise PydanticCustomError("not_ready", "“{name}” is still being prepared. Try again in a moment.", name)
        if not asset.is_ready:
            raise PydanticCustomError("unusable", "“{name}” could not be read. Remove it here.", name)
        return asset

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self.load, serialization=_AS_IDS)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        one = {"type": "integer", "x-kinds": list(self.kinds)}
        return {"type": "array", "items": one, "maxItems": PICKS_MAX} if self.many else one


class PickHooks:
    """Several hooks in their order, loaded in one query."""

    many = True
    kinds = ("hook",)

    def load(self, value: Any, info: ValidationInfo) -> list[Hook]:
        ids = _ids(value)
        found = reading_of(info).library.find_hooks(ids)
        if missing := [hook_id for hook_id in ids if hook_id not in found]:
            raise PydanticCustomError(
                "not_there",
                "{count} of these hooks are not in your library any more. Remove them and pick again.",
                {"count": len(missing)},
            )
        return [found[hook_id] for hook_id in ids]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self.load, serialization=_AS_IDS)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "integer", "x-kinds": ["hook"]}, "maxItems": PICKS_MAX}


def _id_of(picked: Any) -> Any:
    return [each.id for each in picked] if isinstance(picked, Sequence) else picked.id


_AS_IDS = core_schema.plain_serializer_function_ser_schema(_id_of)

Video = Annotated[Asset, Pick(("video",))]
Picture = Annotated[Asset, Pick(("image",))]
Sound = Annotated[Asset, Pick(("audio",))]
Videos = Annotated[list[Asset], Pick(("video",), many=True)]
Sounds = Annotated[list[Asset], Pick(("audio",), many=True)]
Hooks = Annotated[list[Hook], PickHooks()]
Model = Annotated[Asset, Pick(("model",))]
Pictures = Annotated[list[Asset], Pick(("image",), many=True)]
