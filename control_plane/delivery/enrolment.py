"""Who becomes an agent: a join token and a certificate request in, an agent of the token's tenant out.

    mint     agent:join           -> a token that is shown once; its hash, tenant, expiry and uses are kept
    enroll   token and request    -> one use counted, an agent row, a certificate; all in one audited transaction
    renew    the agent itself     -> a new certificate for the same agent

A token that is unknown, expired or used up gets the same answer; what was wrong stands in the audit log. The gateway
calls `enroll` and `renew`; `routes` calls `mint`.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from wire.identity import JoinToken

from control_plane.delivery.pki import AgentCertificate, CertificateAuthority
from control_plane.delivery.tables import AgentRow, JoinTokenRow
from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Database, EveryTenant
from control_plane.foundation.errors import Denied, Invalid
from control_plane.foundation.identifiers import AgentId, TenantId, new_id
from control_plane.policy.model import Grant
from control_plane.policy.service import PLATFORM_TENANT

DEFAULT_TOKEN_LIFE: Final = timedelta(minutes=10)  # long enough to paste it into a terminal
MAX_TOKEN_LIFE: Final = timedelta(days=30)  # for images and autoscaling groups that enrol by themselves
MAX_TOKEN_USES: Final = 1000
MAX_HOSTNAME: Final = 255  # RFC 1035, 3.1
_SECRET_BYTES: Final = 32


@dataclass(frozen=True)
class MintedToken:
    """`token` is shown once and kept nowhere."""

    token: str
    token_id: str
    expires_at: datetime
    max_uses: int


@dataclass(frozen=True)
class EnrolledAgent:
    agent: AgentId
    tenant: TenantId
    certificate: AgentCertificate


class Enrolment:
    def __init__(self, database: Database, audit: AuditTrail, clock: Clock, authority: CertificateAuthority) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._authority = authority

    async def mint(self, grant: Grant, life: timedelta = DEFAULT_TOKEN_LIFE, uses: int = 1) -> MintedToken:
        """Raises Invalid for a life or a number of uses out of bounds."""
        if not timedelta(0) < life <= MAX_TOKEN_LIFE:
            raise Invalid(f"a join token lives up to {MAX_TOKEN_LIFE}, not {life}")
        if not 1 <= uses <= MAX_TOKEN_USES:
            raise Invalid(f"a join token is good for 1 to {MAX_TOKEN_USES} hosts, not {uses}")
        secret = "pgj_" + secrets.token_urlsafe(_SECRET_BYTES)
        token_id, now = new_id("jt"), self._clock.now()
        row = insert(JoinTokenRow).values(
            tenant=grant.resource.tenant,
            token_id=token_id,
            secret_sha256=_sha256(secret),
            created_at=now,
            created_by=grant.principal.id,
            expires_at=now + life,
            max_uses=uses,
            uses=0,
        )
        event = AuditEvent(
            action=AuditAction.AGENT_TOKEN,
            outcome=Outcome.SUCCESS,
            actor=grant.principal.id,
            resource=f"join-token/{token_id}",
            detail={"expires_at": now + life, "uses": uses},
        )
        async with self._database.transaction(grant.resource.tenant) as session:
            await session.execute(row)
            await self._audit.append(session, grant.resource.tenant, event)
        return MintedToken(str(JoinToken(secret, self._authority.sha256)), token_id, now + life, uses)

    async def enroll(self, text: str, request: bytes, hostname: str, peer: str) -> EnrolledAgent:
        """The proof that this host holds a good token. Raises Denied, Invalid, AuditUnavailable."""
        hostname = _clean(hostname)
        try:
            token = JoinToken.parse(text)
        except ValueError as error:
            raise Invalid(str(error)) from error
        agent = AgentId(new_id("ag"))
        certificate = self._authority.issue_agent(agent, request)
        known = await self._known(token)
        used = None
        if known is not None:
            async with self._database.transaction(TenantId(known.tenant)) as session:
                used = await self._use(session, known)
                if used is not None:
                    await self._add(session, used, agent, hostname, certificate, peer)
        if used is None:
            await self._refuse(known, hostname, peer)
            raise Denied("the join token is unknown, expired or used up: make a new one with `probegate agent token`")
        return EnrolledAgent(agent, TenantId(used.tenant), certificate)

    async def renew(self, tenant: TenantId, agent: AgentId, request: bytes) -> AgentCertificate:
        """For an agent that the gateway has just identified. Raises Denied when it was revoked meanwhile, Invalid."""
        certificate = self._authority.issue_agent(agent, request)
        changed = (
            update(AgentRow)
            .where(AgentRow.tenant == tenant, AgentRow.agent_id == agent, AgentRow.revoked_at.is_(None))
            .values(certificate_serial=certificate.serial, certificate_until=certificate.not_after)
            .returning(AgentRow.agent_id)
        )
        event = AuditEvent(
            action=AuditAction.AGENT_ENROLL,
            outcome=Outcome.SUCCESS,
            actor=f"agent:{agent}",
            resource=f"agent/{agent}",
            detail={"renewed": True, "serial": certificate.serial, "until": certificate.not_after},
        )
        async with self._database.transaction(tenant) as session:
            if (await session.execute(changed)).one_or_none() is None:
                raise Denied("this agent was revoked: enrol it again with a new join token")
            await self._audit.append(session, tenant, event)
        return certificate

    async def _known(self, token: JoinToken) -> JoinTokenRow | None:
        wanted = select(JoinTokenRow).where(JoinTokenRow.secret_sha256 == _sha256(token.secret))
        async with self._database.transaction(EveryTenant("a join token's secret says whose it is")) as session:
            return (await session.scalars(wanted)).one_or_none()

    async def _use(self, session: AsyncSession, token: JoinTokenRow) -> JoinTokenRow | None:
        """Count one use, if there is one left: in one statement, so that two hosts cannot have the last one."""
        used = (
            update(JoinTokenRow)
            .where(
                JoinTokenRow.tenant == token.tenant,
                JoinTokenRow.token_id == token.token_id,
                JoinTokenRow.expires_at > self._clock.now(),
                JoinTokenRow.uses < JoinTokenRow.max_uses,
            )
            .values(uses=JoinTokenRow.uses + 1)
            .returning(JoinTokenRow)
            .execution_options(synchronize_session=False)
        )
        return (await session.scalars(used)).one_or_none()

    async def _add(
        self,
        session: AsyncSession,
        token: JoinTokenRow,
        agent: AgentId,
        hostname: str,
        certificate: AgentCertificate,
        peer: str,
    ) -> None:
        now = self._clock.now()
        row = AgentRow(
            tenant=token.tenant,
            agent_id=agent,
            hostname=hostname,
            version="",
            kernel="",
            token_id=token.token_id,
            enrolled_at=now,
            certificate_serial=certificate.serial,
            certificate_until=certificate.not_after,
        )
        session.add(row)
        await session.flush()
        event = AuditEvent(
            action=AuditAction.AGENT_ENROLL,
            outcome=Outcome.SUCCESS,
            actor=f"agent:{agent}",
            resource=f"agent/{agent}",
            detail={
                "hostname": hostname,
                "peer": peer,
                "join_token": token.token_id,
                "serial": certificate.serial,
                "until": certificate.not_after,
            },
        )
        await self._audit.append(session, TenantId(token.tenant), event)

    async def _refuse(self, known: JoinTokenRow | None, hostname: str, peer: str) -> None:
        """Into the log of the token's tenant; of the platform, when nobody knows the token."""
        tenant = TenantId(known.tenant) if known else PLATFORM_TENANT
        async with self._database.transaction(tenant) as session:
            why = "unknown"
            if known is not None:
                why = "expired" if known.expires_at <= self._clock.now() else "used up"
            event = AuditEvent(
                action=AuditAction.AGENT_ENROLL,
                outcome=Outcome.REFUSED,
                actor="system",
                resource=f"join-token/{known.token_id}" if known else "join-token/",
                detail={"reason": why, "hostname": hostname, "peer": peer},
            )
            await self._audit.append(session, tenant, event)


def _sha256(secret: str) -> str:
    """A plain hash is enough: the secret has 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _clean(hostname: str) -> str:
    if len(hostname) > MAX_HOSTNAME or not hostname.isprintable():
        raise Invalid(f"a host name has up to {MAX_HOSTNAME} printable characters")
    return hostname
