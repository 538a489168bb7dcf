"""`flask restore`: a backup becomes the content of an empty installation."""

from pathlib import Path

import click
from flask.cli import with_appcontext

from novai_web.cli.fsck import say
from novai_web.cli.premises import entered
from novai_web.db import db
from novai_web.operations import archive, fsck
from novai_web.operations import restore as putting_back


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_appcontext
def restore(file: Path) -> None:
    """Fill an empty installation from FILE, which `flask backup` wrote. Jobs then go on where they were.

    Restore only what you wrote yourself: whoever wrote a backup decides who is an administrator in it.
    """
    with entered() as (settings, store), archive.opened(file) as found:
        putting_back.put_back(found, db.engine, store, settings)
        manifest = found.manifest
        click.echo(
            f"{sum(content.rows for content in manifest.tables.values())} rows and {len(manifest.files)} files "
            f"as they were at {manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC. Everybody signs in anew."
        )
        report = fsck.look(store)
        say(report)
    if report.findings:
        raise SystemExit(1)
