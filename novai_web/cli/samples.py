"""`flask samples`: the sample media of this installation."""

import os

import click
from flask.cli import with_appcontext

from novai_web.errors import NovaiError
from novai_web.library import samples
from novai_web.web import who

NICE = 10


@click.command("samples")
@click.option("--gently", is_flag=True, help="Let everything else of this machine go first.")
@with_appcontext
def make_samples(gently: bool) -> None:
    """Make the sample media that “Add sample media” adds, unless that was done. Everything is drawn on this machine."""
    if gently:
        os.nice(NICE)  # inherited by the process that draws
    if samples.made(who.store()) is not None:
        return
    try:
        is_done = samples.make(who.store(), who.settings(), lambda done: None)
    except NovaiError as problem:
        click.echo(str(problem), err=True)
        raise SystemExit(1) from None
    click.echo("sample media is made" if is_done else "sample media is being made by another process")
