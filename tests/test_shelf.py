"""Finished sounds on a worker's disk, shared by processes that may be killed at any moment."""

import fcntl
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from novai_web.engines.ffmpeg import shelf
from novai_web.engines.ffmpeg.shelf import Shelf

ROOT = Path(__file__).parents[1]
KEY, OTHER, THIRD = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def shelved(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "shelf", bytes_max=1000)


def a_file(folder: Path, size: int, name: str = "made") -> Path:
    path = folder / name
    path.write_bytes(b"x" * size)
    return path


def long_ago(path: Path, seconds: float = 2 * shelf.SPARED_SECONDS) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def names(shelved: Shelf) -> set[str]:
    return {path.name for path in shelved.folder.iterdir() if path.is_file()}


def test_what_was_put_is_taken_by_whoever_has_the_key(shelved, tmp_path):
    assert shelved.take(KEY) is None
    where = shelved.put(KEY, a_file(tmp_path, 100))
    assert where.read_bytes() == b"x" * 100
    taken = Shelf(shelved.folder, bytes_max=1000).take(KEY)
    assert taken is not None and taken.read_bytes() == where.read_bytes()
    assert shelved.take(OTHER) is None


def test_what_is_shelved_cannot_be_written_to(shelved, tmp_path):
    assert shelved.put(KEY, a_file(tmp_path, 100)).stat().st_mode & 0o222 == 0


def test_putting_twice_keeps_one_whole_file(shelved, tmp_path):
    shelved.put(KEY, a_file(tmp_path, 100))
    shelved.put(KEY, a_file(tmp_path, 100))
    assert names(shelved) == {KEY}


def test_beyond_the_limit_what_was_unused_longest_goes_first(shelved, tmp_path):
    for age, key in ((3, KEY), (2, OTHER)):
        shelved.put(key, a_file(tmp_path, 400))
        long_ago(shelved.folder / key, age * shelf.SPARED_SECONDS)
    assert shelved.take(KEY)  # used again: now it is the newer one
    long_ago(shelved.folder / KEY, 1.5 * shelf.SPARED_SECONDS)
    shelved.put(THIRD, a_file(tmp_path, 400))
    assert names(shelved) == {KEY, THIRD}


def test_what_was_taken_just_now_stays_even_beyond_the_limit(shelved, tmp_path):
    shelved.put(KEY, a_file(tmp_path, 900))
    shelved.put(OTHER, a_file(tmp_path, 900))
    assert names(shelved) == {KEY, OTHER}
    long_ago(shelved.folder / KEY)
    shelved.put(THIRD, a_file(tmp_path, 100))
    assert names(shelved) == {OTHER, THIRD}


def test_what_is_larger_than_the_shelf_stays_where_it_is(shelved, tmp_path):
    made = a_file(tmp_path, 1001)
    assert shelved.put(KEY, made) == made and made.exists()
    assert names(shelved) == set()


@pytest.mark.parametrize("key", ["", "..", "../" + "a" * 61, "A" * 64, "a" * 63, "a" * 64 + "\n", "locks"])
def test_only_digests_are_keys(shelved, tmp_path, key):
    with pytest.raises(ValueError, match="not a key"):
        shelved.take(key)
    with pytest.raises(ValueError, match="not a key"):
        shelved.put(key, a_file(tmp_path, 1))
    with pytest.raises(ValueError, match="not a key"), shelved.lock(key):
        pass


def test_two_who_make_the_same_thing_take_turns(shelved):
    with shelved.lock(KEY) as first, shelved.lock(KEY, seconds=0) as second, shelved.lock(OTHER, seconds=0) as other:
        assert (first, second, other) == (True, False, True)
    with shelved.lock(KEY, seconds=0) as again:
        assert again


def test_who_waits_too_long_goes_on_without_the_lock(shelved):
    with shelved.lock(KEY), shelved.lock(KEY, seconds=0.2) as ours:
        assert not ours


def test_a_killed_process_leaves_no_lock_and_no_half_a_file(shelved):
    code = f"""
        import os, signal, sys
        from pathlib import Path
        from novai_web.engines.ffmpeg.shelf import Shelf
        shelf = Shelf(Path({str(shelved.folder)!r}), 1000)
        with shelf.lock({KEY!r}) as ours:
            (shelf.folder / ".arriving").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, check=False)
    assert ended.returncode == -9
    with shelved.lock(KEY, seconds=0) as ours:
        assert ours and shelved.take(KEY) is None


def test_what_a_killed_process_left_is_cleared_away_later(shelved, tmp_path):
    left = a_file(shelved.folder, 10, ".left")
    long_ago(left, 2 * shelf.ABANDONED_SECONDS)
    fresh = a_file(shelved.folder, 10, ".fresh")
    shelved.put(KEY, a_file(tmp_path, 10))
    assert not left.exists() and fresh.exists()


def test_only_one_process_clears_away_at_a_time(shelved, tmp_path):
    shelved.put(KEY, a_file(tmp_path, 900))
    long_ago(shelved.folder / KEY)
    with (shelved.folder / "locks" / "pruning").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        shelved.put(OTHER, a_file(tmp_path, 900))
        assert names(shelved) == {KEY, OTHER}
    shelved.put(THIRD, a_file(tmp_path, 10))
    assert names(shelved) == {OTHER, THIRD}


def test_many_processes_at_once_find_it_whole_or_not_at_all(shelved):
    code = f"""
        import os, random, sys
        from pathlib import Path
        from novai_web.engines.ffmpeg.shelf import Shelf
        shelf = Shelf(Path({str(shelved.folder)!r}), 1000)
        for turn in range(60):
            key = random.choice("abcdef") * 64
            with shelf.lock(key):
                if (taken := shelf.take(key)) is None:
                    made = Path({str(shelved.folder.parent)!r}) / f"{{os.getpid()}}"
                    made.write_bytes(key.encode() * 3)
                    taken = shelf.put(key, made)
                assert taken.read_bytes() == key.encode() * 3
    """
    children = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT) for _ in range(4)]
    assert [child.wait(timeout=60) for child in children] == [0] * 4
