"""What Content Credentials cost: seconds for a file, and the share of a variant's making time.

    python -m bench.credentials                     the cases of SHARES, three rounds: about five minutes
    python -m bench.credentials --case hook-15s     one case; --quick: small clips, only to see that it works

A batch is made with and without signing, in turns. What signing itself takes is measured around each file, by the
clock of its thread: the encoders beside it do not count. The SHA-256 of what is kept is reckoned with and without
signing, and is no part of its cost.
"""

import argparse
import resource
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from bench import sources
from bench.batches import Batch
from bench.cases import CASES, Case
from bench.variants import FOLDER, only_one
from novai_web.config import Settings
from novai_web.engines import credentials, ffmpeg
from novai_web.engines.credentials import Input, Statement
from novai_web.engines.ffmpeg import Limits

SHARES = ("hook-15s", "hook-30s", "none-30s")
SHARE_MAX = 0.03
FILES = (("PNG, 1024²", 1024, "png", "image/png"), ("JPEG, 1024²", 1024, "jpg", "image/jpeg"))
TIMES = 20


@dataclass
class Round:
    """One batch: seconds for a variant, and of them those of signing each file."""

    wall: float = 0.0
    cpu: float = 0.0
    signing: list[float] = field(default_factory=list)
    bytes_each: float = 0.0


class Making:
    def __init__(self, batch: Batch, folder: Path) -> None:
        self.batch, self.folder = batch, folder / "made" / "credentials"
        self.settings = Settings(_env_file=None, data=folder / "installation" / "data")
        credentials.chain(self.settings)

    def run(self, is_signing: bool) -> Round:
        shutil.rmtree(self.folder, ignore_errors=True)
        found, count = Round(), self.batch.case.variants
        sizes: list[int] = []

        def done(n: int, path: Path, checked: ffmpeg.Checked) -> None:
            if is_signing:
                self._sign(n, path, checked, found)
            with path.open("rb") as file:
                file_digest(file, "sha256")
            sizes.append(path.stat().st_size)
            path.unlink()

        start, used = time.perf_counter(), _cpu_seconds()
        plan = ffmpeg.plan(self.batch.variants, self.batch.settings, Limits())
        ffmpeg.render(plan, self.folder, Limits(), lambda _: None, done, _failed)
        found.wall, found.cpu = (time.perf_counter() - start) / count, (_cpu_seconds() - used) / count
        found.bytes_each = statistics.mean(sizes)
        return found

    def _sign(self, n: int, path: Path, checked: ffmpeg.Checked, found: Round) -> None:
        variant = self.batch.variants[n]
        inputs = [Input("video", variant.video.name, "parentOf", "video/mp4", "0" * 64)]
        if variant.audio:
            inputs.append(Input("audio", variant.audio.name, "componentOf", "audio/mpeg", "0" * 64))
        texts = [variant.hook] if variant.hook else []
        said = Statement(variant.name, "video/mp4", "edited", "Variant Generator", inputs=inputs, texts=texts)
        with _thread_seconds(found.signing):
            signed = credentials.sign(path, said, self.settings, checked.pieces)
        assert signed == path, "a variant has room for its manifest"


@contextmanager
def _thread_seconds(into: list[float]) -> Iterator[None]:
    start = time.thread_time()
    yield
    into.append(time.thread_time() - start)


def _cpu_seconds() -> float:
    each = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in each)


def _failed(n: int, why: str) -> None:
    raise SystemExit(f"variant {n} was not made: {why}")


def shares(cases: Sequence[Case], folder: Path, rounds: int) -> bool:
    """Prints a line for each case. False: signing took a larger share than it may."""
    material = sources.make(cases, folder / "sources")
    is_well = True
    print("| Case | MB | a variant, unsigned | signed | signing | share of CPU |")
    print("| --- | --- | --- | --- | --- | --- |")
    for case in cases:
        making = Making(Batch(case, material[case.name]), folder)
        pairs = [(making.run(is_signing=False), making.run(is_signing=True)) for _ in range(rounds)]
        plain = [each for each, _ in pairs]
        signed = [each for _, each in pairs]
        cpu = statistics.median(each.cpu for each in plain)
        share = statistics.median(statistics.mean(each.signing) for each in signed) / cpu
        is_well = is_well and share <= SHARE_MAX
        print(
            f"| {case.title} | {signed[0].bytes_each / 1e6:.1f} | {_both(plain)} | {_both(signed)}"
            f" | {_milliseconds(each.signing for each in signed)} | {share:.1%} |"
        )
    return is_well


def _both(rounds: Sequence[Round]) -> str:
    wall, cpu = (statistics.median(getattr(each, name) for each in rounds) for name in ("wall", "cpu"))
    return f"{wall:.3f} s ({cpu:.2f} s CPU)"


def _milliseconds(rounds: Iterator[list[float]]) -> str:
    return f"{statistics.median(second for each in rounds for second in each) * 1000:.1f} ms"


def files(folder: Path) -> None:
    """What one signed picture costs, checked again before it counts."""
    settings = Settings(_env_file=None, data=folder / "installation" / "data")
    random = np.random.default_rng(1)
    with TemporaryDirectory(dir=folder) as scratch:
        for title, side, ending, mime in FILES:
            path = Path(scratch) / f"picture.{ending}"
            small = random.integers(0, 255, (side // 8, side // 8, 3), dtype=np.uint8)
            Image.fromarray(small).resize((side, side)).save(path)
            seconds: list[float] = []
            for _ in range(TIMES):
                with _thread_seconds(seconds):
                    signed = credentials.sign(path, Statement(path.name, mime, "made", "Bench"), settings)
            more = signed.stat().st_size - path.stat().st_size
            print(f"{title}, {path.stat().st_size / 1e6:.2f} MB: {_milliseconds(iter([seconds]))}, {more:,} bytes more")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="small and short: its shares say nothing")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    given = parser.parse_args()
    cases = [case for case in CASES if case.name in (given.case or SHARES)]
    with only_one(given.folder):
        is_well = shares([case.small() for case in cases] if given.quick else cases, given.folder, given.rounds)
        files(given.folder)
    if not is_well and not given.quick:
        raise SystemExit(f"Signing takes more than {SHARE_MAX:.0%} of a variant's making time.")


if __name__ == "__main__":
    main()
