"""How many times faster variants are made than by one FFmpeg process for each, with the same preset and CRF.

    python -m bench.variants                            everything: about an hour on two cores
    python -m bench.variants --case hook-15s            one case; may be given several times
    python -m bench.variants --quick                    small clips, one round: only to see that it works
    python -m bench.variants --write                    and write the tables into docs/performance.md; of the
                                                        cases that were named, only their rows

The two sides and the engine alone take turns, so that all see the same weather on the machine; medians are told.
Clips and songs are made once and kept in .bench/, which may be deleted.
"""

import argparse
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import floor as floors
from bench import others, product, quality, report, sources
from bench.batches import Batch, layers
from bench.cases import CASES, Case
from bench.engine import Engine
from bench.naive import Naive
from bench.product import Product
from bench.programs import CORES, Cost, busy_seconds
from bench.report import Result

FOLDER = Path(__file__).parents[1] / ".bench"
COMPARED = "hook-15s"  # the case in which other programs take part
COPIED = "none-30s"  # the one in which FFmpeg can copy, too


def main() -> None:
    given = arguments()
    if given.write and given.quick:
        raise SystemExit("A quick run says nothing that is worth a page.")
    cases = [case for case in CASES if not given.case or case.name in given.case]
    cases = [case.small() for case in cases] if given.quick else cases
    with only_one(given.folder):
        print(f"\n{measured(cases, given)}")


def measured(cases: Sequence[Case], given: argparse.Namespace) -> str:
    material = sources.make(cases, given.folder / "sources")
    bench = Bench(given.folder, 1 if given.quick else given.rounds, with_others=not given.quick)
    before = report.between()
    with product.running(given.folder / "installation") as installed:
        results, text = [], ""
        for case in cases:
            results.append(bench.measure(Batch(case, material[case.name]), installed))
            text = report.written(results, bench.notes())
            if given.write:  # after each case: an hour's work is not lost to its last minute
                report.write(report.kept(before, results, bench.notes()) if given.case else text)
    shutil.rmtree(bench.made)
    return text


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Two at once would measure each other, and use the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"Another run of the bench uses {folder}. Wait for it.") from None
        yield


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [case.name for case in CASES]
    parser.add_argument("--case", action="append", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement; the median is told")
    parser.add_argument("--quick", action="store_true", help="small and short: its ratios say nothing")
    parser.add_argument("--write", action="store_true", help="the tables into docs/performance.md")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="for sources and what is made")
    return parser.parse_args()


class Bench:
    """The rounds of all cases, and what else happened on the machine meanwhile."""

    def __init__(self, folder: Path, rounds: int, with_others: bool) -> None:
        self.folder, self.made, self.rounds, self.with_others = folder, folder / "made", rounds, with_others
        self.threads: int | None = None  # of a naive process: 0, as FFmpeg likes, or 1, whichever is quicker
        self.elapsed = self.foreign = 0.0

    def measure(self, batch: Batch, installed: Product) -> Result:
        case, result = batch.case, Result(batch.case)
        say(f"\n{case.title}: {case.batch}")
        pictures = layers(batch, self.made / "hooks")
        naive, engine = self._naive(batch), Engine(batch, self.made / "engine")
        installed.prepare(batch)
        for _ in range(self.rounds):
            result.naive.append(self._watched("one FFmpeg each", naive.run, len(batch.sample)))
            result.engine.append(self._watched("engine alone", engine.run, case.variants))
            result.product.append(self._delivered(batch, installed))
        result.megabytes = naive.bytes_each() / 1e6, engine.bytes_each() / 1e6
        if case.hooks:
            result.ssim = self._ssim(batch, naive, engine)
            result.floor = floors.measure(batch)
        if self.with_others and case.name == COMPARED:
            result.others = others.measure(batch, pictures, self.made / "others", self.folder / "venv")
        if case.name == COPIED:
            result.others = others.measure_copies(batch, self.made / "others")
        say(report.speed([result]))
        return result

    def notes(self) -> Sequence[str]:
        share = self.foreign / self.elapsed
        threads = "as many threads as it likes" if self.threads == 0 else "one thread, which was quicker here"
        return (
            f"Median of {self.rounds}. Each FFmpeg process with {threads}.",
            f"Other programs, the kernel's own work included, used {share:.0%} of the machine meanwhile.",
        )

    def _naive(self, batch: Batch) -> Naive:
        """The first case decides how many threads a process gets: the side we compare with gets its better way."""
        ways = {n: Naive(batch, layers(batch, self.made / "hooks"), self.made / "naive", n) for n in (0, 1)}
        if self.threads is None:
            walls = {n: ways[n].run().wall for n in (0, 1)}
            say(f"  one FFmpeg each: {walls[0]:.2f} s with its own choice of threads, {walls[1]:.2f} s with one")
            self.threads = min(walls, key=lambda n: walls[n])
        return ways[self.threads]

    def _delivered(self, batch: Batch, installed: Product) -> product.Delivery:
        deliveries: list[product.Delivery] = []

        def run() -> Cost:
            deliveries.append(installed.run(batch))
            return deliveries[0].cost

        self._watched("whole product", run, batch.case.variants)
        return deliveries[0]

    def _watched(self, name: str, run: Callable[[], Cost], variants: int) -> Cost:
        os.sync()  # what others have written is not our measurement's to wait for
        start, busy = time.perf_counter(), busy_seconds()
        cost = run()
        self.foreign += max(0.0, busy_seconds() - busy - cost.cpu * variants)
        self.elapsed += (time.perf_counter() - start) * CORES
        say(f"  {name}: {cost.wall:.3f} s a variant, {cost.cpu:.3f} CPU s")
        return cost

    def _ssim(self, batch: Batch, naive: Naive, engine: Engine) -> tuple[float, float]:
        pairs = [
            (quality.ssim(batch, each, naive.path(each)), quality.ssim(batch, each, engine.path(each.n)))
            for each in batch.sample
        ]
        theirs, ours = (sum(each) / len(pairs) for each in zip(*pairs, strict=True))
        return theirs, ours


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
