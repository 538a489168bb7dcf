"""The command line: what an operator runs by hand or a process manager keeps running."""

from flask import Flask

from novai_web.cli.backup import backup
from novai_web.cli.credentials import credentials
from novai_web.cli.dispatch import dispatch
from novai_web.cli.doctor import doctor
from novai_web.cli.fsck import fsck
from novai_web.cli.restore import restore
from novai_web.cli.samples import make_samples
from novai_web.cli.variants import variants


def register(app: Flask) -> None:
    for command in (backup, credentials, dispatch, doctor, fsck, make_samples, restore, variants):
        app.cli.add_command(command)
