"""What a vendor holds already of an asset's files, so that a model is not sent anew for each of ten pictures."""

from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from novai_web.db import now, session
from novai_web.library.models import Asset, Sent

# fal keeps what it was sent for at least seven days; what begins now may read it hours later.
KEPT_FOR = timedelta(days=5)


def known(asset: Asset, vendor: str) -> dict[str, str]:
    """Where `vendor` still keeps files of this asset: part → address."""
    query = select(Sent.part, Sent.url).where(Sent.asset_id == asset.id, Sent.vendor == vendor)
    return dict(session.execute(query.where(Sent.at > now() - KEPT_FOR)).tuples().all())


def remember(asset: Asset, part: str, vendor: str, url: str) -> None:
    """`vendor` keeps this file at `url` from now on."""
    row = insert(Sent).values(asset_id=asset.id, part=part, vendor=vendor, url=url)
    renewed = {"url": url, "at": now()}
    session.execute(row.on_conflict_do_update(index_elements=["asset_id", "part", "vendor"], set_=renewed))


def forget(asset: Asset, vendor: str) -> None:
    """It may not be there any more: the next run sends it anew."""
    session.execute(delete(Sent).where(Sent.asset_id == asset.id, Sent.vendor == vendor))
