"""tenant: the tenants of a platform, for its administrators; and what a tenant may use, for everybody in it."""

from __future__ import annotations

import click

from client.cli.context import Invocation, invocation, output_option
from client.cli.output import say, show, show_one

COLUMNS = ("name", "title", "state", "reason", "created_at", "changed_at")
_QUOTA_COLUMNS = ("quota", "used", "limit", "own")
_NAME = click.argument("name")
_REASON = click.option("--reason", required=True, help="Why: its members read it.")


@click.group()
def tenant() -> None:
    """Tenants: create, suspend, delete, and what each may use."""


@tenant.command()
@_NAME
@click.option("--title", default="", help="A line for people.")
@click.option("--admin", default="", help='Its first administrator: a user\'s name or "<issuer>|<sub>" (default: you).')
@output_option
@invocation
def create(call: Invocation, name: str, title: str, admin: str) -> None:
    """Create the tenant NAME."""
    show_one(call.api().create_tenant(name, title, admin), call.form)


@tenant.command("ls")
@output_option
@invocation
def list_tenants(call: Invocation) -> None:
    """Every tenant of the platform, the deleted ones too: their names stay taken."""
    show(call.api().tenants(), call.form, COLUMNS)


@tenant.command("show")
@_NAME
@output_option
@invocation
def show_tenant(call: Invocation, name: str) -> None:
    """In which state it is, since when and why."""
    show_one(call.api().tenant_life(name), call.form)


@tenant.command()
@_NAME
@_REASON
@output_option
@invocation
def suspend(call: Invocation, name: str, reason: str) -> None:
    """Take its probes back within seconds; its members may read why, and nothing else."""
    show_one(call.api().move_tenant(name, "suspend", reason), call.form)


@tenant.command()
@_NAME
@_REASON
@output_option
@invocation
def resume(call: Invocation, name: str, reason: str) -> None:
    """Let its members work again. What was taken back is asked for anew."""
    show_one(call.api().move_tenant(name, "resume", reason), call.form)


@tenant.command()
@_NAME
@_REASON
@click.option("--yes", default="", metavar="NAME", help="NAME again, instead of being asked for it.")
@output_option
@invocation
def delete(call: Invocation, name: str, reason: str, yes: str) -> None:
    """End its probes, then erase all that it has, for good. Its log stays, and its name stays taken."""
    etag = call.api().tenant_life(name)["etag"]
    typed = yes or click.prompt(f"Everything of {name} will be erased. Type its name", err=True)
    if typed != name:
        raise click.UsageError(f"{typed!r} is not {name!r}: nothing was done")
    show_one(call.api().delete_tenant(name, reason, etag), call.form)
    say(f"`probegate tenant show {name}` says when it is over")


@tenant.command()
@output_option
@invocation
def members(call: Invocation) -> None:
    """Who belongs to the tenant in use, with which roles: the same as `member ls`."""
    show(call.api().members(), call.form)


@tenant.command()
@click.argument("name", default="")
@click.option(
    "--set", "limits", multiple=True, metavar="QUOTA=LIMIT", help="A new limit; without LIMIT the platform's own."
)
@output_option
@invocation
def quota(call: Invocation, name: str, limits: tuple[str, ...]) -> None:
    """What a tenant may use, and what it uses: NAME for the platform's administrators, else the tenant in use.

    Quotas: active_tracepoints, templates, events_per_second, bytes_per_day, requests_per_second.
    """
    api = call.api()
    if limits and not name:
        raise click.UsageError("--set needs the NAME of a tenant; the platform's administrators set quotas")
    found = api.quotas_of(name) if name else api.quotas()
    if limits:
        found = api.set_quotas(name, dict(_limit(text) for text in limits), found["etag"])
    show(found["items"], call.form, _QUOTA_COLUMNS)


def _limit(text: str) -> tuple[str, int | None]:
    quota_name, separator, limit = text.partition("=")
    if not separator or not (limit == "" or limit.isdecimal()):
        raise click.BadParameter(f"expected QUOTA=LIMIT like templates=200, got {text!r}", param_hint="--set")
    return quota_name, int(limit) if limit else None
