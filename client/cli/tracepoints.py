"""tracepoint ls|show|watch|stop|renew|approve|deny|review: what runs now or waits, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from client.cli.context import Invocation, invocation, output_option
from client.cli.live import LivePrinter, say_accounting
from client.cli.notices import say_open_notices
from client.cli.output import Form, say, show, show_one

COLUMNS = ("name", "id", "state", "template", "template_version", "table", "expires_at", "requested_by")
USE = ("tracepoint", "subject_name", "verdict", "reason", "ticket", "used_at", "review_by", "comment")


@click.group()
def tracepoint() -> None:
    """Tracepoints: approved probes that were asked for."""


@tracepoint.command("ls")
@click.option("--state", default="", help="Only those in this state, for example awaiting.")
@output_option
@invocation
def list_tracepoints(call: Invocation, state: str) -> None:
    """The tracepoints of the tenant, the newest first."""
    api = call.api()
    found = [item for item in api.tracepoints() if not state or item["state"] == state]
    show(found, call.form, COLUMNS)
    say_open_notices(call, api)


@tracepoint.command("show")
@click.argument("name")
@output_option
@invocation
def show_tracepoint(call: Invocation, name: str) -> None:
    """One tracepoint: parameters, target, each agent's state, accounting; what it waits for, and who said what."""
    found = call.api().tracepoint(name)
    show_one(found, call.form)
    if call.form is Form.TABLE and found["state"] == "awaiting":
        how_to_decide(found)


@tracepoint.command()
@click.argument("name")
@click.option("--rows", default=0, help="End after this many rows.")
@output_option
@invocation
def watch(call: Invocation, name: str, rows: int) -> None:
    """Rows as they come, until the tracepoint ends or Ctrl-C. Leaving does not stop it."""
    api = call.api()
    found = api.tracepoint(name)
    printer = LivePrinter(call.form)
    try:
        printer.consume(api.stream(found["table"], found["id"]), rows)
    except KeyboardInterrupt:
        say(f"\n{name} goes on; stop it with: probegate tracepoint stop {name}")
    say_accounting(printer)


@tracepoint.command()
@click.argument("name")
@output_option
@invocation
def stop(call: Invocation, name: str) -> None:
    """End it now, on every host; a request that waits is withdrawn.

    Your own; with tracepoint:stop-any (tenant-admin, responder) anybody's.
    """
    show([call.api().stop(name)], call.form, COLUMNS)


@tracepoint.command()
@click.argument("name")
@click.option("--ttl", default="10m", show_default=True, help="How long from now, within the caps.")
@output_option
@invocation
def renew(call: Invocation, name: str, ttl: str) -> None:
    """Let it live longer, within the caps."""
    show([call.api().renew(name, ttl)], call.form, COLUMNS)


@tracepoint.command()
@click.argument("name")
@click.option("--digest", required=True, help="`request.digest` that `tracepoint show` showed: a yes to just that.")
@click.option("-m", "--comment", default="")
@output_option
@invocation
def approve(call: Invocation, name: str, digest: str, comment: str) -> None:
    """Say yes to one request: this template, these parameters, this target, for so long."""
    found = call.api().approve_request(name, digest, comment)
    show([found], call.form, COLUMNS)
    if found["detail"]:
        say(found["detail"])


@tracepoint.command()
@click.argument("name")
@click.option("--reason", required=True, help="Why not: who asked sees it.")
@output_option
@invocation
def deny(call: Invocation, name: str, reason: str) -> None:
    """Refuse a request; one refusal is enough, until it has started."""
    api = call.api()
    found = api.tracepoint(name)
    show([api.deny_request(found["id"], found["request"]["digest"], reason)], call.form, COLUMNS)


@tracepoint.command()
@click.argument("name")
@click.option("--ok/--not-ok", required=True, default=None, help="Whether breaking the glass was right.")
@click.option("-m", "--comment", default="", help="Needed with --not-ok.")
@output_option
@invocation
def review(call: Invocation, name: str, ok: bool, comment: str) -> None:
    """Look at somebody's use of the break-glass right: without it within a day, the right suspends itself."""
    show([call.api().review_use(name, comment, ok=ok)], call.form, USE)


@tracepoint.command("break-glass")
@output_option
@invocation
def list_uses(call: Invocation) -> None:
    """Who broke the glass, why, and what was said of it."""
    show(call.api().break_glass_uses(), call.form, USE)


def how_to_decide(found: Mapping[str, Any]) -> None:
    """For a person: what a request waits for, and how to say yes or no to it."""
    request = found["request"]
    say(f"{found['name']} ({found['id']}): {found['detail'] or 'waits for approval'}, until {request['lapses_at']}")
    say(f"a reviewer runs: probegate tracepoint approve {found['id']} --digest {request['digest']}")
    say(f"or:              probegate tracepoint deny {found['id']} --reason 'WHY'")
