"""service-account, trust-rule, token: what programs sign in with. A secret is printed once, on stdout, and not kept."""

from __future__ import annotations

import click

from client.cli.context import Invocation, invocation, output_option
from client.cli.output import say, show, show_one

ACCOUNT = ("name", "client_id", "owner", "disabled", "expires_at", "last_used_at")
RULE = ("name", "account", "issuer", "audience", "claims")
TOKEN = ("id", "name", "shown", "permissions", "expires_at", "last_used_at", "revoked_at")


@click.group("service-account")
def service_account() -> None:
    """Accounts of programs: a person answers for each, it ends, and it cannot approve."""


@service_account.command("create")
@click.argument("name")
@click.option("--owner", default="", help="The person who answers for it (default: you).")
@click.option("--ttl", default="90d", show_default=True, help="How long it works.")
@output_option
@invocation
def create_account(call: Invocation, name: str, owner: str, ttl: str) -> None:
    """Create an account; its secret is printed once."""
    made = call.api().create_service_account(name, owner, ttl)
    show_one(made, call.form)
    say(
        f"give it roles with: probegate member set '{made['subject']}' ROLE...\n"
        f"sign in as it with: PROBEGATE_CLIENT_SECRET=... probegate login --client-id {made['client_id']}"
    )


@service_account.command("ls")
@output_option
@invocation
def list_accounts(call: Invocation) -> None:
    """The tenant's accounts, with owner, end and last use."""
    show(call.api().service_accounts(), call.form, ACCOUNT)


@service_account.command("show")
@click.argument("name")
@output_option
@invocation
def show_account(call: Invocation, name: str) -> None:
    """One account."""
    show_one(call.api().service_account(name), call.form)


@service_account.command("rotate")
@click.argument("name")
@click.option("--ttl", default="90d", show_default=True, help="How long it works from now on.")
@output_option
@invocation
def rotate_account(call: Invocation, name: str, ttl: str) -> None:
    """A new secret, printed once, and a new end; the old secret is worth nothing from now on."""
    show_one(call.api().rotate_service_account(name, ttl), call.form)


@service_account.command("disable")
@click.argument("name")
@output_option
@invocation
def disable_account(call: Invocation, name: str) -> None:
    """At once and for good; tokens that it holds are refused from the next request on."""
    show([call.api().disable_service_account(name)], call.form, ACCOUNT)


@click.group("trust-rule")
def trust_rule() -> None:
    """Which pipeline's own token becomes which service account."""


@trust_rule.command("create")
@click.argument("name")
@click.option("--account", required=True, help="The service account that the pipeline becomes.")
@click.option("--issuer", required=True, help="Who signs the pipeline's tokens; one that the operator lets you trust.")
@click.option("--audience", required=True, help="The token's `aud`, exactly and alone.")
@click.option(
    "--claim", "claims", multiple=True, required=True, metavar="NAME=VALUE", help="Must be equal; can be repeated."
)
@output_option
@invocation
def create_rule(call: Invocation, name: str, account: str, issuer: str, audience: str, claims: tuple[str, ...]) -> None:
    """Create a rule, for example --claim repository=acme/shop --claim ref=refs/heads/main."""
    pairs = dict(claim.partition("=")[::2] for claim in claims)
    if len(pairs) != len(claims) or not all(pairs.values()):
        raise click.UsageError("--claim: expected NAME=VALUE, each name once")
    rule = {"name": name, "account": account, "issuer": issuer, "audience": audience, "claims": pairs}
    show([call.api().create_trust_rule(rule)], call.form, RULE)


@trust_rule.command("ls")
@output_option
@invocation
def list_rules(call: Invocation) -> None:
    """The tenant's rules."""
    show(call.api().trust_rules(), call.form, RULE)


@trust_rule.command("rm")
@click.argument("name")
@output_option
@invocation
def remove_rule(call: Invocation, name: str) -> None:
    """From now on it lets nobody in."""
    show([call.api().remove_trust_rule(name)], call.form, RULE)


@click.group()
def token() -> None:
    """Your own tokens: a program acts for you, in one tenant, with some of your permissions, for a while.

    A program uses one from PROBEGATE_TOKEN. None approves, and none makes tokens.
    """


@token.command("create")
@click.argument("name")
@click.option(
    "--permission", "permissions", multiple=True, required=True, help="Such as template:read; can be repeated."
)
@click.option("--ttl", default="30d", show_default=True, help="How long it is good for.")
@output_option
@invocation
def create_token(call: Invocation, name: str, permissions: tuple[str, ...], ttl: str) -> None:
    """Create a token; it is printed once."""
    show_one(call.api().create_token(name, permissions, ttl), call.form)


@token.command("ls")
@click.option("--all", "everybodys", is_flag=True, help="Everybody's in the tenant, for its administrators.")
@output_option
@invocation
def list_tokens(call: Invocation, everybodys: bool) -> None:
    """Your tokens, with their end and last use."""
    show(
        call.api().tokens(everybodys=everybodys),
        call.form,
        (*TOKEN[:2], "subject", *TOKEN[2:]) if everybodys else TOKEN,
    )


@token.command("revoke")
@click.argument("token_id")
@click.option("--any", "anybodys", is_flag=True, help="Somebody else's, for the tenant's administrators.")
@output_option
@invocation
def revoke_token(call: Invocation, token_id: str, anybodys: bool) -> None:
    """It is over at once."""
    show([call.api().revoke_token(token_id, anybodys=anybodys)], call.form, TOKEN)
