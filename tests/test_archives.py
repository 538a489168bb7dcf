"""A stranger's ZIP is opened without believing it, and our own says nothing but what it holds."""

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from novai_web.errors import UnusableMedia
from novai_web.library import archives
from tests.things import png


@pytest.fixture
def opened(tmp_path):
    """`opened(content)`: what is in a ZIP of these bytes, unpacked."""

    def open_it(content: bytes) -> archives.Opened:
        path = tmp_path / "given.zip"
        path.write_bytes(content)
        return archives.open_pictures(path, tmp_path / "unpacked")

    return open_it


def packed(*files: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return out.getvalue()


def entry(name: str, mode: int) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.create_system = 3
    made.external_attr = mode << 16
    return made


def test_pictures_come_out_numbered_with_the_captions_beside_them(opened, tmp_path):
    found = opened(
        packed(
            ("photos/One.PNG", png(1)),
            ("photos/one.txt", "A woman\non a beach\n".encode("utf-8-sig")),
            ("photos/", b""),
            ("two.jpg", b"not looked at here"),
            ("__MACOSX/photos/._One.PNG", b"litter"),
            (".DS_Store", b"litter"),
            ("notes.pdf", b"%PDF"),
            ("lonely.txt", b"nobody's"),
        )
    )
    assert [(each.name, each.caption) for each in found.pictures] == [
        ("One.PNG", "A woman on a beach"),
        ("two.jpg", None),
    ]
    assert [each.path.name for each in found.pictures] == ["0000", "0001"]
    assert found.pictures[0].path.read_bytes() == png(1)
    assert {each.name: each.why for each in found.left_out} == {
        "notes.pdf": "It is no picture.",
        "lonely.txt": "There is no picture of that name.",
    }
    assert not [path for path in tmp_path.rglob("*") if path.name in ("One.PNG", "two.jpg")]


def overlapping() -> bytes:
    """Two entries of the list that name the same bytes: how a quine or a flat bomb is made."""
    content = bytearray(packed(("a.png", b"x" * 1000), ("b.png", b"y" * 1000), method=zipfile.ZIP_STORED))
    second = content.rindex(b"PK\x01\x02")
    struct.pack_into("<L", content, second + 42, 0)
    return bytes(content)


def altered(at: bytes, offset: int, kind: str, value: int, content: bytes | None = None) -> bytes:
    """A ZIP of one picture in which one number of its list or its end is another."""
    made = bytearray(content or packed(("a.png", b"x" * 1000), method=zipfile.ZIP_STORED))
    struct.pack_into(kind, made, made.rindex(at) + offset, value)
    return bytes(made)


def believed_more_than_its_end() -> bytes:
    """An end that is harmless, and before it the locator of another that is not."""
    content = packed(("a.png", b"x"))
    at = content.rindex(b"PK\x05\x06")
    return content[:at] + b"PK\x06\x07" + b"\0" * 16 + content[at:]


HOSTILE = {
    "a path that leads up": packed(("../../evil.png", b"x")),
    "a path that leads up inside": packed(("a/../../evil.png", b"x")),
    "a path from the root": packed(("/etc/evil.png", b"x")),
    "a path of Windows": packed(("..\\..\\evil.png", b"x")),
    "a drive": packed(("C:evil.png", b"x")),
    "a link": packed((entry("link.png", stat.S_IFLNK | 0o777), b"/etc/passwd")),
    "a device": packed((entry("device.png", stat.S_IFCHR | 0o666), b"")),
    "a pipe": packed((entry("pipe.png", stat.S_IFIFO | 0o666), b"")),
    "names that differ in case only": packed(("a.png", b"x"), ("A.PNG", b"y")),
    "a bomb": packed(("a.png", b"\0" * (60 * 1024 * 1024))),
    "entries that overlap": overlapping(),
    "a size that is a lie": altered(b"PK\x01\x02", 24, "<L", 10),
    "a packed size that is a lie": altered(b"PK\x01\x02", 20, "<L", 10),
    "a place outside": altered(b"PK\x01\x02", 42, "<L", 0x7FFFFFFF),
    "a checksum that is wrong": altered(b"PK\x01\x02", 16, "<L", 1),
    "a lock": altered(b"PK\x01\x02", 8, "<H", 1),
    "an unknown packing": altered(b"PK\x01\x02", 10, "<H", 99),
    "bzip2": packed(("a.png", b"x" * 1000), method=zipfile.ZIP_BZIP2),
    "a list that is too long": altered(b"PK\x05\x06", 12, "<L", 50 * 1024 * 1024),
    "a list that is elsewhere": altered(b"PK\x05\x06", 16, "<L", 0x7FFFFFFF),
    "more entries than it says": altered(b"PK\x05\x06", 10, "<H", 7),
    "one part of several": altered(b"PK\x05\x06", 4, "<H", 1),
    "another end before its end": believed_more_than_its_end(),
    "no end": packed(("a.png", b"x" * 1000))[:-30],
    "no ZIP at all": b"hello, I am a ZIP",
    "nothing": b"",
    "a RAR": b"Rar!\x1a\x07\x00" + b"x" * 100,
    "a caption that is no text": packed(("a.png", b"x"), ("a.txt", b"\xff\xfe\x00")),
    "a caption without end": packed(("a.png", b"x"), ("a.txt", b"a" * 100_000)),
    "too many files": packed(*((f"{n}.txt", b"") for n in range(archives.ENTRIES_MAX + 1))),
    "too many pictures": packed(*((f"{n}.png", b"") for n in range(archives.PICTURES_MAX + 1))),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused_in_a_sentence_and_leaves_nothing(opened, tmp_path, what):
    with pytest.raises(UnusableMedia, match=r"[Nn]othing was kept\.$"):
        opened(HOSTILE[what])
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "given.zip"]
    assert left == []
    assert not (tmp_path.parent / "evil.png").exists()


def test_two_entries_of_one_name_are_refused(opened):
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = packed(("a.png", b"x"), ("a.png", b"y"))
    with pytest.raises(UnusableMedia, match="same name"):
        opened(content)


def test_our_own_archive_is_plain_and_always_the_same(tmp_path):
    picture = tmp_path / "Private name with GPS.jpg"
    picture.write_bytes(b"picture")
    made = []
    for name in ("one.zip", "two.zip"):
        archives.write(tmp_path / name, [("001.jpg", picture), ("001.txt", "a caption, ü")])
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1] and b"Private" not in made[0]
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert [each.filename for each in archive.infolist()] == ["001.jpg", "001.txt"]
        assert archive.read("001.txt").decode() == "a caption, ü"
    assert [path.name for path in sorted(Path(tmp_path).glob("*.growing"))] == []
