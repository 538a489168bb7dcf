"""From a tool's typed input to an HTML form, and back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from werkzeug.datastructures import MultiDict

from novai_web.tools.likeness import For
from novai_web.tools.picks import Pick, PickHooks
from novai_web.tools.tool import Input

NOT_SETTINGS = ("asset", "assets", "hooks", "consent", "hidden")
COLOUR_PATTERN = r"^#[0-9a-fA-F]{6}$"


@dataclass(frozen=True)
class FormField:
    """One field as the form macros draw it."""

    name: str
    widget: str
    title: str
    help: str
    default: Any
    required: bool
    options: tuple[Any, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)


def of(model: type[Input]) -> list[FormField]:
    return [_form_field(name, info) for name, info in model.model_fields.items()]


def settings_of(model: type[Input]) -> list[str]:
    """The names of the fields that say how, not of what: those that a preset keeps."""
    return [field.name for field in of(model) if field.widget not in NOT_SETTINGS]


def read(model: type[Input], form: MultiDict[str, str]) -> dict[str, Any]:
    """What a browser meant: it sends strings, leaves out unticked boxes, and an emptied field means none."""
    given: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        inner, optional = _unwrap(info.annotation)
        if inner is bool:
            given[name] = form.get(name) not in (None, "", "0", "false")
        elif _is_many(info, inner):
            given[name] = [value for value in form.getlist(name) if value]
        elif form.get(name):
            given[name] = form[name]
        elif optional and name in form:
            given[name] = None
    return given


def values(model: type[Input], raw: Mapping[str, Any]) -> dict[str, Any]:
    """What the form shows: what was typed, else the defaults."""
    return {each.name: raw.get(each.name, each.default) for each in of(model)}


def _form_field(name: str, info: FieldInfo) -> FormField:
    inner, optional = _unwrap(info.annotation)
    limits = _limits(info) | ({"step": 1.0} if inner is int else {})
    widget, options = _widget(name, info, inner, limits)
    if optional and widget == "slider":  # a slider cannot be left empty
        widget = "number"
    return FormField(
        name=name,
        widget=widget,
        title=info.title or name.replace("_", " ").capitalize(),
        help=info.description or "",
        default=None if info.default is PydanticUndefined else info.default,
        required=info.is_required(),
        options=options,
        limits=limits,
    )


def _widget(name: str, info: FieldInfo, inner: Any, limits: Mapping[str, float]) -> tuple[str, tuple[Any, ...]]:
    for mark in info.metadata:
        if isinstance(mark, PickHooks):
            return "hooks", mark.kinds
        if isinstance(mark, Pick):
            return ("assets" if mark.many else "asset"), mark.kinds
        if isinstance(mark, For):
            return "consent", (mark.purpose,)
    if inner is bool:
        return "switch", ()
    if get_origin(inner) is Literal:
        return _choice(name, get_args(inner))
    if inner in (int, float):
        return ("slider" if {"ge", "le"} <= limits.keys() and 1 <= limits["le"] <= 100 else "number"), ()
    if _is_many(info, inner):
        return "hidden", ()
    if any(getattr(mark, "pattern", None) == COLOUR_PATTERN for mark in info.metadata):
        return "color", ()
    return ("textarea" if limits.get("max_length", 0) > 400 else "text"), ()


def _choice(name: str, options: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    if name.endswith("position"):
        return "position", options
    return ("choice" if len(options) <= 4 else "select"), options


def _limits(info: FieldInfo) -> dict[str, float]:
    found: dict[str, float] = {}
    for mark in (*info.metadata, *_inner_marks(info.annotation)):
        if isinstance(mark, Ge):
            found["ge"] = float(mark.ge)  # type: ignore[arg-type]
        elif isinstance(mark, Gt):
            found["ge"] = 0.1 if mark.gt == 0 else float(mark.gt)  # type: ignore[arg-type]
        elif isinstance(mark, Le):
            found["le"] = float(mark.le)  # type: ignore[arg-type]
        elif isinstance(mark, Lt):
            found["le"] = float(mark.lt)  # type: ignore[arg-type]
        elif isinstance(mark, MaxLen):
            found["max_length"] = mark.max_length
    return found


def _inner_marks(annotation: Any) -> list[Any]:
    return [mark for part in get_args(annotation) if get_origin(part) is Annotated for mark in get_args(part)[1:]]


def _unwrap(annotation: Any) -> tuple[Any, bool]:
    """The type without its `| None`, and whether it had one."""
    if get_origin(annotation) in (Union, UnionType):
        inner = [part for part in get_args(annotation) if part is not NoneType]
        if len(inner) == 1:
            return inner[0], True
    return annotation, False


def _is_many(info: FieldInfo, inner: Any) -> bool:
    return get_origin(inner) is list or any(getattr(mark, "many", False) for mark in info.metadata)
