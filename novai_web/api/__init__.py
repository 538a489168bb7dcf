"""The JSON door: everything the pages do, under /api/v1."""

from flask import Flask

from novai_web.api import (
    auth,
    batches,
    collections,
    consents,
    credits,
    docs,
    hooks,
    jobs,
    library,
    makings,
    models,
    openapi,
    prices,
    samples,
    search,
    tools,
    trash,
    uploads,
    webhooks,
)
from novai_web.api.door import Door

DOORS: tuple[Door, ...] = (
    auth.door,
    tools.door,
    jobs.door,
    batches.door,
    library.door,
    models.door,
    uploads.door,
    hooks.door,
    collections.door,
    consents.door,
    makings.door,
    trash.door,
    credits.door,
    prices.door,
    samples.door,
    search.door,
)


def register(app: Flask) -> None:
    for door in DOORS:
        app.register_blueprint(door.blueprint)
    app.register_blueprint(openapi.blueprint)
    app.register_blueprint(docs.blueprint)
    app.register_blueprint(webhooks.blueprint)
