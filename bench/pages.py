"""What drills and loads measured, as tables for people: printed, and written into docs/reliability.md."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.counting import percentile
from bench.report import machine, table
from novai_web import failpoints

if TYPE_CHECKING:
    from bench.ablations import Verdict
    from bench.chaos import Outcome
    from bench.load import Report, Tally

PAGE = Path(__file__).parents[1] / "docs/reliability.md"
Section = Literal["chaos", "tools", "ablations", "load"]
SHARES = (0.5, 0.95, 0.99)


def write(section: Section, measured: str, path: Path = PAGE) -> None:
    """Between the marks of this section; what people wrote around them stays."""
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    before, _, rest = path.read_text().partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        raise SystemExit(f"{path} has lost its marks: {begin} … {end}")
    path.write_text(f"{before}{begin}\n\n{measured}\n\n{end}{after}")


def chaos(outcomes: "Sequence[Outcome]") -> str:
    """What was counted in each run, then how it went."""
    head = ("Must be 0", *(f"seed {outcome.seed}" for outcome in outcomes))
    names = list(outcomes[0].findings)
    zeros = [(name, *(str(len(outcome.findings[name])) for outcome in outcomes)) for name in names]
    zeros.append(("people who gave up", *(str(len(outcome.problems)) for outcome in outcomes)))
    figures = [(name, *(figure[at][1] for figure in map(_figures, outcomes))) for at, name in enumerate(FIGURES)]
    runs = table(head, zeros), table(("How it went", *head[1:]), figures)
    return "\n\n".join([machine(), *runs, _faults(outcomes)])


FIGURES = (
    "jobs made, retries and internal ones included",
    "succeeded, failed, cancelled",
    "faults carried out, failpoints passed",
    "failpoints × actions passed, of all",
    "jobs taken over from a silent worker",
    "from a worker's last renewal to the next worker: p50, p95",
    "from a submit to its start: p50, p95",
    "time until all was over, once the faults stopped",
    "polls looked at, audits of all invariants meanwhile",
    "runs the vendor started, billed, started twice for a job, booked to the house",
)


def _figures(outcome: "Outcome") -> list[tuple[str, str]]:
    pairs = len(outcome.taken)
    states = outcome.states
    values = (
        str(outcome.jobs),
        ", ".join(str(states.get(state, 0)) for state in ("succeeded", "failed", "cancelled")),
        f"{outcome.done.total()}, {outcome.taken.total()}",
        f"{pairs} of {len(failpoints.NAMES) * 4}",
        str(len(outcome.recovery_seconds)),
        _seconds(outcome.recovery_seconds),
        _seconds(outcome.wait_seconds),
        f"{outcome.drain_seconds:.0f} s",
        f"{outcome.polls}, {outcome.audits}",
        f"{outcome.vendor_runs}, {outcome.vendor_billed}, {outcome.started_twice}, {outcome.booked}",
    )
    return list(zip(FIGURES, values, strict=True))


def _faults(outcomes: "Sequence[Outcome]") -> str:
    done: Counter[str] = sum((outcome.done for outcome in outcomes), Counter())
    failed: Counter[str] = Counter()
    for outcome in outcomes:
        failed.update({code or "no code": count for code, count in outcome.errors.items()})
    listed = ", ".join(f"{count} × {name}" for name, count in sorted(done.items()))
    reasons = ", ".join(f"{count} × {code}" for code, count in sorted(failed.items())) or "none"
    return f"Faults of all runs: {listed}. Jobs that failed, by reason: {reasons}."


def ablations(verdicts: "Sequence[Verdict]") -> str:
    """What each guard's absence broke, and that its presence did not."""
    head = ("Guard", "Taken out", "Scenario", "With it", "Without it", "Noticed")
    rows = [
        (
            verdict.scenario.guard,
            verdict.scenario.taken_out,
            verdict.scenario.story,
            _found(verdict.with_guard),
            _found(verdict.without_guard),
            f"after {verdict.seconds:.0f} s" if verdict.is_noticed else "**no**",
        )
        for verdict in verdicts
    ]
    return table(head, rows)


def load(report: "Report") -> str:
    """Ratios first; then the everyday mix by endpoint, what it cost, and what must be zero."""
    return "\n\n".join(
        [
            f"{machine()} {report.users:,} people. On average {report.busy_before:.1f} processes of others and of the "
            "idle installation wanted a core in the minute before; with more than one or two, run it again.",
            _ratios(report),
            _flatness(report),
            f"The yardstick at the rate of the everyday mix: p50 {_ms(report.yardstick.p(0.5))}, "
            f"p95 {_ms(report.yardstick.p(0.95))}.",
            _mix("Everyday", report.everyday),
            _mix("At the worst", report.worst),
            f'"ok" at the same rate: p50 {_ms(report.yardstick_worst.p(0.5))}, '
            f"p95 {_ms(report.yardstick_worst.p(0.95))}. The poll's p95 is {report.worst_ratio:.1f} times that.",
            _cost(report),
            _kept_promises(report),
        ]
    )


def _ratios(report: "Report") -> str:
    rows = [
        (name, f"{rate:.0f}/s", f"{rate / report.yardstick_capacity:.2f}")
        for name, rate in (
            ('Flask that says "ok"', report.yardstick_capacity),
            ("NOVAI, /health", report.health_capacity),
            ("NOVAI, the poll of a page of jobs when nothing has changed", report.quiet_capacity),
            ("NOVAI, the same when its cards are drawn", report.poll_capacity),
        )
    ]
    return table(("The most that is possible", "Answers", "Of the yardstick"), rows)


def _flatness(report: "Report") -> str:
    few, many = (f"p95 with {count:,} jobs" for count in report.rows)
    rows = [
        (name, _ms(report.few[name]), _ms(report.many[name]), f"{report.ratio(name):.2f}×")
        for name in sorted(report.few)
    ]
    return table(("What is read", few, many, "Ratio"), rows)


def _mix(title: str, tally: "Tally") -> str:
    rows = [
        (name, str(tally.due[name]), str(len(tally.took[name])), *(_ms(tally.p(share, name)) for share in SHARES))
        for name in sorted(tally.due)
    ]
    whole = tally.due.total(), sum(map(len, tally.took.values()))
    rows.append(("**all**", str(whole[0]), str(whole[1]), *(_ms(tally.p(share)) for share in SHARES)))
    said = table((title, "Due", "Answered", "p50", "p95", "p99"), rows)
    errors = ", ".join(f"{count} × {kind}" for kind, count in sorted(tally.errors.items())) or "none"
    late = _ms(percentile(tally.late, 0.95))
    return (
        f"{said}\n\nOffered {tally.offered:.0f}/s, answered {tally.achieved:.0f}/s. Errors: {errors}. "
        f"We ourselves sent requests {late} late (p95), which is part of these times."
    )


def _cost(report: "Report") -> str:
    rows = [
        (
            role,
            f"{growth.megabytes[0][1]:.0f} → {growth.megabytes[-1][1]:.0f} MB",
            f"{growth.slope:+.1f} MB/min",
            f"{growth.files[0]} → {growth.files[-1]}",
        )
        for role, growth in report.growth.items()
        if growth.megabytes
    ]
    waits = "; ".join(f"{name} {_seconds(values)}" for name, values in report.queue_waits.items())
    said = table(("Processes", "Memory", "Second half", "Open files"), rows)
    return f"{said}\n\nFrom a submit to its start (p50, p95), by people who submit {waits}."


def _kept_promises(report: "Report") -> str:
    rows = [(name, str(len(items))) for name, items in report.findings.items()]
    return table(("Must be 0, after all that", "Found"), rows)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"


def _found(findings: dict[str, list[str]]) -> str:
    return "; ".join(f"{name}: {len(items)}" for name, items in findings.items() if items) or "nothing"


def _seconds(values: Sequence[float]) -> str:
    return f"{percentile(values, 0.5):.1f} s, {percentile(values, 0.95):.1f} s"
