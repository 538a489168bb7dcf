"""What only models have, over JSON: files from elsewhere, pictures from a ZIP, and how trainings went."""

from collections.abc import Sequence
from datetime import datetime

from flask import Response, url_for
from pydantic import Field

from novai_web.accounts import Account
from novai_web.api import library
from novai_web.api.door import Door, Shape
from novai_web.api.library import AssetOut, FileForm
from novai_web.db import transaction
from novai_web.jobs import Job, arrivals, finding, unpacking
from novai_web.library.assets import Library
from novai_web.library.models import Asset
from novai_web.tools import lora_trainer
from novai_web.web import limits, receiving, who
from novai_web.web.paths import ID_MAX

door = Door("models")

# What a job's state says of the model that it is to make.
STATUSES = {
    "queued": "pending",
    "running": "training",
    "waiting": "training",
    "cancelling": "training",
    "succeeded": "ready",
    "failed": "failed",
    "cancelled": "cancelled",
}


class LeftOutOut(Shape):
    """Something in a ZIP that was not taken."""

    name: str
    why: str


class PicturesOut(Shape):
    """The pictures of a ZIP, as they are in the library now."""

    collection_id: int
    pictures: list[AssetOut]
    left_out: list[LeftOutOut]


class FileAlone(Shape):
    """Nothing comes with the file."""


class TrainingOut(Shape):
    """One training: what it is to become, and how far it is."""

    job_id: int
    name: str
    status: str = Field(description="pending, training, ready, failed or cancelled.")
    progress: float
    model_id: int | None = Field(description="The model, once it is there.")
    error: str | None
    credits_charged: int
    created_at: datetime
    ended_at: datetime | None
    status_url: str

    @classmethod
    def of(cls, job: Job, made: Sequence[Asset]) -> "TrainingOut":
        return cls(
            job_id=job.id,
            name=job.title,
            status=STATUSES[str(job.status)],
            progress=round(job.progress, 4),
            model_id=made[0].id if made else None,
            error=job.error,
            credits_charged=job.charged,
            created_at=job.created_at,
            ended_at=job.ended_at,
            status_url=url_for("api_jobs.get_show", job_id=job.id),
        )


class TrainingsAsked(Shape):
    cursor: int | None = Field(None, ge=1, le=ID_MAX)
    limit: int = Field(50, ge=1, le=200)


class TrainingsOut(Shape):
    items: list[TrainingOut]
    next_cursor: str | None


@door.post("/models/upload", form=FileForm, gives=AssetOut, status=201, streams=True, limit=limits.uploads)
@receiving.takes_files
def model_uploaded(account: Account) -> Response:
    """Send a model from elsewhere as multipart/form-data: a `.safetensors` file. The same as POST /models."""
    return library.receive(account, "model")


@door.post("/models/<int:asset_id>/high", form=FileAlone, gives=AssetOut, streams=True, limit=limits.uploads)
@receiving.takes_files
def model_completed(account: Account, asset_id: int) -> AssetOut:
    """Send the high-noise weights of a model from elsewhere, whose low-noise weights are there already."""
    mine = Library(account.id)
    with transaction():
        mine.find(asset_id)
    file = receiving.files()[0][1]
    return AssetOut.of(arrivals.add_high(mine, asset_id, file, who.store(), who.settings()))


@door.post("/models/pictures", form=FileAlone, gives=PicturesOut, status=201, streams=True, limit=limits.uploads)
@receiving.takes_files
def pictures_unpacked(account: Account) -> PicturesOut:
    """Send pictures to train with as one ZIP in the field `file`. A text file beside a picture is its caption."""
    unpacking.check_size(receiving.announced_bytes())
    filename, finished = receiving.files()[0]
    taken = unpacking.take_pictures(Library(account.id), filename, finished, who.store(), who.settings())
    return PicturesOut(
        collection_id=taken.collection.id,
        pictures=[AssetOut.of(picture) for picture in taken.pictures],
        left_out=[LeftOutOut(name=each.name, why=each.why) for each in taken.left_out],
    )


@door.get("/models/history", asks=TrainingsAsked, gives=TrainingsOut)
def trainings(account: Account, asked: TrainingsAsked) -> TrainingsOut:
    """The trainings of models, newest first: those that wait and run, and how the others ended."""
    slug = lora_trainer.tool.slug
    found = finding.recent(account.id, tool=slug, before=asked.cursor, limit=asked.limit + 1)
    jobs = found[: asked.limit]
    made = finding.results([job.id for job in jobs], 1)
    items = [TrainingOut.of(job, made.get(job.id, [])) for job in jobs]
    return TrainingsOut(items=items, next_cursor=str(jobs[-1].id) if len(found) > asked.limit else None)
