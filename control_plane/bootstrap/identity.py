"""Settings -> everything that establishes who somebody is: verifiers, sessions, the issuers that people sign in at."""

from __future__ import annotations

from pathlib import Path

import httpx

from control_plane.foundation.audit_trail import AuditTrail
from control_plane.foundation.clock import Clock
from control_plane.foundation.database import Database
from control_plane.foundation.errors import Invalid
from control_plane.foundation.provision import Provision
from control_plane.identity.credentials import Credentials
from control_plane.identity.discovery import Discovery
from control_plane.identity.issuer.embedded import EmbeddedIssuer
from control_plane.identity.issuer.exchange import Exchange
from control_plane.identity.issuer.in_process import embedded_sign_in
from control_plane.identity.jwks import RemoteKeys
from control_plane.identity.personal_tokens import PersonalTokens
from control_plane.identity.relying_party.back_channel import BackChannel
from control_plane.identity.relying_party.clients import (
    CommandLineClient,
    HttpRedemption,
    SignInIssuer,
    SignInIssuers,
)
from control_plane.identity.relying_party.code_flow import CodeFlow
from control_plane.identity.relying_party.id_tokens import ID_TOKEN_TYPES
from control_plane.identity.service import Identity
from control_plane.identity.sessions import Sessions
from control_plane.identity.token_verifier import IssuerPolicy, TokenVerifier
from control_plane.issuer_settings import ExternalIssuer
from control_plane.settings import Settings


def add_identity(
    settings: Settings,
    provision: Provision,
    database: Database,
    clock: Clock,
    audit: AuditTrail,
    http: httpx.AsyncClient,
) -> None:
    """Raises Invalid when a secret's file cannot be read."""
    believed: list[IssuerPolicy] = []
    sign_ins: list[SignInIssuer] = []
    embedded = EmbeddedIssuer(settings.public_url, settings.keys, database, clock, people=settings.embedded_issuer)
    believed.append(embedded.policy())
    provision.add(EmbeddedIssuer, embedded)
    if settings.embedded_issuer:
        sign_ins.append(embedded_sign_in(embedded))
    workloads = [
        IssuerPolicy(
            one.issuer,
            "the rule's",
            one.algorithms,
            one.types,
            RemoteKeys(one.issuer, one.jwks_uri, http, clock),
        )
        for one in settings.workload_issuers
    ]
    provision.add(Exchange, Exchange(workloads, embedded.clients, embedded.tokens, database, audit, clock))
    for external in settings.issuers:
        policy, sign_in = _external(external, settings.public_url, clock, http)
        believed.append(policy)
        sign_ins.append(sign_in)
    sessions = Sessions(database, clock, secure=settings.https)
    provision.add(Sessions, sessions)
    provision.add(CodeFlow, CodeFlow(SignInIssuers(sign_ins), clock))
    provision.add(BackChannel, BackChannel(sessions, database, audit, clock))
    credentials = Credentials(
        TokenVerifier(believed, clock), PersonalTokens(database, clock), embedded.clients, embedded.url
    )
    provision.add(Identity, Identity(credentials, sessions, database, audit, clock))


def _external(
    external: ExternalIssuer, public_url: str, clock: Clock, http: httpx.AsyncClient
) -> tuple[IssuerPolicy, SignInIssuer]:
    """One issuer, twice: its access tokens are for the API, its ID tokens for the console; the keys are the same."""
    discovery = Discovery(external.issuer, http, clock)
    keys = RemoteKeys(external.issuer, external.jwks_uri, http, clock, discovery)
    client = external.console_client_id

    def policy(audience: str, types: tuple[str, ...]) -> IssuerPolicy:
        return IssuerPolicy(
            external.issuer, audience, external.algorithms, types, keys, external.name_claim, external.groups_claim
        )

    command_line = CommandLineClient(
        external.cli_client_id, tuple(dict.fromkeys((*external.scopes, "offline_access"))), external.resource
    )
    return policy(external.audience, external.types), SignInIssuer(
        name=external.name,
        label=external.label,
        issuer=external.issuer,
        client_id=client,
        scopes=external.scopes,
        policy=policy(client, ID_TOKEN_TYPES) if client else None,
        discovery=discovery,
        redemption=HttpRedemption(discovery, http, client, _secret(external.console_client_secret_file)),
        callback=f"{public_url}/console/callback/{external.name}",
        after_logout=f"{public_url}/console/signed-out",
        command_line=command_line if external.cli_client_id else None,
    )


def _secret(path: str) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Invalid(f"console_client_secret_file: {path} cannot be read: {error.strerror}") from error
