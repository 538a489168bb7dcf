"""`flask dispatch`: the dispatcher as a process."""

import click
from flask.cli import with_appcontext

from novai_web.jobs import dispatcher
from novai_web.web import who


@click.command()
@with_appcontext
def dispatch() -> None:
    """Ring for jobs that are due, every second. Run one or more of these."""
    dispatcher.run(who.settings())
