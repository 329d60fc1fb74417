"""A pipeline's own token -> a short token of a service account, by a tenant's trust rule (RFC 8693).

    1. the account       named by `client_id`; it works (neither disabled nor at its end)
    2. the issuer        the operator's list, and a rule of that account names it: nobody makes this server fetch addresses
    3. the token         signature, exact audience, times: `signed_claims`
    4. the rule          every claim it names is equal, character by character; no patterns
    5. the log           who became what by which rule, in the tenant's own log, then the token

Nobody learns from a refusal whether the account, the rule or the tenant exists.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import select

from control_plane.foundation.audit_trail import AuditAction, AuditEvent, AuditTrail, Outcome
from control_plane.foundation.clock import Clock
from control_plane.foundation.correlation import current_request_id
from control_plane.foundation.database import Database
from control_plane.foundation.identifiers import TenantId
from control_plane.identity.fetching import strict_json
from control_plane.identity.issuer.clients import Clients, tenant_of
from control_plane.identity.issuer.tables import ServiceAccountRow, TrustRuleRow
from control_plane.identity.issuer.tokens import ACCESS_LIFE, TokenMaker
from control_plane.identity.signed_claims import MAX_TOKEN, BadToken, IssuerPolicy, signed_claims, text_of
from control_plane.identity.token_verifier import NARROWING

JWT_TYPES: Final = frozenset({"urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"})
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - its name
MAX_RULES: Final = 20  # of one account that are tried
_log = logging.getLogger(__name__)


class ExchangeRefused(Exception):
    """`error` is RFC 6749's word; the text is for whoever wrote the pipeline."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.error = error


@dataclass(frozen=True)
class Workload:
    """Whom a valid token names, and the rule that lets them in."""

    rule: str
    issuer: str
    subject: str


class Exchange:
    """`issuers` are those that the operator lets tenants trust; the audience of each is the rule's."""

    def __init__(
        self,
        issuers: Sequence[IssuerPolicy],
        clients: Clients,
        tokens: TokenMaker,
        database: Database,
        audit: AuditTrail,
        clock: Clock,
    ) -> None:
        self._issuers = {policy.issuer: policy for policy in issuers}
        self._clients = clients
        self._tokens = tokens
        self._database = database
        self._audit = audit
        self._clock = clock

    @property
    def issuers(self) -> frozenset[str]:
        return frozenset(self._issuers)

    async def exchange(self, form: Mapping[str, str]) -> dict[str, Any]:
        """The token endpoint's answer. Raises ExchangeRefused, AuditUnavailable, DependencyUnavailable."""
        token, client_id = form.get("subject_token", ""), form.get("client_id", "")
        if form.get("subject_token_type") not in JWT_TYPES or not token or "actor_token" in form:
            raise ExchangeRefused("invalid_request", "expected a subject_token that is a JWT, and no actor_token")
        if form.get("requested_token_type", ACCESS_TOKEN) != ACCESS_TOKEN:
            raise ExchangeRefused("invalid_request", "only access tokens are given")
        scope = " ".join(word for word in form.get("scope", "").split() if word.startswith(NARROWING))
        tenant = tenant_of(client_id)
        workload = await self._let_in(await self._rules(tenant, client_id, token), token)
        event = AuditEvent(
            AuditAction.IDENTITY_EXCHANGE,
            Outcome.SUCCESS,
            f"{self._tokens.issuer}|{client_id}",
            f"trust-rule/{workload.rule}",
            {"workload_issuer": workload.issuer, "workload": workload.subject, "scope": scope},
            current_request_id.get(),
        )
        async with self._database.transaction(tenant) as session:
            await self._audit.append(session, tenant, event)
        await self._clients.used(client_id)
        actor = {"iss": workload.issuer, "sub": workload.subject}
        return {
            "access_token": self._tokens.access_token(client_id, None, scope, actor),
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": int(ACCESS_LIFE.total_seconds()),
            "scope": scope,
        }

    async def _rules(self, tenant: TenantId, client_id: str, token: str) -> list[TrustRuleRow]:
        """Of that account, for the issuer that the token claims; none is the same as no such account."""
        claimed = _claimed_issuer(token)
        if claimed not in self._issuers or not await self._clients.works(client_id):
            return []
        rules, accounts = TrustRuleRow, ServiceAccountRow
        async with self._database.transaction(tenant) as session:
            found = await session.scalars(
                select(rules)
                .join(accounts, (accounts.tenant == rules.tenant) & (accounts.name == rules.account))
                .where(rules.tenant == tenant, accounts.client_id == client_id, rules.issuer == claimed)
                .order_by(rules.name)
                .limit(MAX_RULES)
            )
            return list(found.all())

    async def _let_in(self, rules: list[TrustRuleRow], token: str) -> Workload:
        for audience in dict.fromkeys(rule.audience for rule in rules):
            try:
                _, claims = await signed_claims(
                    token,
                    {rules[0].issuer: replace(self._issuers[rules[0].issuer], audience=audience)},
                    self._clock.now(),
                )
            except BadToken as bad:
                _log.info("a workload's token was refused: %s", bad.reason)
                continue
            for rule in rules:
                if rule.audience == audience and _equal(rule, claims):
                    return Workload(rule.name, rule.issuer, text_of(claims, "sub", "?"))
        raise ExchangeRefused(
            "invalid_grant",
            "no trust rule of this service account accepts this token: its issuer, audience and claims must be equal "
            "to a rule's, and it must be signed and unexpired (`probegate trust-rule ls`)",
        )


def _equal(rule: TrustRuleRow, claims: Mapping[str, Any]) -> bool:
    """An audience beside ours would be somebody who could show the token to us; claims are texts, compared as they are."""
    exact = claims.get("aud") in (rule.audience, [rule.audience])
    return exact and bool(rule.claims) and all(claims.get(name) == value for name, value in rule.claims.items())


def _claimed_issuer(token: str) -> str:
    """Only to choose rules by; the signature decides."""
    segments = token.split(".")
    if len(token) > MAX_TOKEN or len(segments) != 3:
        return ""
    try:
        claims = strict_json(base64.urlsafe_b64decode(segments[1] + "=" * (-len(segments[1]) % 4)))
    except ValueError:
        return ""
    claimed = claims.get("iss") if isinstance(claims, dict) else None
    return claimed if isinstance(claimed, str) else ""
