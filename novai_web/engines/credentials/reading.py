"""What a file's Content Credentials say, and whether they hold."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Literal

from novai_web.config import Settings
from novai_web.engines.credentials import native
from novai_web.engines.credentials.room import MANIFEST
from novai_web.engines.credentials.saying import LEARNED, SOURCE_TYPES
from novai_web.engines.ffmpeg.malformed import Malformed
from novai_web.engines.ffmpeg.mp4.boxes import boxes
from novai_web.engines.ffmpeg.sniff import sniff
from novai_web.errors import NovaiError, UnusableMedia

State = Literal["trusted", "valid", "invalid"]

# In every container but MP4's, the name of what a manifest is kept in is there as it is.
MARK = b"jumb"
ANY_MIME = "application/octet-stream"
MP4_KINDS = ("video/mp4", "video/quicktime", "audio/mp4")
MIMES = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "m4a": "audio/mp4",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
}


class NoCredentials(NovaiError):
    """This file has no Content Credentials."""

    code = "no_credentials"
    title = "No Content Credentials"


class CannotCarry(NovaiError):
    """Files of this kind cannot carry Content Credentials."""

    code = "cannot_carry_credentials"
    title = "No Content Credentials in such files"


@dataclass(frozen=True)
class Report:
    """`state`: "trusted" by this installation, "valid" by a signer unknown here, or "invalid", with the `problems`."""

    state: State
    claim: str
    title: str
    signer: str
    issuer: str
    signed_at: str | None
    generator: str
    actions: Sequence[str]
    origin: str | None
    inputs: Sequence[str]
    problems: Sequence[str]


def may_have(path: Path, mime: str) -> bool:
    """False: it certainly has none. Costs a look through the file at most, and understands nothing of it."""
    try:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            if mime in MP4_KINDS:
                found = boxes(data, 0, len(data))
                return any(each.name == b"uuid" and data[each.start : each.start + 16] == MANIFEST for each in found)
            return data.find(MARK) >= 0
    except (Malformed, ValueError):  # an empty file cannot be mapped
        return False


def read(path: Path, settings: Settings, beside: Path | None = None) -> Report:
    """Read and check a file, with the manifest that lies `beside` it if it is of a kind that can have none inside.

    Raises NoCredentials, Damaged, and CannotCarry for a kind of file that has none and cannot.
    """
    mime = ANY_MIME if beside else _mime(path)
    manifest = beside.read_bytes() if beside else None
    with native.reader(path, mime, manifest, native.context(settings)) as found:
        if found is None:
            raise NoCredentials
        store: dict[str, Any] = json.loads(found.json())
    active = store["manifests"][store["active_manifest"]]
    by = active.get("signature_info", {})
    actions = list(_actions(active))
    return Report(
        state=_state(store),
        claim=str(store["active_manifest"]),
        title=str(active.get("title", "")),
        signer=str(by.get("common_name", "")),
        issuer=str(by.get("issuer", "")),
        signed_at=by.get("time"),
        generator=_generator(active),
        actions=[str(action["action"]) for action in actions],
        origin=next((each for action in actions if (each := _origin(action))), None),
        inputs=[str(each.get("title", "")) for each in active.get("ingredients", [])],
        problems=list(_problems(store)),
    )


def _mime(path: Path) -> str:
    """By the file's bytes. Raises CannotCarry."""
    try:
        name = sniff(path).name
    except UnusableMedia:
        raise CannotCarry("This is no file of a kind that can carry Content Credentials.") from None
    if name not in MIMES:
        raise CannotCarry(f"{name.upper()} files have no place for Content Credentials.")
    return MIMES[name]


def _state(store: dict[str, Any]) -> State:
    said = str(store.get("validation_state", "")).lower()
    return "trusted" if said == "trusted" else "valid" if said == "valid" else "invalid"


def _actions(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for assertion in manifest.get("assertions", []):
        if str(assertion.get("label", "")).startswith("c2pa.actions"):
            yield from assertion.get("data", {}).get("actions", [])


def _origin(action: dict[str, Any]) -> str | None:
    """The word for it, or the whole address of a digital source type that NOVAI does not write."""
    address = action.get("digitalSourceType")
    if address == LEARNED:
        return "made"
    return next((word for word, each in SOURCE_TYPES.items() if each == address), address)


def _generator(manifest: dict[str, Any]) -> str:
    infos = manifest.get("claim_generator_info") or [{}]
    return " ".join(str(infos[0].get(part, "")) for part in ("name", "version")).strip()


def _problems(store: dict[str, Any]) -> Iterator[str]:
    failures = (store.get("validation_results") or {}).get("activeManifest", {}).get("failure", [])
    for each in failures:
        yield f"{each.get('code', '')}: {each.get('explanation', '')}".strip(": ")
