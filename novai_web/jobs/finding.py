"""Looking up somebody's jobs and batches. Another's is not there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, func, select
from sqlalchemy.orm import InstrumentedAttribute

from novai_web import tools
from novai_web.db import session
from novai_web.errors import NotFound
from novai_web.jobs.models import OPEN, Batch, Job, Output, State
from novai_web.library.models import Asset

PAGE = 50
CARDS_MAX = 100
OVERLAP = timedelta(seconds=5)

# Changes whenever a row of one of these jobs does (xmin is the transaction that wrote it), or the number of open ones.
# As the driver wants it: it is also asked without SQLAlchemy.
CARDS_VERSION = """
    SELECT md5(concat_ws(' ',
        (SELECT count(*) FROM jobs WHERE account_id = %(account)s AND state IN ('queued', 'waiting', 'running')
            AND tool_slug <> ALL (%(hidden)s::text[])),
        (SELECT string_agg(id || ':' || xmin, ' ' ORDER BY id) FROM jobs
            WHERE account_id = %(account)s AND id = ANY (%(ids)s::bigint[])
            AND tool_slug <> ALL (%(hidden)s::text[]))))"""


def _mine(account_id: int) -> Select[tuple[Job]]:
    hidden = [tool.slug for tool in tools.INTERNAL]
    return select(Job).where(Job.account_id == account_id, Job.tool_slug.not_in(hidden))


def find(account_id: int, job_id: int) -> Job:
    """One job. Raises NotFound."""
    found = session.scalar(_mine(account_id).where(Job.id == job_id))
    if found is None:
        raise NotFound
    return found


def find_many(account_id: int, job_ids: Sequence[int]) -> list[Job]:
    """Those of `job_ids` that are this account's, newest first, in one query."""
    return list(session.scalars(_mine(account_id).where(Job.id.in_(job_ids[:CARDS_MAX])).order_by(Job.id.desc())))


def cards_asked(job_ids: Sequence[int]) -> dict[str, str]:
    """What `CARDS_VERSION` asks besides the account, as Postgres writes arrays."""
    hidden = ",".join(tool.slug for tool in tools.INTERNAL)
    return {"ids": f"{{{','.join(map(str, job_ids[:CARDS_MAX]))}}}", "hidden": f"{{{hidden}}}"}


def cards_version(account_id: int, job_ids: Sequence[int]) -> str:
    """Another one whenever the cards of these jobs may have to be drawn anew."""
    given = {"account": account_id, **cards_asked(job_ids)}
    return str(session.connection().exec_driver_sql(CARDS_VERSION, given).scalar_one())


def find_batch(account_id: int, batch_id: int) -> Batch:
    found = session.scalar(select(Batch).where(Batch.id == batch_id, Batch.account_id == account_id))
    if found is None:
        raise NotFound
    return found


def recent(
    account_id: int,
    *,
    states: Sequence[str] = (),
    tool: str | None = None,
    before: int | None = None,
    limit: int = PAGE,
) -> list[Job]:
    """Jobs, newest first; those before the id `before` for the next page."""
    query = _mine(account_id).order_by(Job.id.desc()).limit(limit)
    if states:
        query = query.where(Job.state.in_(states))
    if tool:
        query = query.where(Job.tool_slug == tool)
    if before:
        query = query.where(Job.id < before)
    return list(session.scalars(query))


def single(account_id: int, *, before: int | None = None, limit: int = PAGE) -> list[Job]:
    """Jobs that belong to no batch, newest first."""
    query = _mine(account_id).where(Job.batch_id.is_(None)).order_by(Job.id.desc()).limit(limit)
    return list(session.scalars(query.where(Job.id < before) if before else query))


def active_count(account_id: int) -> int:
    return session.scalars(
        select(func.count()).select_from(_mine(account_id).where(Job.state.in_(OPEN)).subquery())
    ).one()


def delivered_count(account_id: int) -> int:
    """How many outputs this account's jobs have delivered in all."""
    return session.scalar(select(func.sum(Job.delivered)).where(Job.account_id == account_id)) or 0


def counts(account_id: int) -> dict[str, int]:
    """How many jobs are in each state."""
    rows = session.execute(
        select(Job.state, func.count())
        .where(Job.id.in_(_mine(account_id).with_only_columns(Job.id)))
        .group_by(Job.state)
    )
    found = dict.fromkeys(State, 0)
    found.update({State(state): count for state, count in rows})
    return {str(state): count for state, count in found.items()}


@dataclass(frozen=True)
class Delivered:
    """One output of a job or batch with the asset it became, if it did."""

    output: Output
    asset: Asset | None


def _with_assets() -> Select[tuple[Output, Asset]]:
    return select(Output, Asset).outerjoin(Asset, (Asset.id == Output.asset_id) & Asset.deleting_at.is_(None))


def outputs(*, batch_id: int | None = None, job_id: int | None = None) -> list[Delivered]:
    """The outputs of one batch or one job in their order, in one query."""
    query = _with_assets().order_by(Output.n)
    query = query.where(Output.batch_id == batch_id) if batch_id is not None else query.where(Output.job_id == job_id)
    return [Delivered(output, asset) for output, asset in session.execute(query)]


def everybody(but: int) -> list[Job]:
    """For an administrator: what the other accounts are running or waiting for, oldest first."""
    hidden = [tool.slug for tool in tools.INTERNAL]
    query = select(Job).where(Job.account_id != but, Job.tool_slug.not_in(hidden), Job.state.in_(OPEN))
    return list(session.scalars(query.order_by(Job.id).limit(PAGE)))


def of_batch(batch_id: int) -> list[Job]:
    return list(session.scalars(select(Job).where(Job.batch_id == batch_id).order_by(Job.id)))


def page_of_outputs(batch_id: int, *, state: str = "", after: int | None = None, limit: int = PAGE) -> list[Delivered]:
    """The outputs of a batch in their order; those after number `after` for the next page."""
    query = _with_assets().where(Output.batch_id == batch_id).order_by(Output.n).limit(limit)
    if state:
        query = query.where(Output.state == state)
    if after is not None:
        query = query.where(Output.n > after)
    return [Delivered(output, asset) for output, asset in session.execute(query)]


def outputs_of(batch_id: int, numbers: Sequence[int]) -> list[Delivered]:
    """The outputs of these numbers, in one query."""
    query = _with_assets().where(Output.batch_id == batch_id, Output.n.in_(numbers)).order_by(Output.n)
    return [Delivered(output, asset) for output, asset in session.execute(query)]


def latest_change(batch_id: int) -> datetime | None:
    return session.scalar(select(func.max(Output.changed_at)).where(Output.batch_id == batch_id))


def changed_outputs(batch_id: int, since: datetime | None) -> list[Delivered]:
    """All outputs that changed since then: what is left out here is never told again.

    A little of the past is told again: what changed earlier may have been committed later.
    """
    query = _with_assets().where(Output.batch_id == batch_id).order_by(Output.n)
    if since:
        query = query.where(Output.changed_at + OVERLAP > since)
    return [Delivered(output, asset) for output, asset in session.execute(query)]


def covers(batch_ids: Sequence[int], most: int) -> dict[int, list[Asset]]:
    """The first few delivered assets of each batch."""
    return _first_assets(Output.batch_id, batch_ids, most)


def results(job_ids: Sequence[int], most: int) -> dict[int, list[Asset]]:
    """The first few delivered assets of each job."""
    return _first_assets(Output.job_id, job_ids, most)


def _first_assets(
    owner: InstrumentedAttribute[int] | InstrumentedAttribute[int | None], ids: Sequence[int], most: int
) -> dict[int, list[Asset]]:
    """By owner, in one query."""
    place = func.row_number().over(partition_by=owner, order_by=Output.n).label("place")
    ranked = select(owner.label("owner"), Output.asset_id, place).where(owner.in_(ids), Output.asset_id.is_not(None))
    first = ranked.subquery()
    rows = session.execute(
        select(first.c.owner, Asset)
        .join(Asset, (Asset.id == first.c.asset_id) & Asset.deleting_at.is_(None))
        .where(first.c.place <= most)
        .order_by(first.c.owner, first.c.place)
    )
    found: dict[int, list[Asset]] = {}
    for owner_id, asset in rows:
        found.setdefault(owner_id, []).append(asset)
    return found
