"""`flask credentials`: what files say of themselves, and who this installation signs as."""

from pathlib import Path

import click
from flask.cli import with_appcontext

from novai_web.engines import credentials as engine
from novai_web.engines.credentials import Report
from novai_web.errors import NovaiError
from novai_web.web import who

STATES = {
    "trusted": "trusted: signed by a certificate that this installation knows, and not changed since",
    "valid": "valid: not changed since it was signed, by somebody whom this installation does not know",
    "invalid": "invalid: changed after it was signed, or signed with a certificate that does not hold",
}
ORIGINS = {
    "made": "made by an AI",
    "composite": "composed with an AI",
    "edited": "only edited",
    "computed": "computed, without an AI",
}
Beside = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def credentials() -> None:
    """Content Credentials: what a file says of who made it, and from what."""


@credentials.command()
@click.argument("file", type=Beside)
@click.option("--beside", type=Beside, help="The manifest (.c2pa) that came with a file which cannot carry one.")
@with_appcontext
def verify(file: Path, beside: Path | None) -> None:
    """Say what FILE says of itself, and whether that holds. Exit code 1: it does not, or it says nothing."""
    try:
        report = engine.read(file, who.settings(), beside)
    except NovaiError as problem:
        raise click.ClickException(str(problem)) from None
    for name, said in lines(report):
        click.echo(f"{name:<12} {said}")
    if report.state == "invalid":
        raise SystemExit(1)


@credentials.command()
@with_appcontext
def signer() -> None:
    """Say as whom this installation signs, until when, and where its certificates are."""
    try:
        chain = engine.chain(who.settings())
    except NovaiError as problem:
        raise click.ClickException(str(problem)) from None
    click.echo(f"{'signer':<12} {chain.signer}")
    click.echo(f"{'until':<12} {chain.until:%Y-%m-%d}")
    click.echo(f"{'files':<12} {chain.where}")


def lines(report: Report) -> list[tuple[str, str]]:
    """The report, a line for each thing it says."""
    said = [
        ("state", STATES[report.state]),
        ("title", report.title),
        ("origin", ORIGINS.get(report.origin or "", report.origin or "not said")),
        ("made with", report.generator),
        ("signed by", " of ".join(filter(None, (report.signer, report.issuer)))),
        ("signed at", report.signed_at or "not said"),
        ("actions", ", ".join(report.actions)),
        ("inputs", ", ".join(report.inputs)),
        ("claim", report.claim),
    ]
    return [(name, text) for name, text in said if text] + [("problem", each) for each in report.problems]
