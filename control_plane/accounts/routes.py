"""Service accounts, trust rules and personal tokens over HTTP. What is secret is in one answer, and never again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from control_plane.accounts.personal_tokens import MAX_NAME, PersonalToken, PersonalTokenService
from control_plane.accounts.service_accounts import DEFAULT_LIFE, ServiceAccount, ServiceAccounts
from control_plane.accounts.trust_rules import MAX_CLAIMS, TrustRule, TrustRules
from control_plane.foundation.bodies import Body
from control_plane.foundation.errors import Invalid
from control_plane.foundation.provision import provided
from control_plane.foundation.request_headers import IfMatch, quoted
from control_plane.policy.asking import Granted, requires
from control_plane.policy.membership import MembershipService
from control_plane.policy.model import Permission
from language import durations
from language.errors import TemplateError

router = APIRouter(tags=["programs"])
Accounts = Annotated[ServiceAccounts, Depends(provided(ServiceAccounts))]
Rules = Annotated[TrustRules, Depends(provided(TrustRules))]
Tokens = Annotated[PersonalTokenService, Depends(provided(PersonalTokenService))]
Members = Annotated[MembershipService, Depends(provided(MembershipService))]
MAX_LIST = 50


class AccountIn(Body):
    name: str = Field(max_length=63)
    owner: str = Field(default="", max_length=700, description="A user's name or <issuer>|<sub>; else the caller.")
    ttl: str | None = Field(default=None, max_length=40, description="How long it works, such as 90d.")


class RotateIn(Body):
    ttl: str | None = Field(default=None, max_length=40, description="How long it works from now on, such as 90d.")


class AccountOut(BaseModel):
    name: str
    client_id: str
    subject: str
    owner: str
    disabled: bool
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revision: int

    @classmethod
    def of(cls, account: ServiceAccount) -> AccountOut:
        return cls(**vars(account))


class AccountSecretOut(AccountOut):
    secret: str


class AccountsOut(BaseModel):
    items: list[AccountOut]
    next: None = None


class TrustRuleIn(Body):
    name: str = Field(max_length=63)
    account: str = Field(max_length=63, description="The service account that the pipeline becomes.")
    issuer: str = Field(max_length=400)
    audience: str = Field(max_length=255, description="The token's `aud`, exactly and alone.")
    claims: dict[str, str] = Field(
        min_length=1, max_length=MAX_CLAIMS, description="Each must be equal, such as repository and ref."
    )


class TrustRuleOut(BaseModel):
    name: str
    account: str
    issuer: str
    audience: str
    claims: dict[str, str]
    created_at: datetime
    created_by: str

    @classmethod
    def of(cls, rule: TrustRule) -> TrustRuleOut:
        return cls(**{**vars(rule), "claims": dict(rule.claims)})


class TrustRulesOut(BaseModel):
    items: list[TrustRuleOut]
    next: None = None


class TokenIn(Body):
    name: str = Field(min_length=1, max_length=MAX_NAME, description="To recognise it by.")
    permissions: list[str] = Field(min_length=1, max_length=MAX_LIST)
    ttl: str = Field(max_length=40, description="How long it is good for, such as 30d.")


class TokenOut(BaseModel):
    id: str
    shown: str = Field(description="Its beginning, to recognise it by.")
    name: str
    subject: str
    permissions: list[str]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, token: PersonalToken) -> TokenOut:
        return cls(**{**vars(token), "permissions": list(token.permissions)})


class NewTokenOut(TokenOut):
    token: str


class TokensOut(BaseModel):
    items: list[TokenOut]
    next: None = None


@router.get("/v1/tenants/{tenant}/service-accounts")
@requires(Permission.ACCOUNT_READ)
async def list_accounts(grant: Granted, accounts: Accounts) -> AccountsOut:
    return AccountsOut(items=[AccountOut.of(account) for account in await accounts.list(grant)])


@router.post("/v1/tenants/{tenant}/service-accounts", status_code=201)
@requires(Permission.ACCOUNT_WRITE)
async def create_account(grant: Granted, body: AccountIn, accounts: Accounts, members: Members) -> AccountSecretOut:
    """Its secret is in this answer only. It can do nothing before it is a member with roles."""
    owner = members.complete(body.owner) if body.owner else ""
    made = await accounts.create(grant, body.name, owner, _life(body.ttl))
    return AccountSecretOut(**vars(made.account), secret=made.secret)


@router.get("/v1/tenants/{tenant}/service-accounts/{account}")
@requires(Permission.ACCOUNT_READ, name="account")
async def show_account(grant: Granted, account: str, accounts: Accounts, response: Response) -> AccountOut:
    shown = await accounts.show(grant, account)
    response.headers["ETag"] = quoted(str(shown.revision))
    return AccountOut.of(shown)


@router.post("/v1/tenants/{tenant}/service-accounts/{account}/rotate")
@requires(Permission.ACCOUNT_WRITE, name="account")
async def rotate_account(
    grant: Granted, account: str, body: RotateIn, accounts: Accounts, if_match: IfMatch = None
) -> AccountSecretOut:
    """A new secret and a new end; the old secret is worth nothing from now on."""
    made = await accounts.rotate(grant, account, _life(body.ttl), if_match)
    return AccountSecretOut(**vars(made.account), secret=made.secret)


@router.post("/v1/tenants/{tenant}/service-accounts/{account}/disable")
@requires(Permission.ACCOUNT_WRITE, name="account")
async def disable_account(grant: Granted, account: str, accounts: Accounts, if_match: IfMatch = None) -> AccountOut:
    """At once and for good, its tokens included."""
    return AccountOut.of(await accounts.disable(grant, account, if_match))


@router.get("/v1/tenants/{tenant}/trust-rules")
@requires(Permission.ACCOUNT_READ)
async def list_rules(grant: Granted, rules: Rules) -> TrustRulesOut:
    return TrustRulesOut(items=[TrustRuleOut.of(rule) for rule in await rules.list(grant)])


@router.post("/v1/tenants/{tenant}/trust-rules", status_code=201)
@requires(Permission.ACCOUNT_WRITE)
async def create_rule(grant: Granted, body: TrustRuleIn, rules: Rules) -> TrustRuleOut:
    """A pipeline whose own token is equal in all of this becomes the service account (RFC 8693, at the token endpoint)."""
    made = await rules.create(grant, body.name, body.account, body.issuer, body.audience, body.claims)
    return TrustRuleOut.of(made)


@router.delete("/v1/tenants/{tenant}/trust-rules/{rule}")
@requires(Permission.ACCOUNT_WRITE, name="rule")
async def remove_rule(grant: Granted, rule: str, rules: Rules) -> TrustRuleOut:
    return TrustRuleOut.of(await rules.remove(grant, rule))


@router.get("/v1/tenants/{tenant}/tokens")
@requires(Permission.TOKEN_WRITE)
async def list_tokens(grant: Granted, tokens: Tokens) -> TokensOut:
    """One's own."""
    return TokensOut(items=[TokenOut.of(token) for token in await tokens.own(grant)])


@router.post("/v1/tenants/{tenant}/tokens", status_code=201)
@requires(Permission.TOKEN_WRITE)
async def create_token(grant: Granted, body: TokenIn, tokens: Tokens) -> NewTokenOut:
    """The token is in this answer only."""
    made = await tokens.create(grant, body.name, body.permissions, _life(body.ttl))
    return NewTokenOut(**TokenOut.of(made.about).model_dump(), token=made.token)


@router.delete("/v1/tenants/{tenant}/tokens/{token}")
@requires(Permission.TOKEN_WRITE, name="token")
async def revoke_token(grant: Granted, token: str, tokens: Tokens) -> TokenOut:
    return TokenOut.of(await tokens.revoke(grant, token))


@router.get("/v1/tenants/{tenant}/member-tokens")
@requires(Permission.ACCOUNT_READ)
async def list_member_tokens(grant: Granted, tokens: Tokens) -> TokensOut:
    """Of everybody in the tenant."""
    return TokensOut(items=[TokenOut.of(token) for token in await tokens.all(grant)])


@router.delete("/v1/tenants/{tenant}/member-tokens/{token}")
@requires(Permission.ACCOUNT_WRITE, name="token")
async def revoke_member_token(grant: Granted, token: str, tokens: Tokens) -> TokenOut:
    """Anybody's in the tenant."""
    return TokenOut.of(await tokens.revoke(grant, token, anybodys=True))


def _life(ttl: str | None) -> timedelta:
    if ttl is None:
        return DEFAULT_LIFE
    try:
        return durations.parse(ttl)
    except TemplateError as error:
        raise Invalid(f"ttl: {error}") from error
