"""The benchmark runs, and writes its tables where people left room for them."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench import report
from bench.cases import CASES
from bench.product import Delivery
from bench.programs import Cost

ROOT = Path(__file__).parents[1]


def bench(*options: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bench.variants", *map(str, options)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)


@pytest.mark.slow
def test_the_benchmark_measures_every_side_of_a_case(tmp_path):
    made = bench("--quick", "--folder", tmp_path, "--case", "hook-15s", "--case", "none-30s")
    assert made.returncode == 0, made.stderr
    speed, besides = (part.splitlines() for part in made.stdout.split("\n\n")[1:3])
    assert [line.split("|")[1].strip() for line in speed[2:]] == [
        "hook 3 s, 15 s clip, GOP 60, in small",
        "no hook, 30 s clip, in small",
    ]
    for line in speed[2:]:
        naive, engine, product = (float(cell.split("(")[0]) for cell in line.split("|")[2:5])
        assert min(naive, engine, product) > 0
    theirs, ours = (float(cell) for cell in besides[2].split("|")[2:4])
    assert min(theirs, ours) > 0.9
    assert not (tmp_path / "installation").exists()


def test_a_quick_run_is_not_written_into_the_page():
    refused = bench("--quick", "--write")
    assert refused.returncode != 0
    assert "A quick run says nothing" in refused.stderr


def test_what_people_wrote_around_the_tables_stays(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n\n{report.BEGIN}\n\nOld.\n\n{report.END}\n\nAfter.\n")
    report.write("New.", page)
    assert page.read_text() == f"Before.\n\n{report.BEGIN}\n\nNew.\n\n{report.END}\n\nAfter.\n"


def test_the_page_has_room_for_the_tables():
    page = report.PAGE.read_text()
    assert page.index(report.BEGIN) < page.index(report.END)


def test_a_case_measured_on_its_own_replaces_only_its_own_rows():
    first, second, third = (
        measured(name, wall) for name, wall in (("hook-15s", 0.5), ("none-30s", 0.3), ("none-30s", 0.2))
    )
    whole = report.written([first, second], ["Once."])
    text = report.kept(whole, [third], ["Again."])
    assert "0.5 (" in text and "0.2 (" in text and "0.3 (" not in text
    assert text.count("| no hook, 30 s clip") == 2 and "Measured on their own: no hook, 30 s clip." in text
    assert report.kept(text, [third], ["Again."]) == text


def test_a_case_that_the_page_did_not_have_is_added_to_its_tables():
    text = report.kept(report.written([measured("hook-15s", 1)], []), [measured("none-30s", 0.2)], [])
    assert [line.split("|")[1].strip() for line in text.splitlines() if "0.2 (" in line] == ["no hook, 30 s clip"]
    assert text.count("| no hook, 30 s clip") == 2


def measured(name: str, wall: float) -> report.Result:
    cost = Cost(wall, wall)
    case = next(case for case in CASES if case.name == name)
    return report.Result(case, [Cost(9, 18)], [cost], [Delivery(cost, 0.1, 4, 0.01, 0.5, 10**8)])
