"""Content Credentials (C2PA): what a file says of itself, signed last, so that nothing after it can strip it.

Light to import: the library is loaded when a file is signed or read.
"""

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from novai_web.config import Settings
from novai_web.engines import ffmpeg
from novai_web.engines.credentials import native, room, saying
from novai_web.engines.credentials.chain import ChainUnusable, chain
from novai_web.engines.credentials.native import Damaged, SigningFailed
from novai_web.engines.credentials.reading import CannotCarry, NoCredentials, Report, State, may_have, read
from novai_web.engines.credentials.room import Pieces
from novai_web.engines.credentials.saying import Input, Origin, Relationship, Statement
from novai_web.engines.ffmpeg.malformed import Malformed

__all__ = [
    "MANIFEST_MIME",
    "CannotCarry",
    "ChainUnusable",
    "Damaged",
    "Input",
    "NoCredentials",
    "Origin",
    "Pieces",
    "Relationship",
    "Report",
    "SigningFailed",
    "State",
    "Statement",
    "beside",
    "can_carry",
    "chain",
    "keep",
    "may_have",
    "read",
    "sign",
]

MANIFEST_MIME = "application/c2pa"
# The kinds of files that NOVAI keeps and that have no place for a manifest.
WITHOUT_A_PLACE = frozenset({"video/webm", "video/x-matroska", "audio/ogg", "audio/aac", "application/octet-stream"})


def can_carry(mime: str) -> bool:
    """Whether a file of this kind can have Content Credentials inside."""
    return mime not in WITHOUT_A_PLACE


def keep(number: int, given: Input, path: Path, settings: Settings, *, is_ours: bool) -> bytes | None:
    """What an input says of itself, for the manifest of what is made from it. None: it cannot be carried on.

    A file that is not ours is read in a child process, which can do no harm and whose end harms nobody.
    """
    what = saying.ingredient(number, given)
    anchors = chain(settings).anchors
    if is_ours:
        return native.archive(what, given.mime, path, anchors)
    with TemporaryDirectory(dir=path.parent, prefix=".kept-") as folder:
        kept = ffmpeg.credentials_of(path, given.mime, what, anchors, Path(folder), ffmpeg.Limits.of(settings))
        return kept.read_bytes()


def sign(path: Path, said: Statement, settings: Settings, pieces: Pieces = ()) -> Path:
    """Sign a finished file. Returns where it then is: at `path` itself, or in a copy beside it.

    `pieces`: see `room.binding`. Raises CannotCarry, SigningFailed and ChainUnusable; the file is then as it was.
    """
    if not can_carry(said.mime):
        raise CannotCarry(f"{said.mime} files have no place for Content Credentials.")
    free = room.find(path) if said.mime == "video/mp4" else None
    if free and _signed_in_place(path, said, settings, free, pieces):
        return path
    return _signed_copy(path, said, settings)


def beside(path: Path, said: Statement, settings: Settings) -> bytes:
    """The signed manifest of a file that has no place for one, to lie beside it. Raises as `sign` does."""
    with path.open("rb") as file, native.builder(saying.definition(said), native.context(settings)) as made:
        _add_inputs(made, said)
        native.hash_file(made, MANIFEST_MIME, file)
        return native.signed(made, MANIFEST_MIME)


def _signed_in_place(path: Path, said: Statement, settings: Settings, free: room.Room, pieces: Pieces) -> bool:
    """False: the manifest needs more room than there is."""
    try:
        definition = saying.definition(said, room.binding(path, pieces))
    except Malformed as problem:
        raise SigningFailed(f"The file could not be signed: {problem}.") from problem
    with path.open("r+b", buffering=0) as file:
        with native.builder(definition, native.context(settings)) as made:
            _add_inputs(made, said)
            native.hash_file(made, said.mime, file)
            manifest = native.signed(made, said.mime)
        if not free.takes(len(manifest)):
            return False
        file.seek(free.start)
        file.write(free.filled(manifest))
    return True


def _signed_copy(path: Path, said: Statement, settings: Settings) -> Path:
    """Beside it, because the library empties a file that it is to sign in place. Read again before it counts."""
    copy = path.with_name(f"signed-{path.name}")
    try:
        with native.builder(saying.definition(said), native.context(settings, is_checking=True)) as made:
            _add_inputs(made, said)
            with path.open("rb") as source, copy.open("w+b") as target:
                made.sign(said.mime, source, target)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    return copy


def _add_inputs(made: Any, said: Statement) -> None:
    for each in said.inputs:
        if each.kept is not None:
            made.add_ingredient_from_archive(BytesIO(each.kept))
