"""The one way to ask for a second person: a change -> done at once, or a proposal that waits for somebody else's yes.

    1. describe   the kind says what would change and why somebody else must agree     or Invalid, Denied, Stale
    2. held       nobody grants what they do not hold, or hold the kind's guard for    or Denied
    3. propose    somebody must agree: a row waits for seven days
       enact      nobody must: done in the same transaction
    4. approve    another person with the permission of the change itself; the author still may; the base has not moved
    5. enact      in that transaction, with the semantic difference in the log beside it

A kind is registered in bootstrap by the step that owns what it changes: roles and policies here, approval rules by
`templates`, masking rules by `masking`. The routes are `proposal_routes`; time closes what nobody decided (`lapse`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Final, TypeVar

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.audited import audited
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database, EveryTenant
from control_plane.foundation.errors import Conflict, Denied, Invalid, NotFound, ProbegateError, Stale
from control_plane.foundation.identifiers import SubjectId, TenantId, new_id
from control_plane.policy.model import Asker, Grant, Resource
from control_plane.policy.persons import refuse_the_same_person
from control_plane.policy.proposal_model import (
    Applied,
    Description,
    Kind,
    Payload,
    Proposal,
    ProposalState,
    Proposed,
)
from control_plane.policy.proposal_tables import ProposalRow
from control_plane.policy.service import PolicyService

LAPSES: Final = timedelta(days=7)  # what nobody looked at for a week says nothing about today
MAX_OPEN: Final = 200  # of one tenant: more is a queue that nobody reads
MAX_MESSAGE: Final = 1000
MAX_LOGGED: Final = 200  # lines of a difference in one entry of the log; the proposal keeps them all
MAX_LISTED: Final = 100
MAX_LAPSED: Final = 500  # closed in one transaction; the next round takes the rest
T = TypeVar("T")


class Proposals:
    def __init__(self, database: Database, audit: AuditTrail, clock: Clock, policy: PolicyService) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._policy = policy
        self._kinds: dict[str, Kind[object]] = {}

    def register(self, kind: Kind[object]) -> None:
        """In bootstrap, once a kind."""
        if kind.name in self._kinds:
            raise ValueError(f"two kinds of proposal are called {kind.name}")
        self._kinds[kind.name] = kind

    async def propose(self, grant: Grant, kind: Kind[T], payload: Payload, message: str = "") -> Applied[T] | Proposed:
        """Done, or waiting for somebody else. `grant` is of the kind's permission.

        Raises what `describe` and `enact` raise, Denied where the author would give what they do not hold.
        """
        if self._kinds.get(kind.name) is not kind:
            raise ValueError(f"the kind {kind.name} was not registered: nobody could agree to it")
        if len(message) > MAX_MESSAGE or not message.isprintable():
            raise Invalid(f"message: expected at most {MAX_MESSAGE} printable characters")
        tenant, author = grant.resource.tenant, Asker.of(grant.principal)
        async with self._step(grant, kind.action, kind.resource(payload)) as session:
            described = await kind.describe(session, tenant, author, payload)
            await self._held(session, tenant, kind, author, described)
            if not described.needs:
                value = await kind.enact(session, grant, payload, author.subject)
                await self._log_change(session, grant, kind, payload, described, author.subject)
                return Applied(value, described.summary)
            row, fresh = await self._row(session, tenant, kind, payload, described, author, message)
            if fresh:
                await self._log(session, grant.principal.id, AuditAction.PROPOSAL_PROPOSE, row)
            return Proposed(_proposal(row, self._clock.now()))

    async def approve(self, grant: Grant, proposal_id: str, digest: str) -> Proposal:
        """A second person agrees, and it is done. Raises NotFound, Denied, Conflict, Stale."""
        kind, payload = await self._permitted(grant, proposal_id)
        resource = f"proposal/{proposal_id}"
        refused: ProbegateError | None = None
        async with self._step(grant, AuditAction.PROPOSAL_APPROVE, resource) as session:
            row = await self._open(session, grant, proposal_id)
            author = Asker(SubjectId(row.author), frozenset(row.author_groups))
            await refuse_the_same_person(
                session, grant.resource.tenant, author.subject, grant.principal, f"proposal {row.id}"
            )
            if row.digest != digest:
                raise Conflict(f"proposal {row.id} has the digest {row.digest}: look at it again", code="digest")
            refused = await self._overtaken(session, grant, kind, row, payload, author)
            if refused is None:
                described = await kind.describe(session, grant.resource.tenant, Asker.of(grant.principal), payload)
                await self._held(session, grant.resource.tenant, kind, Asker.of(grant.principal), described)
                self._decide(row, ProposalState.APPLIED, grant.principal.id)
                await kind.enact(session, grant, payload, author.subject)
                await self._log(session, grant.principal.id, AuditAction.PROPOSAL_APPROVE, row)
                await self._log_change(session, grant, kind, payload, described, author.subject, row.id)
            proposal = _proposal(row, self._clock.now())
        if refused is not None:
            raise refused  # after the commit: that it is over stays written
        return proposal

    async def reject(self, grant: Grant, proposal_id: str, reason: str) -> Proposal:
        """Somebody who could have agreed does not. Raises NotFound, Denied, Conflict, Invalid."""
        await self._permitted(grant, proposal_id)
        async with self._step(grant, AuditAction.PROPOSAL_REJECT, f"proposal/{proposal_id}") as session:
            row = await self._open(session, grant, proposal_id)
            await refuse_the_same_person(
                session, grant.resource.tenant, SubjectId(row.author), grant.principal, f"proposal {row.id}"
            )
            if not reason.strip() or len(reason) > MAX_MESSAGE or not reason.isprintable():
                raise Invalid(f"reason: expected 1 to {MAX_MESSAGE} printable characters: the author has to know why")
            row.reason = reason.strip()
            self._decide(row, ProposalState.REJECTED, grant.principal.id)
            await self._log(session, grant.principal.id, AuditAction.PROPOSAL_REJECT, row)
            return _proposal(row, self._clock.now())

    async def withdraw(self, grant: Grant, proposal_id: str) -> Proposal:
        """Its author takes it back. Raises NotFound, Denied, Conflict."""
        async with self._step(grant, AuditAction.PROPOSAL_WITHDRAW, f"proposal/{proposal_id}") as session:
            row = await self._open(session, grant, proposal_id)
            if row.author != grant.principal.id:
                raise Denied(
                    f"proposal {row.id} is of {row.author}, who alone withdraws it; you can reject it",
                    code="not_the_author",
                    extra={"smallest_change": f"probegate policy reject {row.id} -m REASON"},
                )
            self._decide(row, ProposalState.WITHDRAWN, grant.principal.id)
            await self._log(session, grant.principal.id, AuditAction.PROPOSAL_WITHDRAW, row)
            return _proposal(row, self._clock.now())

    async def show(self, grant: Grant, proposal_id: str) -> Proposal:
        """Raises NotFound."""
        async with self._database.transaction(grant.resource.tenant) as session:
            return _proposal(await self._found(session, grant, proposal_id), self._clock.now())

    async def list(
        self, grant: Grant, state: ProposalState | None = None, after: str = "", limit: int = MAX_LISTED
    ) -> tuple[Proposal, ...]:
        """The newest first, those older than `after`; without `state` all of them. Raises NotFound for `after`."""
        table, now = ProposalRow, self._clock.now()
        wanted = select(table).where(table.tenant == grant.resource.tenant)
        if state is ProposalState.PROPOSED:
            wanted = wanted.where(table.state == state, table.lapses_at > now)
        elif state is not None:
            wanted = wanted.where(table.state == state)
        async with self._database.transaction(grant.resource.tenant) as session:
            if after:
                last = await self._found(session, grant, after)
                wanted = wanted.where(
                    (table.created_at < last.created_at)
                    | ((table.created_at == last.created_at) & (table.id < last.id))
                )
            rows = await session.scalars(wanted.order_by(table.created_at.desc(), table.id.desc()).limit(limit))
            return tuple(_proposal(row, now) for row in rows)

    async def who_can_agree(self, grant: Grant, proposal: Proposal) -> tuple[SubjectId, ...]:
        """Members who hold what it needs by roles given here, and are not its author. Empty: the operator seats one."""
        kind = self._kind(proposal.kind)
        async with self._database.transaction(grant.resource.tenant) as session:
            return await self._policy.holders(
                session, grant.resource.tenant, kind.permission, kind.named(proposal.payload), proposal.author
            )

    async def lapse(self) -> int:
        """Close what nobody decided in time; how many those were. Called by a loop beside the requests."""
        table = ProposalRow
        async with self._database.transaction(EveryTenant("closing proposals that nobody decided")) as session:
            over = await session.scalars(
                select(table)
                .where(table.state == ProposalState.PROPOSED, table.lapses_at <= self._clock.now())
                .limit(MAX_LAPSED)
                .with_for_update()
            )
            rows = over.all()
            for row in rows:
                await self._end(session, row, ProposalState.LAPSED, "nobody decided it in time")
            return len(rows)

    async def _permitted(self, grant: Grant, proposal_id: str) -> tuple[Kind[object], Payload]:
        """The route asked whether they decide proposals; this asks whether they might do this change. Raises Denied."""
        async with self._database.transaction(grant.resource.tenant) as session:
            row = await self._found(session, grant, proposal_id)
        kind, payload = self._kind(row.kind), json.loads(row.payload)
        resource = Resource(grant.resource.tenant, kind.permission.partition(":")[0], kind.named(payload))
        await self._policy.require(grant.principal, kind.permission, resource)
        return kind, payload

    async def _overtaken(
        self, session: AsyncSession, grant: Grant, kind: Kind[object], row: ProposalRow, payload: Payload, author: Asker
    ) -> ProbegateError | None:
        """What has happened since that makes it void; the row is then closed."""
        tenant = grant.resource.tenant
        now = self._clock.now()
        if row.lapses_at <= now:
            return await self._end(session, row, ProposalState.LAPSED, "nobody decided it in time")
        if not await self._policy.holds(session, tenant, author, kind.permission, kind.named(payload)):
            why = f"its author does not hold {kind.permission} any more"
            return await self._end(session, row, ProposalState.STALE, why)
        try:
            described = await kind.describe(session, tenant, author, payload)
            await self._held(session, tenant, kind, author, described)
        except (Invalid, NotFound, Denied, Conflict, Stale) as error:
            return await self._end(session, row, ProposalState.STALE, error.detail)
        if described.base != row.base or list(described.summary) != row.summary:
            return await self._end(session, row, ProposalState.STALE, "what it would change has changed since")
        return None

    async def _end(self, session: AsyncSession, row: ProposalRow, state: ProposalState, why: str) -> ProbegateError:
        row.reason = why[:MAX_MESSAGE]
        self._decide(row, state, "system")
        await self._log(session, "system", AuditAction.PROPOSAL_LAPSE, row)
        text = f"proposal {row.id} is {state}: {why}. Propose it again"
        return Stale(text) if state is ProposalState.STALE else Conflict(text, code="lapsed")

    async def _held(
        self, session: AsyncSession, tenant: TenantId, kind: Kind[object], asker: Asker, described: Description
    ) -> None:
        if not described.not_held:
            return
        if kind.guard is not None and await self._policy.holds(session, tenant, asker, kind.guard):
            return
        raise Denied(
            f"nobody grants what they do not hold themselves: {'; '.join(described.not_held[:10])}. Somebody who holds "
            "it does this, or it is left out",
            code="escalation",
            extra={
                "missing": list(described.not_held[:10]),
                "smallest_change": "somebody who holds it makes the change",
            },
        )

    async def _row(
        self,
        session: AsyncSession,
        tenant: TenantId,
        kind: Kind[object],
        payload: Payload,
        described: Description,
        author: Asker,
        message: str,
    ) -> tuple[ProposalRow, bool]:
        """A new row, or the one in which the same person waits for the same change already."""
        table, now = ProposalRow, self._clock.now()
        text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        digest = _digest(kind.name, text, described.base)
        waiting = (table.tenant == tenant, table.state == ProposalState.PROPOSED, table.lapses_at > now)
        same = await session.scalar(
            select(table).where(*waiting, table.digest == digest, table.author == author.subject)
        )
        if same is not None:
            return same, False
        if (await session.scalar(select(func.count()).select_from(table).where(*waiting)) or 0) >= MAX_OPEN:
            raise Conflict(f"{MAX_OPEN} proposals wait already: decide or withdraw some", code="too_many_proposals")
        row = ProposalRow(
            tenant=tenant,
            id=new_id("pr"),
            kind=kind.name,
            resource=kind.resource(payload),
            payload=text,
            digest=digest,
            base=described.base,
            summary=list(described.summary),
            needs=list(described.needs),
            message=message,
            state=ProposalState.PROPOSED.value,
            author=author.subject,
            author_groups=sorted(author.groups),
            created_at=now,
            lapses_at=now + LAPSES,
            decided_by="",
            decided_at=None,
            reason="",
        )
        session.add(row)
        await session.flush()
        return row, True

    async def _open(self, session: AsyncSession, grant: Grant, proposal_id: str) -> ProposalRow:
        row = await self._found(session, grant, proposal_id, lock=True)
        if row.state != ProposalState.PROPOSED:
            raise Conflict(f"proposal {row.id} is {row.state} already", code="wrong_state")
        return row

    async def _found(self, session: AsyncSession, grant: Grant, proposal_id: str, *, lock: bool = False) -> ProposalRow:
        row = await session.get(ProposalRow, (grant.resource.tenant, proposal_id[:40]), with_for_update=lock)
        if row is None:
            raise NotFound(f"there is no proposal {proposal_id[:40]!r}; `probegate policy proposals` lists them")
        return row

    def _kind(self, name: str) -> Kind[object]:
        kind = self._kinds.get(name)
        if kind is None:
            raise Conflict(f"this server knows no proposals of kind {name}", code="unknown_kind")
        return kind

    def _decide(self, row: ProposalRow, state: ProposalState, by: str) -> None:
        row.state, row.decided_by, row.decided_at = state.value, by, self._clock.now()

    def _step(self, grant: Grant, action: AuditAction, resource: str) -> AbstractAsyncContextManager[AsyncSession]:
        return audited(self._database, self._audit, grant.resource.tenant, grant.principal.id, action, resource[:800])

    async def _log(self, session: AsyncSession, actor: str, action: AuditAction, row: ProposalRow) -> None:
        detail: dict[str, object] = {
            "kind": row.kind,
            "resource": row.resource,
            "digest": row.digest,
            "author": row.author,
            "state": row.state,
            **_told(row.summary),
            "needs": row.needs[:MAX_LOGGED],
        }
        if row.reason:
            detail["reason"] = row.reason
        event = AuditEvent(action, Outcome.SUCCESS, actor, f"proposal/{row.id}", detail, current_request_id.get())
        await self._audit.append(session, TenantId(row.tenant), event)

    async def _log_change(
        self,
        session: AsyncSession,
        grant: Grant,
        kind: Kind[object],
        payload: Payload,
        described: Description,
        author: SubjectId,
        proposal_id: str = "",
    ) -> None:
        detail: dict[str, object] = {**described.detail, **_told(described.summary)}
        if proposal_id:
            detail |= {"proposal": proposal_id, "author": author, "needs": list(described.needs[:MAX_LOGGED])}
        event = AuditEvent(
            kind.action,
            Outcome.SUCCESS,
            grant.principal.id,
            kind.resource(payload),
            detail,
            current_request_id.get(),
        )
        await self._audit.append(session, grant.resource.tenant, event)


def _told(summary: Sequence[str]) -> dict[str, object]:
    lines = list(summary)
    more = {"further_changes": len(lines) - MAX_LOGGED} if len(lines) > MAX_LOGGED else {}
    return {"changes": lines[:MAX_LOGGED], **more}


def _digest(kind: str, payload: str, base: str) -> str:
    return "sha256:" + hashlib.sha256(f"{kind}\x00{base}\x00{payload}".encode()).hexdigest()


def _proposal(row: ProposalRow, now: datetime) -> Proposal:
    lapsed = row.state == ProposalState.PROPOSED and row.lapses_at <= now
    return Proposal(
        id=row.id,
        kind=row.kind,
        resource=row.resource,
        payload=json.loads(row.payload),
        digest=row.digest,
        summary=tuple(row.summary),
        needs=tuple(row.needs),
        message=row.message,
        state=ProposalState.LAPSED if lapsed else ProposalState(row.state),
        author=SubjectId(row.author),
        created_at=row.created_at,
        lapses_at=row.lapses_at,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        reason=row.reason,
    )
