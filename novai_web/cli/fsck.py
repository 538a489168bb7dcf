"""`flask fsck`: do the books balance, and do rows and files agree?"""

import click
from flask.cli import with_appcontext

from novai_web.cli.premises import entered
from novai_web.db import transaction
from novai_web.operations import fsck as checking
from novai_web.operations.fsck import Report

SHOWN = 200


@click.command()
@click.option("--repair", is_flag=True, help="Mend what costs nobody anything; money is never touched.")
@click.option("--deep", is_flag=True, help="Read and hash every file, too.")
@with_appcontext
def fsck(repair: bool, deep: bool) -> None:
    """Check the books, and rows against files. May run beside everything else. Exit code 1: something is wrong."""
    with entered() as (_, store):
        report = checking.look(store, deep=deep)
        say(report)
        left = len(report.findings) - (_mend(report) if repair else 0)
    if left:
        raise SystemExit(1)


def say(report: Report) -> None:
    """What was looked at, and each thing that is wrong."""
    click.echo(f"{report.invariants} invariants, {report.rows} files that rows speak of, {report.files} files there.")
    for finding in report.findings[:SHOWN]:
        remedy = "`flask fsck --repair` mends this." if finding.mend else finding.remedy
        click.echo(f"  {finding.said} {remedy}")
    if len(report.findings) > SHOWN:
        click.echo(f"  … and {len(report.findings) - SHOWN} more.")
    count = len(report.findings)
    click.echo("Nothing is wrong." if not count else f"{count} {'thing is' if count == 1 else 'things are'} wrong.")


def _mend(report: Report) -> int:
    """How many things were mended, each by itself."""
    mended = 0
    for finding in report.findings:
        if finding.mend:
            with transaction():
                finding.mend()
            mended += 1
    click.echo(f"{mended} mended, {len(report.findings) - mended} left.")
    return mended
