"""`flask doctor`: try out everything that must work, and say what to do about what does not."""

import click
from flask.cli import with_appcontext

from novai_web.operations import doctor as examining
from novai_web.web import who


@click.command()
@with_appcontext
def doctor() -> None:
    """Look this installation over. Exit code 1: something is wrong."""
    is_well = True
    for found in examining.examine(who.settings(), examining.ALL):
        click.echo(f"{'trouble' if found.trouble else 'ok':<8} {found.name:<11} {found.said}")
        if found.trouble:
            is_well = False
            click.echo(f"{'':<20} → {found.trouble.remedy}")
    if not is_well:
        raise SystemExit(1)
