"""`flask backup`: all rows of one moment, and the files they speak of, in one file."""

from pathlib import Path

import click
from flask.cli import with_appcontext

from novai_web.cli.premises import entered
from novai_web.config import MEGABYTE
from novai_web.db import db
from novai_web.operations import backup as saving


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@with_appcontext
def backup(file: Path) -> None:
    """Write everything to FILE, a tar, while NOVAI runs or while it does not.

    Password hashes are in it, and everything people have made: keep it as you keep the installation. The secret key
    and the settings are not in it; keep them elsewhere.
    """
    with entered() as (settings, store):
        written = saving.write(file, db.engine, store, settings)
    click.echo(
        f"{file}: {written.rows} rows and {written.files} files, {written.size_bytes / MEGABYTE:,.1f} MB. "
        "The secret key and the settings are not in it."
    )
    for key in written.lost:
        click.echo(f"  A row speaks of {key}, but it is not there. See `flask fsck`.", err=True)
    if written.lost:
        raise SystemExit(1)
