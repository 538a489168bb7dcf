"""The command line: what an operator runs by hand or a process manager keeps running."""

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from novai_web.config import Settings
from novai_web.jobs import dispatcher


def register(app: Flask) -> None:
    app.cli.add_command(dispatch)


def _settings() -> Settings:
    found: Settings = current_app.extensions["novai_settings"]
    return found


@click.command()
@with_appcontext
def dispatch() -> None:
    """Ring for jobs that are due, every second. Run one or more of these."""
    dispatcher.run(_settings())
