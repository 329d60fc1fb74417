"""login, logout, whoami, ctx: who is asking, where, in which tenant."""

from __future__ import annotations

import os
import webbrowser
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import click

from client.cli.context import Invocation, invocation, output_option
from client.cli.output import say, show, show_one
from client.sdk import Api, ApiError, Context, Credentials, NotSignedIn
from client.sdk import login as flows
from client.sdk.credentials import DEFAULT_SERVER

T = TypeVar("T")


@click.command()
@click.option("--server", help=f"Where the control plane is (default: the last one, else {DEFAULT_SERVER}).")
@click.option("--tenant", default="", help="The tenant to work in.")
@click.option("--as", "name", default="", help="A name for this sign-in, to keep several (default: the host's name).")
@click.option("--device", is_flag=True, help="Show a code to type in a browser elsewhere, for machines without one.")
@click.option("--no-browser", is_flag=True, help="Only print the address to open.")
@click.option("--issuer", default="", help="Which of the control plane's issuers, where it has several.")
@click.option(
    "--client-id", default="", help="Sign in as a service account; its secret comes from PROBEGATE_CLIENT_SECRET."
)
@click.option(
    "--workload",
    default="",
    metavar="ACCOUNT",
    help="In a pipeline: become this service account (TENANT.NAME) by the pipeline's own token, from PROBEGATE_WORKLOAD_TOKEN.",
)
def login(
    server: str | None,
    tenant: str,
    name: str,
    device: bool,
    no_browser: bool,
    issuer: str,
    client_id: str,
    workload: str,
) -> None:
    """Sign in by browser, by device code, or as a service account.

    At the issuer that the control plane names; the browser or the code goes there, and no password passes this command.
    """
    credentials = Credentials.load()
    known = credentials.contexts.get(name or credentials.active)
    where = (server or (known.server if known else DEFAULT_SERVER)).rstrip("/")
    label = name or where.split("//", 1)[-1]
    chosen = tenant or (known.tenant if known else "")
    if workload:
        token = os.environ.get("PROBEGATE_WORKLOAD_TOKEN", "")
        if not token:
            raise click.UsageError("--workload needs the pipeline's own token in PROBEGATE_WORKLOAD_TOKEN")
        context = flows.by_workload(where, label, chosen or workload.partition(".")[0], workload, token)
    elif client_id:
        secret = os.environ.get("PROBEGATE_CLIENT_SECRET", "")
        if not secret:
            raise click.UsageError("--client-id needs its secret in PROBEGATE_CLIENT_SECRET")
        context = flows.by_secret(where, label, chosen, client_id, secret, issuer)
    elif device:
        context = flows.by_device(where, label, chosen, _show_code, issuer_name=issuer)
    else:
        context = flows.by_browser(where, label, chosen, _print_only if no_browser else _open, issuer)
    credentials.put(context)
    say(
        f"signed in at {where}" + (f", tenant {chosen}" if chosen else "; choose a tenant: probegate ctx --tenant NAME")
    )


@click.command()
def logout() -> None:
    """Forget the tokens of this sign-in."""
    credentials = Credentials.load()
    context = credentials.current()
    credentials.forget_tokens(context.name)
    say(f"signed out of {context.server}")


@click.command()
@output_option
@invocation
def whoami(call: Invocation) -> None:
    """Who the control plane takes you for, and your roles in each tenant."""
    show_one(call.api().me(), call.form)


@click.command()
@click.argument("name", required=False)
@click.option("--tenant", default="", help="Work in this tenant from now on.")
@output_option
@invocation
def ctx(call: Invocation, name: str | None, tenant: str) -> None:
    """List the sign-ins kept here; with NAME use that one."""
    credentials = Credentials.load()
    if name:
        if name not in credentials.contexts:
            known = ", ".join(credentials.contexts) or "none"
            raise NotSignedIn(f"no sign-in is called {name!r}; there are: {known}")
        credentials.put(credentials.contexts[name])
    if tenant:
        credentials.put(replace(credentials.current(), tenant=tenant))
    show((_described(c, credentials.active) for c in credentials.contexts.values()), call.form)


def freshly(call: Invocation, do: Callable[[Api], T]) -> T:
    """Do it; where that needs a fresher or stronger sign-in, sign in again the way it was done before, and go on."""
    try:
        return do(call.api())
    except ApiError as problem:
        if problem.code != "step_up_required":
            raise
        say(f"{problem}")
        credentials = Credentials.load()
        known = credentials.current()
        age = problem.extra.get("max_age")
        fresh = flows.Freshness(age if isinstance(age, int) else None, str(problem.extra.get("acr_values", "")))
        where = (known.server, known.name, known.tenant)
        if known.flow == "device":
            context = flows.by_device(*where, _show_code, issuer_name=known.issuer_name, freshness=fresh)
        else:
            context = flows.by_browser(*where, _open, known.issuer_name, fresh)
        credentials.put(context, activate=False)
        return do(call.api())


def _described(context: Context, active: str) -> dict[str, object]:
    return {
        "active": "*" if context.name == active else "",
        "name": context.name,
        "server": context.server,
        "tenant": context.tenant,
        "signed_in": bool(context.refresh_token or context.is_fresh()),
    }


def _open(address: str) -> None:
    say(f"opening {address}")
    if not webbrowser.open(address):
        say("no browser here: open that address yourself, or use --device")


def _print_only(address: str) -> None:
    say(f"open this address to sign in:\n{address}")


def _show_code(address: str, code: str) -> None:
    say(f"open {address}\nand confirm the code {code}")
