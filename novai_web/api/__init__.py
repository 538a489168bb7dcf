"""The JSON door: everything the pages do, under /api/v1."""

from flask import Flask

from novai_web.api import (
    auth,
    batches,
    collections,
    credits,
    docs,
    hooks,
    jobs,
    library,
    openapi,
    tools,
    trash,
    uploads,
)
from novai_web.api.door import Door

DOORS: tuple[Door, ...] = (
    auth.door,
    tools.door,
    jobs.door,
    batches.door,
    library.door,
    uploads.door,
    hooks.door,
    collections.door,
    trash.door,
    credits.door,
)


def register(app: Flask) -> None:
    for door in DOORS:
        app.register_blueprint(door.blueprint)
    app.register_blueprint(openapi.blueprint)
    app.register_blueprint(docs.blueprint)
