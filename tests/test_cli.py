"""`flask variants`: the same engine from the command line, without server, account or database."""

import os
import subprocess
import sys
from pathlib import Path

import av
import pytest

from tests import media

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    for name in ("videos", "audios", "empty"):
        (folder / name).mkdir()
    media.b_frames(folder / "videos" / "beach.mp4")
    media.silent(folder / "videos" / "quiet.mp4")
    (folder / "videos" / "notes.txt").write_text("not a video")
    media.audio(folder / "audios" / "song.mp3")
    (folder / "hooks.txt").write_text("One\n\nTwo\nOne\n", encoding="utf-8")
    return folder


def variants(folder: Path, *more: str, videos: str = "videos") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "variants", "--videos", str(folder / videos), *more]
    environment = {**os.environ, "NOVAI_DATA": str(folder / "data")}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)


def test_a_folder_becomes_checked_files_named_by_the_template(folders, tmp_path):
    out = tmp_path / "out"
    answer = variants(
        folders, "--audios", str(folders / "audios"), "--hooks", str(folders / "hooks.txt"), "--out", str(out),
        "--mix", "every", "--name", "{video}-{hook}", "--hook-duration-seconds", "1",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert f"4 of 4 variants in {out}" in answer.stdout
    assert sorted(path.name for path in out.iterdir()) == [
        "beach-One.mp4", "beach-Two.mp4", "quiet-One.mp4", "quiet-Two.mp4",
    ]  # fmt: skip
    for path in out.iterdir():
        with av.open(str(path)) as film:
            assert sorted(stream.type for stream in film.streams) == ["audio", "video"]


def test_explain_says_what_would_be_done_and_makes_nothing(folders, tmp_path):
    answer = variants(folders, "--out", str(tmp_path / "out"), "--explain")
    assert answer.returncode == 0, answer.stderr
    assert "2 variants of 2 clips\n  pictures   2 for 2 variants: 2 copy\n" in answer.stdout
    assert not (tmp_path / "out").exists()


def test_explain_says_of_each_clip_in_which_way_it_is_made_and_why(folders, tmp_path):
    shown = (
        "--hooks",
        str(folders / "hooks.txt"),
        "--hook-duration-seconds",
        "0.5",
        "--out",
        str(tmp_path),
        "--explain",
    )
    answer = variants(folders, *shown, "--mix", "every")
    assert answer.returncode == 0, answer.stderr
    assert "exact      2 hooks for 2 variants, because only the pictures around the hook change" in answer.stdout
    assert "silent     2 variants" in answer.stdout
    answer = variants(folders, *shown, "--method", "normalise")
    assert "normalise  1 hook for 1 variant, because this method was chosen" in answer.stdout, answer.stdout


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--hook-color", "red"], "hook_color"),
        (["--name", "{nonsense}"], "name_template"),
        (["--hook-size", "900"], "hook_size"),
        (["--method", "magic"], "--method"),
    ],
)
def test_a_wrong_option_is_named_with_its_remedy(folders, tmp_path, more, sentence):
    answer = variants(folders, "--out", str(tmp_path), *more)
    assert answer.returncode == 2 and sentence in answer.stderr and "Traceback" not in answer.stderr


def test_an_empty_folder_is_said_to_be_empty(folders, tmp_path):
    answer = variants(folders, "--out", str(tmp_path), videos="empty")
    assert answer.returncode == 2 and "nothing to use" in answer.stderr


def test_a_clip_that_cannot_be_read_fails_alone_and_the_command_says_so(folders, tmp_path):
    broken = tmp_path / "videos"
    broken.mkdir()
    (broken / "good.mp4").write_bytes((folders / "videos" / "quiet.mp4").read_bytes())
    (broken / "list.mp4").write_text("#EXTM3U\n#EXTINF:10,\n/etc/passwd\n")
    answer = variants(tmp_path, "--out", str(tmp_path / "out"))
    assert answer.returncode == 1 and "1 of 2 variants" in answer.stdout and "failed: " in answer.stderr
    assert [path.suffix for path in (tmp_path / "out").iterdir()] == [".mp4"]
