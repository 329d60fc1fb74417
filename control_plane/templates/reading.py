"""Stored versions -> what is shown: one of them, a page of them, the difference of two. And the rows behind the service.

Everything is asked with the tenant first; a template of another tenant is not there.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import Select, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.database import Database
from control_plane.foundation.errors import Conflict, Invalid, NotFound
from control_plane.foundation.identifiers import SubjectId
from control_plane.policy.model import Grant
from control_plane.templates.lifecycle import State
from control_plane.templates.model import Difference, Page, Review, TemplateVersion, Verdict
from control_plane.templates.requirements import Requirement
from control_plane.templates.tables import TemplateReviewRow, TemplateVersionRow
from language import canonical
from language.diff import diff
from language.errors import TemplateError
from language.model import Template
from language.risk import Reason, Risk, RiskClass

MAX_PAGE: Final = 200
_CURSOR: Final = re.compile(r"([a-z0-9-]{1,63})/([0-9]{1,9})", re.ASCII)


class TemplateReading:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, grant: Grant, state: State | None = None, limit: int = 100, cursor: str = "") -> Page:
        """The newest version of each template by name; with `state` every version in it. Raises Invalid."""
        table = TemplateVersionRow
        wanted = select(table).where(table.tenant == grant.resource.tenant).order_by(table.name, table.version)
        if state is not None:
            wanted = wanted.where(table.state == state.value)
        else:
            later = table.__table__.alias("later")
            newer = (later.c.tenant == table.tenant) & (later.c.name == table.name) & (later.c.version > table.version)
            wanted = wanted.where(~select(later.c.version).where(newer).exists())
        if cursor:
            wanted = wanted.where(tuple_(table.name, table.version) > tuple_(*_opened(cursor)))
        limit = max(1, min(limit, MAX_PAGE))
        async with self._database.transaction(grant.resource.tenant) as session:
            rows = (await session.scalars(wanted.limit(limit + 1))).all()
            items = tuple([version_of(row, await reviews_of(session, row)) for row in rows[:limit]])
        more = len(rows) > limit
        return Page(items, _sealed(rows[limit - 1]) if more else None)

    async def show(self, grant: Grant, name: str, version: int | None = None) -> TemplateVersion:
        """One version, the newest unless it is named. Raises NotFound."""
        async with self._database.transaction(grant.resource.tenant) as session:
            row = await version_row(session, grant.resource.tenant, name, version)
            return version_of(row, await reviews_of(session, row))

    async def history(self, grant: Grant, name: str) -> tuple[TemplateVersion, ...]:
        """Every version, the newest first. Raises NotFound."""
        async with self._database.transaction(grant.resource.tenant) as session:
            rows = (await session.scalars(_versions(grant.resource.tenant, name).limit(MAX_PAGE))).all()
            if not rows:
                raise no_such_template(name)
            return tuple([version_of(row, await reviews_of(session, row)) for row in rows])

    async def difference(
        self, grant: Grant, name: str, before: int | None = None, after: int | None = None
    ) -> Difference:
        """Between the last approved version before `after` (or `before`) and `after` (or the newest). Raises NotFound."""
        tenant = grant.resource.tenant
        async with self._database.transaction(tenant) as session:
            new = await version_row(session, tenant, name, after)
            if before is not None:
                old = await version_row(session, tenant, name, before)
            else:
                reviewed = _versions(tenant, name).where(
                    TemplateVersionRow.version < new.version, TemplateVersionRow.approved_at.is_not(None)
                )
                found = (await session.scalars(reviewed.limit(1))).first()
                if found is None:
                    return Difference(0, new.version, ())
                old = found
            return Difference(old.version, new.version, diff(_template(old), _template(new)))


async def version_row(
    session: AsyncSession, tenant: str, name: str, version: int | None, *, lock: bool = False
) -> TemplateVersionRow:
    """Raises NotFound, in the same words whether the template or only the version is missing."""
    wanted = _versions(tenant, name)
    if version is not None:
        wanted = wanted.where(TemplateVersionRow.version == version)
    if lock:
        wanted = wanted.with_for_update()
    row = (await session.scalars(wanted.limit(1))).first()
    if row is None:
        raise no_such_template(name, version)
    return row


async def newest_row(session: AsyncSession, tenant: str, name: str, *, lock: bool = False) -> TemplateVersionRow | None:
    wanted = _versions(tenant, name).limit(1)
    return (await session.scalars(wanted.with_for_update() if lock else wanted)).first()


async def approved_row(
    session: AsyncSession,
    tenant: str,
    name: str,
    version: int | None,
    digest: str | None,
    states: Collection[State] = (State.APPROVED,),
) -> TemplateVersionRow:
    """The version that a request means, in the state approved. Raises NotFound, Conflict with what it is instead."""
    wanted = _versions(tenant, name)
    if version is not None:
        wanted = wanted.where(TemplateVersionRow.version == version)
    if digest is not None:
        wanted = wanted.where(TemplateVersionRow.digest == digest)
    rows = (await session.scalars(wanted.limit(MAX_PAGE))).all()
    if not rows:
        raise no_such_template(name, version, digest)
    for row in rows:
        if row.state in states:
            return row
    newest = rows[0]
    raise Conflict(
        f"{name} version {newest.version} is {newest.state}, not approved: {_WHAT_TO_DO[State(newest.state)]}",
        code="not_approved" if newest.state == State.IN_REVIEW else "not_usable",
        extra={"template": name, "version": newest.version, "state": newest.state, "digest": newest.digest},
    )


async def reviews_of(session: AsyncSession, row: TemplateVersionRow) -> tuple[Review, ...]:
    table = TemplateReviewRow
    rows = await session.scalars(
        select(table)
        .where(table.tenant == row.tenant, table.name == row.name, table.version == row.version)
        .order_by(table.at, table.reviewer)
    )
    return tuple(
        Review(
            reviewer=SubjectId(said.reviewer),
            reviewer_name=said.reviewer_name,
            verdict=Verdict(said.verdict),
            digest=said.digest,
            comment=said.comment,
            at=said.at,
        )
        for said in rows
    )


def version_of(row: TemplateVersionRow, reviews: Sequence[Review]) -> TemplateVersion:
    return TemplateVersion(
        name=row.name,
        version=row.version,
        digest=row.digest,
        state=State(row.state),
        source=row.source,
        template=_template(row),
        author=SubjectId(row.author),
        author_name=row.author_name,
        message=row.message,
        created_at=row.created_at,
        risk=risk_of(row),
        requirement=Requirement.of(row.requirement),
        lapses_at=row.lapses_at,
        reviews=tuple(reviews),
    )


def risk_of(row: TemplateVersionRow) -> Risk:
    return Risk(tuple(Reason(RiskClass(risk), column, why) for risk, column, why in row.risk))


def no_such_template(name: str, version: int | None = None, digest: str | None = None) -> NotFound:
    which = f" version {version}" if version is not None else ""
    bytes_ = f" with the digest {digest[:80]}" if digest is not None else ""
    return NotFound(f"there is no template {name[:80]!r}{which}{bytes_} here; `probegate template ls` lists them")


_WHAT_TO_DO: Final = {
    State.IN_REVIEW: "a reviewer runs `probegate template review`",
    State.REJECTED: "read the reviews, change it and submit it again",
    State.WITHDRAWN: "its author took it back; submit it again to have it reviewed",
    State.SUPERSEDED: "a newer version took its place; name that one or leave the version out",
    State.DRAFT: "its author submits it for review with the same text",
    State.LAPSED: "nobody finished its review in time; submit it again",
    State.DEPRECATED: "it is not to be used any more; look for the template that replaces it",
    State.REVOKED: "it was taken out of use for good; read the log, change it and submit it again",
}


def _versions(tenant: str, name: str) -> Select[TemplateVersionRow]:
    table = TemplateVersionRow
    return select(table).where(table.tenant == tenant, table.name == name).order_by(table.version.desc())


def _template(row: TemplateVersionRow) -> Template:
    try:
        return canonical.from_bytes(row.canonical)
    except TemplateError as error:
        raise Conflict(
            f"the stored bytes of {row.name} version {row.version} are no template any more: they were changed after "
            "approval, behind the control plane's back; submit it again and look into the log",
            code="changed_after_approval",
        ) from error


def _sealed(row: TemplateVersionRow) -> str:
    return base64.urlsafe_b64encode(f"{row.name}/{row.version}".encode()).decode()


def _opened(cursor: str) -> tuple[str, int]:
    try:
        opened = _CURSOR.fullmatch(base64.urlsafe_b64decode(cursor[:200]).decode())
    except (binascii.Error, ValueError):
        opened = None
    if opened is None:
        raise Invalid("the cursor is not one of ours: take `next` of the page before, as it is")
    return opened[1], int(opened[2])
