"""What a file says of itself: who made it, from what, and whether an AI did. In the terms of C2PA 2."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from novai_web import __version__

Origin = Literal["made", "composite", "edited", "computed"]
Relationship = Literal["parentOf", "componentOf", "inputTo"]

LABEL = "app.novai.generation"
_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
# https://cv.iptc.org/newscodes/digitalsourcetype/
SOURCE_TYPES: dict[Origin, str] = {
    "made": f"{_TYPES}trainedAlgorithmicMedia",
    "composite": f"{_TYPES}compositeWithTrainedAlgorithmicMedia",
    "edited": f"{_TYPES}humanEdits",
    "computed": f"{_TYPES}algorithmicMedia",
}
# What was learned and is no media, as a model's weights: C2PA 2.2, 18.15.4.
LEARNED = "http://c2pa.org/digitalsourcetype/trainedAlgorithmicData"
# An edit of nothing that can be opened puts parts together.
COMPOSITE = f"{_TYPES}composite"
TEXT_MAX = 500


@dataclass(frozen=True)
class Input:
    """Something a file was made from. `kept` is what `keep` made of it, where it has credentials of its own."""

    role: str
    title: str
    relationship: Relationship
    mime: str = ""
    sha256: str | None = None
    kept: bytes | None = None


@dataclass(frozen=True)
class Statement:
    """What is said of one file. `texts` are what was written on it; `agent` is the vendor's model, if one made it."""

    title: str
    mime: str
    origin: Origin
    tool: str
    agent: str = ""
    is_sandbox: bool = False
    inputs: Sequence[Input] = ()
    texts: Sequence[str] = ()
    more: dict[str, Any] = field(default_factory=dict)


def definition(said: Statement, *assertions: dict[str, Any]) -> dict[str, Any]:
    """The manifest as the library takes it; inputs that have credentials of their own are added beside it."""
    ingredients = [_ingredient(number, each) for number, each in enumerate(said.inputs) if each.kept is None]
    return {
        "title": said.title[:TEXT_MAX],
        "format": said.mime,
        "claim_generator_info": [{"name": "NOVAI", "version": __version__}],
        "ingredients": ingredients,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": _actions(said)}},
            {"label": LABEL, "data": _generation(said)},
            *assertions,
        ],
    }


def ingredient(number: int, given: Input) -> dict[str, Any]:
    """One input, by whose label the actions speak of it."""
    return {"title": given.title[:TEXT_MAX], "relationship": given.relationship, "label": label(number)}


def label(number: int) -> str:
    return f"input-{number}"


def _ingredient(number: int, given: Input) -> dict[str, Any]:
    return ingredient(number, given) | {"format": given.mime or "application/octet-stream"}


def _actions(said: Statement) -> list[dict[str, Any]]:
    by: dict[Relationship, list[str]] = {"parentOf": [], "componentOf": [], "inputTo": []}
    for number, each in enumerate(said.inputs):
        by[each.relationship].append(label(number))
    actions: list[dict[str, Any]] = []
    if by["parentOf"]:
        actions += [_action("c2pa.opened", by["parentOf"]), _done(said, by["inputTo"])]
    else:
        actions.append(_created(said, by["inputTo"]))
    if by["componentOf"]:
        actions.append(_action("c2pa.placed", by["componentOf"]))
    return actions


def _created(said: Statement, inputs: Sequence[str]) -> dict[str, Any]:
    is_media = said.mime.startswith(("image/", "audio/", "video/"))
    kind = COMPOSITE if said.origin == "edited" else SOURCE_TYPES[said.origin] if is_media else LEARNED
    return _action("c2pa.created", inputs) | _by(said) | {"digitalSourceType": kind}


def _done(said: Statement, inputs: Sequence[str]) -> dict[str, Any]:
    """What became of the file that was opened."""
    return _action("c2pa.edited", inputs) | _by(said) | {"digitalSourceType": SOURCE_TYPES[said.origin]}


def _by(said: Statement) -> dict[str, Any]:
    agent = {"name": said.agent[:TEXT_MAX]} if said.agent else {"name": "NOVAI", "version": __version__}
    return {"softwareAgent": agent, "description": _description(said)}


def _description(said: Statement) -> str:
    if said.is_sandbox:
        return f"{said.tool}, in NOVAI's sandbox: a stand-in for the vendor, with a watermark."
    return said.tool


def _action(name: str, inputs: Sequence[str]) -> dict[str, Any]:
    return {"action": name} | ({"parameters": {"ingredientIds": list(inputs)}} if inputs else {})


def _generation(said: Statement) -> dict[str, Any]:
    """For whoever wants to know it by name and hash, and does not read ingredients."""
    inputs = [{"role": each.role, "title": each.title[:TEXT_MAX], "sha256": each.sha256} for each in said.inputs]
    texts = [text[:TEXT_MAX] for text in said.texts]
    return {
        "generator": f"NOVAI {__version__}",
        "tool": said.tool,
        "origin": said.origin,
        "agent": said.agent,
        "sandbox": said.is_sandbox,
        "inputs": inputs,
        "texts": texts,
    } | said.more
