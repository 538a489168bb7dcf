"""What a job's outputs say of themselves before they are kept: their Content Credentials."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import file_digest
from pathlib import Path
from typing import Any

from novai_web.config import Settings
from novai_web.engines import credentials
from novai_web.engines.credentials import Input, Relationship, Statement
from novai_web.errors import NovaiError
from novai_web.jobs.models import Job
from novai_web.library import files
from novai_web.library.models import Asset, Hook
from novai_web.tools.tool import Made, Origin
from novai_web.vendors import menu

log = logging.getLogger(__name__)

Fetch = Callable[[Asset], Path]

# What an input is to a file, after the first one, of the same kind, that an edit or a composite opened.
BECOMES: dict[Origin, Relationship] = {
    "made": "inputTo",
    "computed": "inputTo",
    "composite": "inputTo",
    "edited": "componentOf",
}
OPENS: tuple[Origin, ...] = ("composite", "edited")
BESIDE = ".c2pa"
# Weights and other files of such size are not read for what they may say of themselves.
KINDS_WITH_CREDENTIALS = ("video", "audio", "image")


@dataclass(frozen=True)
class Signed:
    """The file as it will be stored. `said` goes into the asset's `media`, for its page and the API.

    `beside` is the manifest of a file that has no place for one.
    """

    path: Path
    sha256: str
    said: dict[str, Any]
    beside: Path | None = None


class Signing:
    """Signs the outputs of one lease of one job; an input is looked into once for all of them."""

    def __init__(self, job: Job, fetch: Fetch, settings: Settings) -> None:
        self.job, self.fetch, self.settings = job, fetch, settings
        self._kept: dict[tuple[int, Input], bytes | None] = {}

    def sign(self, path: Path, made: Made) -> Signed:
        """A file that cannot be signed is delivered all the same, and says on its page why."""
        said: dict[str, Any] = {"origin": made.origin, "agent": _agent(made)}
        statement = self.statement(path, made)
        try:
            if not credentials.can_carry(made.mime):
                return self._beside(path, statement, said)
            done = credentials.sign(path, statement, self.settings, made.pieces)
            return Signed(done, _digest(done), said | self._signed("signed", statement))
        except NovaiError as problem:
            log.warning("An output of job %s is delivered without Content Credentials: %s", self.job.id, problem)
            return Signed(path, _digest(path), said | {"state": "failed", "why": str(problem)})

    def _beside(self, path: Path, statement: Statement, said: dict[str, Any]) -> Signed:
        manifest = path.with_name(f"{path.name}{BESIDE}")
        manifest.write_bytes(credentials.beside(path, statement, self.settings))
        said |= self._signed("beside", statement) | {"size_bytes": manifest.stat().st_size}
        return Signed(path, _digest(path), said, manifest)

    def _signed(self, state: str, statement: Statement) -> dict[str, Any]:
        kept = sum(1 for each in statement.inputs if each.kept)
        return {"state": state, "signer": credentials.chain(self.settings).signer, "kept": kept}

    def statement(self, path: Path, made: Made) -> Statement:
        """What the file will say of itself."""
        inputs: list[Input] = []
        assets = [(role, source) for role, source in made.sources if isinstance(source, Asset)]
        for role, asset in assets:
            is_first = not any(each.relationship == "parentOf" for each in inputs)
            opens = made.origin in OPENS and is_first and asset.kind == made.kind
            inputs.append(self._input(len(inputs), role, asset, "parentOf" if opens else BECOMES[made.origin]))
        if credentials.may_have(path, made.mime) and not any(each.relationship == "parentOf" for each in inputs):
            inputs.append(self._vendors_own(len(inputs), path, made))
        return Statement(
            title=made.name,
            mime=made.mime,
            origin=made.origin,
            tool=self.job.tool.title,
            agent=_agent(made) or "",
            is_sandbox=_is_sandbox(made),
            inputs=inputs,
            texts=[source.text for _, source in made.sources if isinstance(source, Hook)],
            more={"files": _others(made)},
        )

    def _input(self, number: int, role: str, asset: Asset, relationship: Relationship) -> Input:
        plain = Input(role, asset.name, relationship, asset.mime, asset.sha256)
        is_there = asset.kind in KINDS_WITH_CREDENTIALS and asset.store_key is not None
        if not is_there or not credentials.can_carry(asset.mime):
            return plain
        known = (number, plain)
        if known not in self._kept:
            self._kept[known] = self._keep(number, plain, asset)
        return replace(plain, kept=self._kept[known])

    def _keep(self, number: int, plain: Input, asset: Asset) -> bytes | None:
        """What an input says of itself, to be carried on. What cannot be read is left out: the file is still named."""
        try:
            path = self.fetch(asset)
            if not credentials.may_have(path, asset.mime):
                return None
            is_ours = asset.made_by_tool is not None
            return credentials.keep(number, plain, path, self.settings, is_ours=is_ours)
        except NovaiError as problem:
            log.info("What asset %s says of itself cannot be carried on: %s", asset.id, problem)
            return None

    def _vendors_own(self, number: int, path: Path, made: Made) -> Input:
        """What a vendor signed stays in the file: as what it was opened from."""
        plain = Input("original", f"{made.name}, as it came", "parentOf", made.mime, _digest(path))
        try:
            return replace(plain, kept=credentials.keep(number, plain, path, self.settings, is_ours=False))
        except NovaiError as problem:
            log.info("What a vendor's file says of itself cannot be carried on: %s", problem)
            return plain


def _others(made: Made) -> dict[str, str]:
    """SHA-256 of the files that belong to it and are no small pictures of it, as a model's second weights."""
    found = made.previews.items()
    return {part: _digest(path) for part, path in found if path.suffix not in files.PICTURES}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _agent(made: Made) -> str | None:
    """The vendor and its model, as in "fal: fal-ai/wan-22"; None when no vendor made it."""
    vendor = made.recipe.get("vendor")
    if not isinstance(vendor, dict):
        return None
    title = menu.TITLES.get(str(vendor.get("name")), str(vendor.get("name")))
    return ": ".join(filter(None, (title, str(vendor.get("model") or ""))))


def _is_sandbox(made: Made) -> bool:
    vendor = made.recipe.get("vendor")
    return isinstance(vendor, dict) and bool(vendor.get("sandbox"))
