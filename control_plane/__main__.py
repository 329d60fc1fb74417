"""`probegate-server`: run the control plane, and what only the person at its shell may do.

The commands beside `serve` open the same database and write to the same log, as `system`: whoever can read the state
directory holds every key already. Everybody else goes through the API.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import click

from control_plane.accounts.service_accounts import ServiceAccounts
from control_plane.bootstrap.core import Core, opened
from control_plane.bootstrap.schema import WrongSchema, upgrade
from control_plane.delivery.enrolment import Enrolment
from control_plane.delivery.pki import BadAuthority
from control_plane.foundation.database import Database
from control_plane.foundation.errors import ProbegateError
from control_plane.foundation.identifiers import TenantId
from control_plane.identity.issuer.embedded import EmbeddedIssuer
from control_plane.masking.key_wrapping import BadWrappingKey
from control_plane.policy.membership import MembershipService
from control_plane.policy.model import Permission, Resource
from control_plane.policy.roles import BadRoles
from control_plane.policy.service import PolicyService
from control_plane.settings import BadSetting, Settings, read_settings
from control_plane.signing.key_file import BadKeyFile
from language import durations
from language.errors import TemplateError

T = TypeVar("T")
_CANNOT_START = (ProbegateError, WrongSchema, BadKeyFile, BadWrappingKey, BadAuthority, BadRoles)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="probegate")
def main() -> None:
    """The control plane of Probegate.

    Configured by environment variables; the usual ones are PROBEGATE_STATE (directory for keys and the embedded
    database), PROBEGATE_HTTP_LISTEN, PROBEGATE_GRPC_LISTEN, PROBEGATE_PUBLIC_URL and PROBEGATE_PROFILE.
    """


@main.command()
def serve() -> None:
    """Run the API, the console and the agents' gateway until a signal."""
    # Imported here: the other commands do without, and start in half the time.
    from control_plane.http.asking_check import StartupError
    from control_plane.serving import serve as run_server

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for chatty in ("httpx", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    settings = _settings()
    try:
        asyncio.run(run_server(settings))
    except (StartupError, *_CANNOT_START) as problem:
        raise click.ClickException(str(problem)) from problem
    except OSError as problem:
        raise click.ClickException(f"{settings.http_listen} or {settings.grpc_listen}: {problem}") from problem


@main.command()
def migrate() -> None:
    """Bring the database's tables to this version. An embedded database is brought there by every start."""

    async def run() -> None:
        settings = _settings()
        settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = Database(settings.database_url)
        try:
            await upgrade(database)
        finally:
            await database.close()

    asyncio.run(run())
    click.echo("the database is up to date", err=True)


@main.group()
def user() -> None:
    """People who sign in at the embedded issuer."""


@user.command("add")
@click.argument("name")
@click.option("--display-name", default="", help="How others see them; NAME when not given.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input instead of asking for it.")
def add_user(name: str, display_name: str, password_stdin: bool) -> None:
    """Let NAME sign in with a password. They can do nothing before they are a member of a tenant."""
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else _ask_password()

    async def add(core: Core) -> None:
        await _embedded(core).users.add(name, password, display_name)

    _with_core(add)
    click.echo(f"user {name} can sign in at {_settings().public_url}", err=True)


@main.group()
def tenant() -> None:
    """Tenants: each has its own members, templates, agents, rows and log."""


@tenant.command("create")
@click.argument("name")
@click.option("--title", default="", help="A line for people.")
@click.option("--admin", required=True, help='Its first administrator: a user\'s name or "<issuer>|<sub>".')
def create_tenant(name: str, title: str, admin: str) -> None:
    """Create the tenant NAME."""

    async def create(core: Core) -> None:
        await core.provision.get(MembershipService).unsafe_create_tenant(name, title, admin)

    _with_core(create)
    click.echo(f"tenant {name} exists; {admin} administers it", err=True)


@main.group()
def member() -> None:
    """Who holds which role in which tenant."""


@member.command("add")
@click.argument("tenant_name", metavar="TENANT")
@click.argument("subject")
@click.argument("roles", nargs=-1, required=True, metavar="ROLE...")
def add_member(tenant_name: str, subject: str, roles: tuple[str, ...]) -> None:
    """Give SUBJECT (a user's name or "<issuer>|<sub>") exactly these roles in TENANT.

    Roles: viewer, developer, reviewer, tenant-admin, auditor; in the tenant "platform" platform-admin, auditor.
    """

    async def put(core: Core) -> None:
        await core.provision.get(MembershipService).unsafe_put_member(TenantId(tenant_name), subject, roles)

    _with_core(put)
    click.echo(f"{subject} holds {', '.join(sorted(set(roles)))} in {tenant_name}", err=True)


@main.group("service-account")
def service_account() -> None:
    """Programs that sign in at the embedded issuer by secret."""


@service_account.command("create")
@click.argument("tenant_name", metavar="TENANT")
@click.argument("name")
@click.argument("roles", nargs=-1, required=True, metavar="ROLE...")
@click.option("--owner", required=True, help='Who answers for it: a user\'s name or "<issuer>|<sub>".')
@click.option("--ttl", default="90d", show_default=True, help="How long it works.")
def create_service_account(tenant_name: str, name: str, roles: tuple[str, ...], owner: str, ttl: str) -> None:
    """Create a service account with these roles in TENANT; prints its client id and its secret, once."""
    life = _parsed(ttl)

    async def create(core: Core) -> tuple[str, str]:
        membership = core.provision.get(MembershipService)
        accounts = core.provision.get(ServiceAccounts)
        tenant = TenantId(tenant_name)
        made = await accounts.unsafe_create(tenant, name, membership.complete(owner), life)
        await membership.unsafe_put_member(tenant, made.account.subject, roles)
        return made.account.client_id, made.secret

    client_id, secret = _with_core(create)
    click.echo(f"{client_id} {secret}")


@main.group("join-token")
def join_token() -> None:
    """Invitations for agents."""


@join_token.command("create")
@click.argument("tenant_name", metavar="TENANT")
@click.option("--uses", default=1, show_default=True, help="How many hosts may join with it.")
@click.option("--ttl", default="10m", show_default=True, help="How long it is good for.")
def create_join_token(tenant_name: str, uses: int, ttl: str) -> None:
    """Print a token for `probegate-agent run --join-token`; it is shown once."""
    life = _parsed(ttl)

    async def mint(core: Core) -> str:
        resource = Resource(TenantId(tenant_name), "agent", "*")
        grant = await core.provision.get(PolicyService).unsafe_operator_grant(Permission.AGENT_JOIN, resource)
        return (await core.provision.get(Enrolment).mint(grant, life, uses)).token

    click.echo(_with_core(mint))


def _parsed(ttl: str) -> timedelta:
    try:
        return durations.parse(ttl)
    except (TemplateError, ValueError) as problem:
        raise click.BadParameter(str(problem), param_hint="--ttl") from problem


def _with_core(do: Callable[[Core], Awaitable[T]]) -> T:
    settings = _settings()

    async def run() -> T:
        async with opened(settings) as core:
            return await do(core)

    try:
        return asyncio.run(run())
    except _CANNOT_START as problem:
        raise click.ClickException(str(problem)) from problem


def _settings() -> Settings:
    try:
        return read_settings()
    except BadSetting as problem:
        raise click.ClickException(str(problem)) from problem


def _embedded(core: Core) -> EmbeddedIssuer:
    if not core.settings.embedded_issuer:
        raise click.ClickException("the embedded issuer is off; people and programs are known to your own issuer")
    return core.provision.get(EmbeddedIssuer)


def _ask_password() -> str:
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password


if __name__ == "__main__":
    main()
