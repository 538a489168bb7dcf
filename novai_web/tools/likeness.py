"""The consent that a tool needs before it may use somebody's likeness, read like whatever is picked.

A tool declares it as `consent: Annotated[Consent, For("its-slug")] = Field(title=…, description=…)`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from novai_web import consents
from novai_web.consents import Consent
from novai_web.errors import InvalidInput, NotFound
from novai_web.library.assets import Library
from novai_web.tools.picks import an_id, reading_of
from novai_web.tools.tool import Input, Tool, Work

__all__ = ["Consent", "For", "hold", "insist", "takers"]

REVOKED = "This consent was revoked. Choose another one, or write down a new one."
OVER = "This consent has run out. Choose another one, or write down a new one."
NOT_THERE = "This consent is not among yours. Choose one, or write one down under Consents."


@dataclass(frozen=True)
class For:
    """The mark of a field that is a consent for this tool. Read again for each slice, so that a revoked one is seen."""

    purpose: str

    def load(self, value: Any, info: ValidationInfo) -> Consent:
        try:
            consent = consents.find(reading_of(info).library, an_id(value))
        except NotFound:
            raise PydanticCustomError("not_there", NOT_THERE) from None
        if problem := self.problem(consent):
            raise PydanticCustomError("no_consent", "{problem}", {"problem": problem})
        return consent

    def problem(self, consent: Consent) -> str:
        """Why it may not be used here; empty if it may."""
        if consent.is_revoked:
            return REVOKED
        if consent.is_over:
            return OVER
        return "" if consent.covers(self.purpose) else "This consent was given for something else. Choose another one."

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self.load, serialization=_AS_ID)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "integer", "x-consent": True}


def _id_of(consent: Consent) -> int:
    return consent.id


_AS_ID = core_schema.plain_serializer_function_ser_schema(_id_of)


def insist(given: Input, work: Work) -> None:
    """Look once more, right before paying. Raises InvalidInput if it was revoked since.

    `given` is an input with one field that is marked with `For`.
    """
    work.write(lambda: hold(given))


def hold(given: Input) -> None:
    """Look once more in the transaction that delivers, until whose end nobody can revoke it: what is delivered is in
    the list of what was made with it, and what is revoked before is not delivered. Raises InvalidInput."""
    name, mark = next(_marked(type(given)))
    consent: Consent = getattr(given, name)
    if problem := mark.problem(consents.find(Library(consent.account_id), consent.id, hold=True)):
        raise InvalidInput({name: problem})


def takers(tools: Iterable[Tool]) -> list[Tool]:
    """Those of the tools that need a consent: what one can be given for."""
    return [tool for tool in tools if next(_marked(tool.input), None)]


def _marked(model: type[Input]) -> Iterator[tuple[str, For]]:
    for name, info in model.model_fields.items():
        yield from ((name, mark) for mark in info.metadata if isinstance(mark, For))
