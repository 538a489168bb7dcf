"""One suite for every store: this machine's disk, and Supabase Storage by way of its stand-in."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import requests
from pydantic import SecretStr

from novai_web.config import Settings
from novai_web.engines.store import Store, open_store, resumable
from novai_web.engines.store.local import LocalStore
from novai_web.engines.store.supabase import SupabaseStore
from novai_web.errors import DiskFull, NotFound, StoreFailed, TooLarge
from novai_web.sandbox import started
from novai_web.sandbox.supabase_storage import project_key
from tests.small_disk import mounted

MIB = 1024 * 1024
CHUNK = resumable.CHUNK_BYTES
BUCKETS = count()


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory) -> Iterator[str]:
    with started("supabase_storage", "--data", tmp_path_factory.mktemp("supabase")) as url:
        yield url


@pytest.fixture
def supabase(sandbox) -> Iterator[SupabaseStore]:
    yield SupabaseStore(sandbox, SecretStr(project_key()), f"novai-{next(BUCKETS)}")
    requests.delete(f"{sandbox}/sandbox/faults", timeout=5)


@pytest.fixture
def local(tmp_path) -> LocalStore:
    return LocalStore(tmp_path / "files")


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    with mounted(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture(params=["local", "supabase"])
def store(request) -> Store:
    return request.getfixturevalue(request.param)


@pytest.fixture
def write(tmp_path) -> Callable[[bytes], Path]:
    names = count()

    def write(content: bytes) -> Path:
        path = tmp_path / f"source-{next(names)}"
        path.write_bytes(content)
        return path

    return write


def content(store: Store, key: str, *within: int | None) -> bytes:
    return b"".join(store.read(key, *within))


# Every store


def test_what_is_put_can_be_read_measured_listed_and_fetched(store, write, tmp_path):
    store.put("assets/42/original.mp4", write(b"0123456789"), "video/mp4")
    assert content(store, "assets/42/original.mp4") == b"0123456789"
    assert store.size("assets/42/original.mp4") == 10
    assert list(store.list("")) == [("assets/42/original.mp4", 10)]
    store.fetch("assets/42/original.mp4", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"0123456789"


def test_put_replaces_and_the_source_may_then_go(store, write):
    for version in (b"first", b"second, and longer"):
        source = write(version)
        store.put("a", source, "text/plain")
        source.unlink()
        assert content(store, "a") == version
    assert list(store.list("")) == [("a", 18)]


def test_putting_the_same_file_again_is_fine(store, write):
    source = write(b"same")
    for _ in range(2):
        store.put("a", source, "text/plain")
    assert content(store, "a") == b"same"


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, None, b"0123456789"),
        (0, 1, b"0"),
        (3, 7, b"3456"),
        (9, None, b"9"),
        (9, 10, b"9"),
        (5, 99, b"56789"),
        (10, None, b""),
        (11, 12, b""),
        (4, 4, b""),
        (0, 0, b""),
        (7, 3, b""),
    ],
)
def test_a_range_has_its_bytes_and_none_beyond_the_end(store, write, start, end, expected):
    store.put("a", write(b"0123456789"), "text/plain")
    assert content(store, "a", start, end) == expected


def test_negative_ranges_are_a_mistake_of_the_caller(store):
    for within in ((-1, None), (0, -1)):
        with pytest.raises(ValueError, match="range"):
            store.read("a", *within)


def test_a_missing_object_is_not_found_before_the_first_byte(store, tmp_path):
    for within in ((0, None), (3, 5), (2, 2)):
        with pytest.raises(NotFound):
            store.read("assets/none", *within)
    with pytest.raises(NotFound):
        store.fetch("assets/none", tmp_path / "copy")
    assert store.size("assets/none") is None
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_deleting_is_by_name_and_may_be_repeated(store, write):
    for key in ("a/1", "a/2", "b"):
        store.put(key, write(b"x"), "text/plain")
    for _ in range(2):
        store.delete(["a/1", "b", "never"])
    assert list(store.list("")) == [("a/2", 1)]
    store.delete(["a"])  # a folder is not an object
    store.delete([])
    assert store.size("a/2") == 1


def test_more_are_deleted_and_listed_than_fit_one_call(store, write, monkeypatch):
    monkeypatch.setattr("novai_web.engines.store.supabase.DELETE_MAX", 4)
    monkeypatch.setattr("novai_web.engines.store.supabase.LIST_PAGE", 4)
    keys = [f"many/{number}/file" for number in range(9)]
    source = write(b"x")
    for key in keys:
        store.put(key, source, "text/plain")
    assert sorted(key for key, _ in store.list("many")) == keys
    store.delete(key for key in keys)
    assert list(store.list("")) == []


def test_a_list_is_of_a_folder_not_of_names_that_begin_alike(store, write):
    for key in ("assets/4/a", "assets/4/deep/er/b", "assets/42/c", "assets/4-d"):
        store.put(key, write(b"x"), "text/plain")
    for prefix in ("assets/4", "assets/4/"):
        assert sorted(store.list(prefix)) == [("assets/4/a", 1), ("assets/4/deep/er/b", 1)]
    assert list(store.list("nothing")) == []
    assert len(list(store.list(""))) == 4


@pytest.mark.parametrize(
    "key",
    [
        *(
            "",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "../a",
            ".hidden",
            "a/.b",
            "a\\b",
            "a\nb",
            "a b",
            "ж",
            "a%2e",
            "a\0",
        ),
        *("a" * 129, "/".join(["a" * 100] * 6), "C:", "a?b", "a#b"),
    ],
)
def test_no_other_name_gets_anywhere(store, write, tmp_path, key):
    source = write(b"x")
    calls = [
        lambda: store.put(key, source, "text/plain"),
        lambda: store.fetch(key, tmp_path / "copy"),
        lambda: store.read(key),
        lambda: store.local_path(key),
        lambda: store.link(key, seconds=60),
        lambda: store.size(key),
        lambda: store.delete(["fine", key]),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="storage key"):
            call()
    if key.rstrip("/"):
        with pytest.raises(ValueError, match="storage key"):
            store.list(key if key != "a/" else "a//")


def test_a_missing_source_or_folder_is_the_callers_mistake(store, write, tmp_path):
    store.put("b", write(b"x"), "text/plain")
    with pytest.raises(FileNotFoundError):
        store.fetch("b", tmp_path / "none" / "copy")
    with pytest.raises(FileNotFoundError):
        store.put("a", tmp_path / "none", "text/plain")
    assert store.size("a") is None


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1])
def test_files_of_every_size_keep_their_bytes(store, write, size):
    data = os.urandom(size)
    store.put("a", write(data), "video/mp4")
    assert content(store, "a") == data
    assert store.size("a") == size


def test_many_put_and_delete_in_one_folder_at_once(store, write):
    source, errors = write(b"x"), []

    def work(number: int) -> None:
        try:
            for _ in range(10):
                store.put(f"folder/{number}", source, "text/plain")
                store.delete([f"folder/{number}"])
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert list(store.list("")) == []


def test_settings_choose_the_store(tmp_path, sandbox):
    assert isinstance(open_store(Settings(_env_file=None, data=tmp_path)), LocalStore)
    supabase = Settings(_env_file=None, data=tmp_path, supabase_url=sandbox, supabase_key=SecretStr("k"))
    assert isinstance(open_store(supabase), SupabaseStore)


# The disk


def test_the_disk_has_paths_and_room_but_no_links(local, write):
    local.put("a", write(b"x"), "text/plain")
    assert local.local_path("a").read_bytes() == b"x"
    with pytest.raises(NotFound):
        local.local_path("b")
    assert local.link("a", seconds=60) is None
    assert local.free_bytes() > MIB


def test_on_one_disk_nothing_is_copied_and_nothing_can_be_written(local, write, tmp_path):
    source = write(b"x" * MIB)
    local.put("a", source, "text/plain")
    local.fetch("a", tmp_path / "copy")
    assert source.stat().st_ino == local.local_path("a").stat().st_ino == (tmp_path / "copy").stat().st_ino
    assert local.local_path("a").stat().st_mode & 0o222 == 0


def test_a_symbolic_link_is_stored_as_what_it_points_to(local, write, tmp_path):
    (tmp_path / "link").symlink_to(write(b"pointed to"))
    local.put("a", tmp_path / "link", "text/plain")
    assert not local.local_path("a").is_symlink()
    assert content(local, "a") == b"pointed to"


def test_empty_folders_go_with_their_last_object(local, write, tmp_path):
    local.put("a/b/c", write(b"x"), "text/plain")
    local.put("a/d", write(b"x"), "text/plain")
    local.delete(["a/b/c"])
    assert not (tmp_path / "files/a/b").exists()
    local.delete(["a/d"])
    assert [path.name for path in (tmp_path / "files").iterdir()] == [".incoming"]


@pytest.mark.parametrize("step", ["Path.hardlink_to", "Path.chmod", "os.fsync", "Path.mkdir", "Path.replace"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_writer_killed_at_any_step_leaves_the_old_object_or_the_new_one(tmp_path, step, moment):
    """A child kills itself just before or just after each system call of `put`."""
    code = """
import os, signal, sys
from pathlib import Path
from novai_web.engines.store.local import LocalStore

folder, step, moment = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
store = LocalStore(folder / "files")
for name in ("old", "new"):
    (folder / name).write_bytes(name.encode() * 1_000_000)
store.put("a/b", folder / "old", "text/plain")
owner, name = {"Path": Path, "os": os}[step.partition(".")[0]], step.partition(".")[2]
real = getattr(owner, name)

def deadly(*args, **kwargs):
    if moment == "after":
        real(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, name, deadly)
for key in ("a/b", "c/d"):  # one that is there, and one whose folder is not
    store.put(key, folder / "new", "text/plain")
"""
    child = subprocess.run([sys.executable, "-c", code, str(tmp_path), step, moment], check=False)
    assert child.returncode == -signal.SIGKILL
    store = LocalStore(tmp_path / "files")
    assert content(store, "a/b") in (b"old" * 1_000_000, b"new" * 1_000_000)
    assert all(size == 3_000_000 for _, size in store.list(""))
    store.put("c/d", tmp_path / "new", "text/plain")
    assert content(store, "c/d") == b"new" * 1_000_000


def test_what_a_killed_writer_left_is_swept_after_a_day(local, tmp_path, monkeypatch):
    leftover = tmp_path / "files/.incoming/leftover"
    leftover.write_bytes(b"x")
    LocalStore(tmp_path / "files")
    assert leftover.exists()
    monkeypatch.setattr("novai_web.engines.store.local.ABANDONED_SECONDS", -1)
    LocalStore(tmp_path / "files")
    assert not leftover.exists()


def test_a_full_disk_is_said_and_leaves_nothing(small_disk, write):
    store = LocalStore(small_disk / "files")
    room = store.free_bytes()
    store.put("fits", write(b"x" * MIB), "text/plain")
    with pytest.raises(DiskFull):
        store.put("a/too-large", write(b"x" * (room + MIB)), "text/plain")
    assert list(store.list("")) == [("fits", MIB)]
    assert list((small_disk / "files/.incoming").iterdir()) == []
    store.delete(["fits"])
    assert abs(store.free_bytes() - room) < MIB


# Supabase Storage


@pytest.fixture
def fault(sandbox) -> Callable[..., None]:
    def plan(kind: str, **details: object) -> None:
        faults = [{"fault": kind, **details}]
        requests.post(f"{sandbox}/sandbox/faults", json=faults, timeout=5).raise_for_status()

    return plan


@pytest.fixture
def impatient(monkeypatch) -> None:
    """Retries without their waits."""
    monkeypatch.setattr("novai_web.engines.store.supabase_api._WAIT_SECONDS", 0.01)


@pytest.fixture
def asked(sandbox) -> Callable[[str], int]:
    requests.delete(f"{sandbox}/sandbox/requests", timeout=5)

    def times(method: str) -> int:
        record = requests.get(f"{sandbox}/sandbox/requests", timeout=5).json()
        return sum(entry["method"] == method for entry in record)

    return times


def test_the_bucket_is_made_private_and_only_once(supabase, sandbox, write, asked):
    for key in "ab":
        supabase.put(key, write(b"x"), "text/plain")
    headers = {"Authorization": f"Bearer {project_key()}"}
    name = repr(supabase).partition("bucket='")[2].rstrip("')")
    assert requests.get(f"{sandbox}/storage/v1/bucket/{name}", headers=headers, timeout=5).json()["public"] is False
    assert asked("POST") == 1


def test_a_public_bucket_is_refused(supabase, sandbox, write):
    headers = {"Authorization": f"Bearer {project_key()}"}
    requests.post(
        f"{sandbox}/storage/v1/bucket", json={"name": "open", "public": True}, headers=headers, timeout=5
    ).raise_for_status()
    with pytest.raises(StoreFailed, match="public"):
        SupabaseStore(sandbox, SecretStr(project_key()), "open").put("a", write(b"x"), "text/plain")


def test_a_link_is_whole_for_anyone_and_names_the_download(supabase, write):
    supabase.put("a/b.mp4", write(b"0123"), "video/mp4")
    answer = requests.get(supabase.link("a/b.mp4", seconds=60), timeout=5)
    assert (answer.content, answer.headers["Content-Type"]) == (b"0123", "video/mp4")
    assert "Content-Disposition" not in answer.headers
    name = 'наш "клип" 100% & more\r\nX-Evil: 1.mp4'
    named = requests.get(supabase.link("a/b.mp4", seconds=60, download_name=name), timeout=5)
    assert named.headers["Content-Disposition"].startswith("attachment; filename=%D0%BD%D0%B0%D1%88")
    assert "X-Evil" not in named.headers
    short = supabase.link("a/b.mp4", seconds=1)
    time.sleep(2.1)
    assert requests.get(short, timeout=5).status_code == 400
    with pytest.raises(NotFound):
        supabase.link("a/none", seconds=60)
    assert supabase.local_path("a/b.mp4") is None
    assert supabase.free_bytes() is None


def test_large_files_go_in_chunks_of_six_megabytes_and_small_ones_in_one_piece(supabase, write, asked):
    supabase.put("small", write(b"x" * CHUNK), "video/mp4")
    assert (asked("PUT"), asked("PATCH")) == (1, 0)
    supabase.put("large", write(b"x" * (2 * CHUNK + 1)), "video/mp4")
    assert (asked("PUT"), asked("PATCH")) == (1, 3)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("after", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1])
def test_a_cut_upload_goes_on_where_it_was(supabase, write, fault, asked, after):
    data = os.urandom(2 * CHUNK + 5)
    supabase.put("warm-up", write(b"x"), "text/plain")
    fault("cut", method="PATCH", after_bytes=after)
    supabase.put("a", write(data), "video/mp4")
    assert content(supabase, "a") == data
    assert asked("POST") == 2  # the bucket and one upload, not two


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["lost", "status", "garbled"])
@pytest.mark.parametrize("size", [10, 2 * CHUNK + 5])
def test_an_upload_survives_lost_and_wrong_answers(supabase, write, fault, kind, size):
    data = os.urandom(size)
    for method in ("PATCH", "PUT", "HEAD"):
        fault(kind, method=method, times=3, path="a")
    supabase.put("a", write(data), "video/mp4")
    assert supabase.size("a") == size


@pytest.mark.usefixtures("impatient")
def test_an_upload_that_the_server_has_forgotten_begins_again(supabase, write, fault, asked):
    supabase.put("warm-up", write(b"x"), "text/plain")
    for method in ("PATCH", "HEAD"):
        fault("status", status=404, body="The file for this url was not found", method=method)
    supabase.put("a", write(b"x" * (CHUNK + 1)), "video/mp4")
    assert supabase.size("a") == CHUNK + 1
    assert asked("POST") == 3  # the bucket and two uploads


@pytest.mark.usefixtures("impatient")
def test_an_upload_that_makes_no_progress_is_given_up(supabase, write, fault, asked):
    supabase.put("warm-up", write(b"x"), "text/plain")
    for kind, details in (("status", {"status": 409}), ("cut", {"after_bytes": 0})):
        fault(kind, times=1000, method="PATCH", **details)
        before = asked("PATCH")
        with pytest.raises(StoreFailed):
            supabase.put("a", write(b"x" * (CHUNK + 1)), "video/mp4")
        assert asked("PATCH") - before == 5
        requests.delete(f"{supabase._api.base.removesuffix('/storage/v1')}/sandbox/faults", timeout=5)
    assert supabase.size("a") is None


@pytest.mark.usefixtures("impatient")
def test_a_download_that_is_cut_goes_on_where_it_was(supabase, write, fault, tmp_path):
    data = os.urandom(3 * MIB)
    supabase.put("a", write(data), "video/mp4")
    for after in (0, 1, MIB, 300_000):
        fault("cut", method="GET", path="/a", after_bytes=after)
    supabase.fetch("a", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    fault("cut", method="GET", path="/a", after_bytes=7)
    assert content(supabase, "a", 1000, 2_000_000) == data[1000:2_000_000]


@pytest.mark.usefixtures("impatient")
def test_a_download_never_mixes_two_versions(supabase, write, fault):
    supabase.put("a", write(os.urandom(3 * MIB)), "video/mp4")
    fault("cut", method="GET", path="/a", after_bytes=MIB)
    pieces = supabase.read("a")
    next(pieces)
    supabase.put("a", write(os.urandom(3 * MIB)), "video/mp4")
    with pytest.raises(StoreFailed):
        list(pieces)


@pytest.mark.usefixtures("impatient")
def test_a_store_that_stays_down_is_said_and_nothing_is_half_there(supabase, write, fault, asked, tmp_path):
    supabase.put("a", write(b"x" * MIB), "text/plain")
    fault("status", status=503, times=1000)
    for call in (
        lambda: supabase.put("b", write(b"x"), "text/plain"),
        lambda: supabase.put("b", write(b"x" * (CHUNK + 1)), "text/plain"),
        lambda: supabase.fetch("a", tmp_path / "copy"),
        lambda: supabase.link("a", seconds=60),
        lambda: supabase.size("a"),
        lambda: supabase.delete(["a"]),
        lambda: list(supabase.list("")),
    ):
        with pytest.raises(StoreFailed):
            call()
    assert not (tmp_path / "copy").exists()
    assert asked("GET") <= 1 + 3 * 5  # five attempts a call, not an endless loop


@pytest.mark.usefixtures("impatient")
def test_lists_deletions_and_buckets_survive_passing_trouble(supabase, write, fault):
    fault("status", status=503, times=2, path="/bucket")
    supabase.put("a", write(b"x"), "text/plain")
    fault("status", status=429, times=2, path="/list-v2")
    assert list(supabase.list("")) == [("a", 1)]
    fault("lost", times=2, method="DELETE")
    supabase.delete(["a"])
    assert list(supabase.list("")) == []


@pytest.mark.usefixtures("impatient")
def test_a_store_that_asks_for_a_long_wait_is_not_waited_for(supabase, write, fault, asked):
    fault("status", status=429, retry_after=120, method="PUT")
    with pytest.raises(StoreFailed) as failure:
        supabase.put("a", write(b"x"), "text/plain")
    assert failure.value.retry_after_seconds == 120
    assert asked("PUT") == 1
    fault("status", status=429, retry_after=1, method="PUT")
    before = time.monotonic()
    supabase.put("a", write(b"x"), "text/plain")
    assert time.monotonic() - before >= 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("details", "error"),
    [
        ({"status": 507}, DiskFull),
        ({"status": 500, "body": '{"message":"ENOSPC: no space left on device"}'}, DiskFull),
        ({"status": 402, "body": '{"message":"restricted: exceed_storage_size_quota"}'}, DiskFull),
        ({"status": 400, "body": '{"statusCode":"413","error":"Payload too large","message":"m"}'}, TooLarge),
        ({"status": 413, "body": "<html>413 Request Entity Too Large</html>"}, TooLarge),
        ({"status": 401, "body": '{"message":"Invalid API key"}'}, StoreFailed),
        ({"status": 418, "body": "[]"}, StoreFailed),
        ({"status": 400, "body": '{"statusCode":"what","message":7}'}, StoreFailed),
    ],
)
def test_what_the_store_says_becomes_our_error(supabase, write, fault, details, error):
    fault("status", method="PUT", times=9, **details)
    with pytest.raises(error):
        supabase.put("a", write(b"x"), "text/plain")
    fault("status", path="/upload/resumable", times=9, **details)
    with pytest.raises(error):
        supabase.put("a", write(b"x" * (CHUNK + 1)), "text/plain")


@pytest.mark.usefixtures("impatient")
def test_html_instead_of_an_answer_is_an_error_in_plain_words(supabase, sandbox, write, fault):
    supabase.put("a", write(b"x"), "text/plain")
    for call in (lambda: supabase.link("a", seconds=9), lambda: supabase.size("a"), lambda: list(supabase.list(""))):
        fault("garbled", times=9)
        with pytest.raises(StoreFailed, match="try again"):
            call()
        requests.delete(f"{sandbox}/sandbox/faults", timeout=5)


def test_nothing_is_waited_for_without_an_end(supabase, write, fault, monkeypatch):
    supabase.put("a", write(b"x"), "text/plain")
    monkeypatch.setattr("novai_web.engines.store.supabase.LINK_READ_SECONDS", 0.2)
    fault("slow", seconds=5, times=9)
    before = time.monotonic()
    with pytest.raises(StoreFailed):
        supabase.link("a", seconds=60)
    assert time.monotonic() - before < 4


def test_the_key_is_in_no_text_that_anybody_might_see(sandbox, write, caplog, fault, capfd):
    key = project_key(secret="another-secret-of-sufficient-length")
    store = SupabaseStore(sandbox, SecretStr(key), "novai")
    caplog.set_level(logging.DEBUG)
    texts = [repr(store), repr(vars(store)), repr(store._api)]
    fault("status", status=400, body=f'{{"statusCode":"400","message":"bad {key}"}}')
    for call in (
        lambda: store.size("a"),
        lambda: store.put("a", write(b"x"), "text/plain"),
        lambda: store.read("a"),
        lambda: store.delete(["a"]),
    ):
        with pytest.raises(StoreFailed) as failure:
            call()
        texts += [str(failure.getrepr(chain=True, showlocals=False)), repr(failure.value.__cause__)]
    with pytest.raises(StoreFailed, match="SUPABASE_SERVICE_ROLE_KEY"):
        store.size("a")
    assert not [text for text in (*texts, caplog.text, *capfd.readouterr()) if key in text]
    for wrong in ("line\nbreak", "ключ"):
        with pytest.raises(ValueError) as refused:
            SupabaseStore(sandbox, SecretStr(wrong), "novai")
        assert wrong not in str(refused.value)


def test_links_reading_and_small_uploads_never_load_supabases_client(sandbox, tmp_path):
    code = f"""
import sys
from pathlib import Path
from novai_web.config import Settings
from novai_web.engines.store import open_store
heavy = {{"supabase", "storage3", "httpx", "av", "PIL", "numpy"}}
store = open_store(Settings(_env_file=None, data=Path({str(tmp_path)!r}), supabase_url={sandbox!r},
                            supabase_key={project_key()!r}, supabase_bucket="light"))
assert not heavy & set(sys.modules), heavy & set(sys.modules)
if "again" in sys.argv:
    print(store.link("a", seconds=60))
    assert b"".join(store.read("a")) == b"x" and store.size("a") == 1
    assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    source = tmp_path / "x"
    source.write_bytes(b"x")
    SupabaseStore(sandbox, SecretStr(project_key()), "light").put("a", source, "text/plain")
    for arguments in ([], ["again"]):
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, timeout=60)
