"""ZIP archives: opening a stranger's without believing it, and making one of our own.

What a ZIP says of itself is checked against what is in it before anything is unpacked: how many entries it has, how
large they are, where each lies and under which name. Names are never used as paths; what is unpacked is numbered.
"""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, NoReturn

from novai_web.errors import UnusableMedia
from novai_web.library import words

MEGABYTE = 1024 * 1024
ENTRIES_MAX = 1000
PICTURES_MAX = 200
LIST_BYTES_MAX = MEGABYTE
PICTURE_BYTES_MAX = 50 * MEGABYTE
ALL_BYTES_MAX = 600 * MEGABYTE
TEXT_BYTES_MAX = 8000
CHUNK_BYTES = 256 * 1024

PICTURES = {".jpg", ".jpeg", ".png", ".webp"}
# What the systems of this world put into every archive, and nobody means.
_LITTER = {"thumbs.db", "desktop.ini", ".ds_store"}
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_END, _END_BYTES, _COMMENT_BYTES_MAX = b"PK\x05\x06", 22, 65_535
# Where a larger archive says where its own end is; it would be believed more than the end itself.
_LOCATOR, _LOCATOR_BYTES = b"PK\x06\x07", 20
_LOCAL_BYTES = 30
_IS_ENCRYPTED = 0x1


@dataclass(frozen=True)
class Unpacked:
    """One picture of an archive: where it lies now, what it was called there, and what the text beside it says."""

    path: Path
    name: str
    caption: str | None


@dataclass(frozen=True)
class LeftOut:
    """Something in an archive that was not taken, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Opened:
    pictures: tuple[Unpacked, ...]
    left_out: tuple[LeftOut, ...]


def open_pictures(path: Path, folder: Path) -> Opened:
    """Unpack the pictures of a ZIP into `folder`, each with the caption in the text file of the same name, if any.

    Raises UnusableMedia, and leaves nothing behind, for an archive that is damaged, dangerous, or says what is not so.
    """
    try:
        _check_end(path)
        with zipfile.ZipFile(path) as archive:
            entries = _checked(path, archive)
            return _unpack(archive, entries, folder)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        UnicodeError,
        struct.error,
        ValueError,
    ) as bad:
        _sweep(folder)
        raise UnusableMedia(
            "This ZIP is damaged, or says what is not so of what is in it. Make it anew; nothing was kept."
        ) from bad
    except BaseException:
        _sweep(folder)
        raise


def write(path: Path, files: Iterable[tuple[str, Path | str]]) -> None:
    """An archive of ours, whole or not at all: plain names, no times, no rights; the same files make the same bytes.

    Each file is a name and either a path or the text itself.
    """
    growing = path.with_name(f"{path.name}.growing")
    with zipfile.ZipFile(growing, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            if isinstance(content, str):
                archive.writestr(entry, content.encode())
                continue
            with content.open("rb") as source, archive.open(entry, "w") as target:
                while chunk := source.read(CHUNK_BYTES):
                    target.write(chunk)
    growing.replace(path)


def _check_end(path: Path) -> None:
    """The end of a ZIP says how much there is to read: it is asked before anything is read at length."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4)
        if head[:2] != b"PK":
            raise UnusableMedia("This is not a ZIP archive. Pack the pictures as .zip and send that; nothing was kept.")
        file.seek(max(0, size - _END_BYTES - _COMMENT_BYTES_MAX - _LOCATOR_BYTES))
        tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise UnusableMedia("This ZIP is cut short: its end is missing. Send it again; nothing was kept.")
    disk, first, here, entries, listed, offset = struct.unpack("<4H2L", tail[at + 4 : at + 20])
    if disk or first or here != entries:
        raise UnusableMedia("This ZIP is one part of several. Make a single one; nothing was kept.")
    is_large = _LOCATOR in tail[max(0, at - _LOCATOR_BYTES) : at] or entries == 0xFFFF or 0xFFFFFFFF in (listed, offset)
    if is_large or listed > LIST_BYTES_MAX:
        raise UnusableMedia(f"There is too much in this ZIP: at most {ENTRIES_MAX:,} files. Nothing was kept.")


def _checked(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files in it, when all that it says of them holds together. Raises UnusableMedia."""
    entries = archive.infolist()
    if len(entries) > ENTRIES_MAX:
        _refuse(f"it holds {len(entries):,} files, and {ENTRIES_MAX:,} are the most")
    for entry in entries:
        _check_entry(entry)
    files = [entry for entry in entries if not entry.is_dir()]
    folded = [entry.filename.casefold() for entry in files]
    if len(set(folded)) < len(folded):
        _refuse("two files in it have the same name")
    if sum(entry.file_size for entry in files) > ALL_BYTES_MAX:
        _refuse(f"unpacked it has more than {ALL_BYTES_MAX // MEGABYTE} MB")
    _check_places(path, entries, archive.start_dir)
    return files


def _check_entry(entry: zipfile.ZipInfo) -> None:
    """Raises UnusableMedia for names that lead elsewhere and for whatever is no plain file and no folder."""
    name = entry.orig_filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not name or "\0" in name or ".." in parts or name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":"):
        _refuse("the name of a file in it leads out of it")
    mode = entry.external_attr >> 16
    if stat.S_ISLNK(mode):
        _refuse("there is a link in it; put the pictures themselves in")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        _refuse("something in it is not a file")
    if entry.flag_bits & _IS_ENCRYPTED:
        _refuse("it is locked with a password")
    if entry.compress_type not in _PLAIN:
        _refuse("it is packed in a way that is not read here; use the usual one")
    if entry.is_dir() and entry.file_size:
        _refuse("a folder in it has a content of its own")


def _check_places(path: Path, entries: list[zipfile.ZipInfo], list_begins: int) -> None:
    """Each entry has its own place in the file: entries that share their bytes are how a small bomb gets large."""
    places = []
    with path.open("rb") as file:
        for entry in entries:
            if entry.header_offset < 0:
                _refuse("a file in it is not where it should be")
            file.seek(entry.header_offset)
            local = file.read(_LOCAL_BYTES)
            if len(local) < _LOCAL_BYTES or local[:4] != b"PK\x03\x04":
                _refuse("a file in it is not where it should be")
            name_bytes, more_bytes = struct.unpack("<2H", local[26:30])
            body = entry.header_offset + _LOCAL_BYTES + name_bytes + more_bytes
            places.append((entry.header_offset, body + entry.compress_size))
    end = 0
    for begin, stop in sorted(places):
        if begin < end:
            _refuse("files in it overlap")
        end = stop
    if end > list_begins:
        _refuse("a file in it goes on behind its end")


def _unpack(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], folder: Path) -> Opened:
    wanted = [entry for entry in entries if not _is_litter(entry.filename)]
    pictures = [entry for entry in wanted if _ending(entry) in PICTURES]
    texts = {_stem(entry): entry for entry in wanted if _ending(entry) == ".txt"}
    left_out = [
        LeftOut(_shown(entry), "It is no picture.") for entry in wanted if _ending(entry) not in {*PICTURES, ".txt"}
    ]
    if len(pictures) > PICTURES_MAX:
        _refuse(f"it holds {len(pictures):,} pictures, and {PICTURES_MAX:,} are the most")
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    left_bytes = ALL_BYTES_MAX
    for number, entry in enumerate(pictures):
        target = folder / f"{number:04}"
        left_bytes -= _copy(archive, entry, target, min(PICTURE_BYTES_MAX, left_bytes))
        text = texts.pop(_stem(entry), None)
        found.append(Unpacked(target, _shown(entry), _caption(archive, text) if text else None))
    left_out += [LeftOut(_shown(entry), "There is no picture of that name.") for entry in texts.values()]
    return Opened(tuple(found), tuple(left_out))


def _copy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, bytes_max: int) -> int:
    """Unpack one file, and count: what it says of its size is not asked. How many bytes it had."""
    got = 0
    with archive.open(entry) as source, target.open("wb") as file:
        for chunk in _chunks(source):
            got += len(chunk)
            if got > bytes_max:
                _refuse(f"“{_shown(entry)}” has more than {bytes_max // MEGABYTE} MB")
            file.write(chunk)
    return got


def _caption(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str | None:
    """What the text beside a picture says, as one line. Raises UnusableMedia."""
    got = b""
    with archive.open(entry) as source:
        for chunk in _chunks(source):
            got += chunk
            if len(got) > TEXT_BYTES_MAX:
                _refuse(f"the caption “{_shown(entry)}” is longer than {TEXT_BYTES_MAX:,} bytes")
    try:
        said = got.decode("utf-8-sig")
    except UnicodeDecodeError:
        _refuse(f"the caption “{_shown(entry)}” is not text in UTF-8")
    return words.plain(said) or None


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    while chunk := source.read(CHUNK_BYTES):
        yield chunk


def _is_litter(name: str) -> bool:
    path = PurePosixPath(name)
    return "__MACOSX" in path.parts or path.name.casefold() in _LITTER or path.name.startswith("._")


def _ending(entry: zipfile.ZipInfo) -> str:
    return PurePosixPath(entry.filename).suffix.lower()


def _stem(entry: zipfile.ZipInfo) -> str:
    return str(PurePosixPath(entry.filename).with_suffix("")).casefold()


def _shown(entry: zipfile.ZipInfo) -> str:
    """Its name without folders, safe to show."""
    return words.name(PurePosixPath(entry.filename).name) or "Untitled"


def _sweep(folder: Path) -> None:
    for path in folder.glob("[0-9]*"):
        path.unlink(missing_ok=True)


def _refuse(why: str) -> NoReturn:
    raise UnusableMedia(f"This ZIP cannot be used: {why}. Nothing was kept.")
