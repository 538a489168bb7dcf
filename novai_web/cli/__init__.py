"""The command line: what an operator runs by hand or a process manager keeps running."""

from flask import Flask

from novai_web.cli.dispatch import dispatch
from novai_web.cli.variants import variants


def register(app: Flask) -> None:
    for command in (dispatch, variants):
        app.cli.add_command(command)
