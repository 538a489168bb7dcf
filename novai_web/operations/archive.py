"""A backup as a file: a plain tar of tables and stored files, and at its end a manifest of all that is in it.

What is read here may come from anywhere, so nothing in it is believed: the headers, the names and the sizes are
checked before a byte is used, and every byte is checked against the manifest.
"""

import hashlib
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from novai_web.config import MEGABYTE
from novai_web.engines.store.keys import check_key
from novai_web.errors import NovaiError

MANIFEST = "manifest.json"
TABLES = "tables/"
FILES = "files/"
MANIFEST_BYTES_MAX = 512 * MEGABYTE
MEMBERS_MAX = 5_000_000
NAME_LENGTH_MAX = 100  # what the header of a plain tar has room for
CHUNK_BYTES = MEGABYTE

Count = Annotated[int, Field(ge=0, lt=2**63)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]


class NotABackup(NovaiError):
    """This is no backup of NOVAI, or it was damaged. Nothing was restored; use another."""

    code = "not_a_backup"
    status = 422


class Content(BaseModel, frozen=True, extra="forbid"):
    size_bytes: Count
    sha256: Sha256


class TableContent(Content, frozen=True):
    columns: tuple[Name, ...]
    rows: Count


class Manifest(BaseModel, frozen=True, extra="forbid"):
    """Everything that is in a backup, and what it is a backup of."""

    format: Literal[1] = 1
    taken_at: AwareDatetime
    revision: Annotated[str, Field(pattern=r"^[0-9A-Za-z_]{1,32}$")]
    tables: dict[Name, TableContent]
    sequences: dict[Name, Count | None]
    files: dict[str, Content]
    # Files that rows speak of and that were not there any more when their turn came.
    missing: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        return sum(content.size_bytes for content in (*self.tables.values(), *self.files.values()))


class Hashed:
    """Reads from `file`, and knows what went through."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self._hash.update(piece)
        return piece

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


class Writer:
    """Adds to a tar that is being written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w:", format=tarfile.GNU_FORMAT)  # noqa: SIM115 - see close()

    def add(self, name: str, file: IO[bytes], size: int) -> Content:
        """The next `size` bytes of `file`, under `name`."""
        if len(name) > NAME_LENGTH_MAX:
            raise NovaiError(f"The name {name} is too long for a backup.")
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        source = Hashed(file)
        self._tar.addfile(member, source)
        return Content(size_bytes=size, sha256=source.sha256)

    def close(self) -> None:
        """The end of the archive; without it the file is none."""
        self._tar.close()


class _Plain(tarfile.TarInfo):
    """The header of a plain file; anything else is refused before what it announces is read."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.size < 0:
            raise NotABackup("This is no backup of NOVAI: it holds something other than plain files.")
        return member


class Archive:
    """A backup that is being read, from `opened`."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._members = _members(tar)
        self.manifest = self._read_manifest()
        self._expected: dict[str, Content] = {
            **{TABLES + name: content for name, content in self.manifest.tables.items()},
            **{FILES + key: content for key, content in self.manifest.files.items()},
        }
        self._check_names()

    def check(self) -> None:
        """Read everything once. Raises NotABackup when a byte is not what the manifest says."""
        for name in self._expected:
            for _ in self._pieces(name):
                continue

    def rows(self, table: str) -> Iterator[bytes]:
        """One table as COPY's text, in pieces."""
        return self._pieces(TABLES + table)

    def take_out(self, key: str, path: Path) -> None:
        """Write one stored file to `path`, which must be new."""
        with path.open("xb") as file:
            for piece in self._pieces(FILES + key):
                file.write(piece)

    def _pieces(self, name: str) -> Iterator[bytes]:
        """After the last one, NotABackup is raised if they were not what they should have been."""
        source = Hashed(self._file(name))
        try:
            while piece := source.read(CHUNK_BYTES):
                yield piece
        except tarfile.TarError:
            raise NotABackup(f"This backup is cut off: {name} is not whole. Nothing was restored.") from None
        if source.sha256 != self._expected[name].sha256:
            raise NotABackup(f"This backup is damaged: {name} is not what was written. Nothing was restored.")

    def _read_manifest(self) -> Manifest:
        member = self._members.get(MANIFEST)
        if member is None:
            raise NotABackup("This is no backup of NOVAI, or it is cut off: it has no manifest at its end.")
        if member.size > MANIFEST_BYTES_MAX:
            raise NotABackup("This is no backup of NOVAI: its manifest is too long.")
        try:
            return Manifest.model_validate_json(self._file(MANIFEST).read())
        except (ValidationError, tarfile.TarError):
            raise NotABackup("This is no backup of NOVAI, or a newer one made it: its manifest is not known.") from None

    def _file(self, name: str) -> IO[bytes]:
        file = self._tar.extractfile(self._members[name])
        assert file is not None, "only plain files are members"
        return file

    def _check_names(self) -> None:
        """The tar holds what the manifest says, nothing more and nothing less, under names that are names."""
        try:
            for key in (*self.manifest.files, *self.manifest.missing):
                check_key(key)
        except ValueError:
            raise NotABackup("This is no backup of NOVAI: a file in it has a name that no file of ours has.") from None
        expected = {name: content.size_bytes for name, content in self._expected.items()}
        found = {name: member.size for name, member in self._members.items() if name != MANIFEST}
        odd = [name for name in sorted({*expected, *found}) if expected.get(name) != found.get(name)]
        if odd:
            raise NotABackup(f"This backup does not hold what its manifest says: {odd[0]!r} differs.")


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """A backup to read from. Raises NotABackup."""
    try:
        with tarfile.open(path, mode="r:", tarinfo=_Plain) as tar:
            yield Archive(tar)
    except tarfile.TarError:
        raise NotABackup("This is no backup of NOVAI: it is not a tar file, or it is cut off.") from None


def _members(tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    found: dict[str, tarfile.TarInfo] = {}
    for member in tar:
        if member.name in found or len(found) >= MEMBERS_MAX:
            raise NotABackup("This is no backup of NOVAI: it names a file twice, or too many.")
        found[member.name] = member
    return found
