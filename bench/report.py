"""What was measured, as tables for people: printed, and written into docs/performance.md."""

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import av

from bench.cases import Case
from bench.floor import Floor
from bench.product import Delivery
from bench.programs import CORES, Cost, ffmpeg, version

PAGE = Path(__file__).parents[1] / "docs/performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass
class Result:
    """All that is known about one case; costs are for one variant."""

    case: Case
    naive: list[Cost] = field(default_factory=list)
    engine: list[Cost] = field(default_factory=list)
    product: list[Delivery] = field(default_factory=list)
    floor: Floor | None = None
    ssim: tuple[float, float] | None = None  # of the naive render, and of ours
    megabytes: tuple[float, float] = (0, 0)  # likewise
    others: Mapping[str, Cost] = field(default_factory=dict)

    @property
    def naive_cost(self) -> Cost:
        return _median(self.naive)

    @property
    def engine_cost(self) -> Cost:
        return _median(self.engine)

    @property
    def product_cost(self) -> Cost:
        return _median([each.cost for each in self.product])

    @property
    def reached(self) -> str:
        """Against the target: wall time through the product."""
        ratio = self.naive_cost.wall / self.product_cost.wall
        target = self.case.target
        return "–" if target is None else f"{target:g}: {'yes' if ratio >= target else 'no'}"


def written(results: Sequence[Result], notes: Sequence[str]) -> str:
    """Everything, as Markdown."""
    parts = [" ".join([machine(), *notes]), "", speed(results), "", besides(results)]
    for result in results:
        if result.others:
            parts += ["", compared(result)]
    return "\n".join(parts)


def machine() -> str:
    name = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    versions = f"Python {platform.python_version()}, PyAV {av.__version__}, {version(ffmpeg())}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {CORES} cores ({name}), {sys.platform}, {versions}."


def speed(results: Sequence[Result]) -> str:
    """Seconds of wall time for one variant, CPU seconds in brackets; ratios likewise."""
    head = ("Case", "One FFmpeg each", "Engine alone", "Whole product", "Floor", "Engine", "Product", "At least")
    rows = [
        (
            result.case.title,
            _seconds(result.naive_cost),
            _seconds(result.engine_cost),
            _seconds(result.product_cost),
            _floor(result.floor),
            _ratio(result.naive_cost, result.engine_cost),
            f"**{_ratio(result.naive_cost, result.product_cost)}**",
            result.reached,
        )
        for result in results
    ]
    return table(head, rows)


def besides(results: Sequence[Result]) -> str:
    head = ("Case", "SSIM, FFmpeg each", "SSIM, ours", "MB, FFmpeg each", "MB, ours", "CPU outside", "Jobs", "ZIP")
    rows = []
    for result in results:
        share = median(each.outside / each.cost.cpu for each in result.product)
        ssim = [f"{value:.4f}" for value in result.ssim] if result.ssim else ["–", "–"]
        rows.append(
            (
                result.case.title,
                *ssim,
                *(f"{size:.1f}" for size in result.megabytes),
                f"{share:.0%}",
                str(result.product[-1].jobs),
                _zip(result.product),
            )
        )
    return table(head, rows)


def compared(result: Result) -> str:
    """For those who know other programs."""
    rows = [(name, _seconds(cost), _ratio(cost, result.product_cost)) for name, cost in result.others.items()]
    rows.append(
        ("One FFmpeg process each", _seconds(result.naive_cost), _ratio(result.naive_cost, result.product_cost))
    )
    rows.append(("NOVAI, whole product", _seconds(result.product_cost), "1"))
    return table((f"{result.case.title[0].upper()}{result.case.title[1:]}", "a variant", "times slower"), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines
    )


def write(text: str, path: Path = PAGE) -> None:
    """Between the marks of the page; what people wrote around them stays."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{path} has lost its marks: {BEGIN} … {END}")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def kept(old: str, results: Sequence[Result], notes: Sequence[str]) -> str:
    """What stands between the marks, with the rows of these results anew, and a line that says so."""
    titles = "; ".join(result.case.title for result in results)
    lines = old.strip().splitlines()
    if old.strip().endswith(_again(titles, notes)):
        lines = lines[:-2]
    for (head, title), row in _rows(written(results, notes)).items():
        places = {_place(lines, n): n for n, line in enumerate(lines) if line.startswith("| ")}
        if (head, title) in places:
            lines[places[head, title]] = row
        elif same := [n for (other, _), n in places.items() if other == head]:
            lines.insert(max(same) + 1, row)
    return "\n".join([*lines, "", _again(titles, notes)])


def _again(titles: str, notes: Sequence[str]) -> str:
    return f"Measured on their own: {titles}. {' '.join([machine(), *notes])}"


def _rows(text: str) -> Mapping[tuple[str, str], str]:
    """Lines of tables by the table's head and the row's first cell; not those between head and rows."""
    lines = text.splitlines()
    found = {_place(lines, n): line for n, line in enumerate(lines) if line.startswith("| ")}
    return {place: row for place, row in found.items() if not place[1].startswith("-")}


def _place(lines: Sequence[str], number: int) -> tuple[str, str]:
    first = number
    while first and lines[first - 1].startswith("|"):
        first -= 1
    head, row = (lines[n].split("|") for n in (first, number))
    return " ".join(cell.strip() for cell in head[1:4]), row[1].strip()


def between(path: Path = PAGE) -> str:
    """What stands between the marks of the page."""
    return path.read_text().partition(BEGIN)[2].partition(END)[0]


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(median(cost.wall for cost in costs), median(cost.cpu for cost in costs))


def _seconds(cost: Cost) -> str:
    return f"{cost.wall:.3g} ({cost.cpu:.3g})"


def _ratio(theirs: Cost, ours: Cost) -> str:
    return f"{_plain(theirs.wall / ours.wall)}× ({_plain(theirs.cpu / ours.cpu)}×)"


def _plain(value: float) -> str:
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}"


def _floor(floor: Floor | None) -> str:
    """As wall time with all cores at work, with and without reusing what x264 decided for the first hook."""
    if floor is None:
        return "–"
    return f"{floor.alone / CORES:.3f}; {floor.reusing / CORES:.3f}"


def _zip(deliveries: Sequence[Delivery]) -> str:
    first = median(each.first_byte_seconds for each in deliveries)
    whole = median(each.zip_seconds for each in deliveries)
    return f"{first * 1000:.0f} ms, {deliveries[-1].zip_bytes / 1e6:.0f} MB in {whole:.1f} s"
