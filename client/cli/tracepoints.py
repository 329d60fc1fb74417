"""tracepoint ls|show|watch|stop|renew: what runs now, and its end."""

from __future__ import annotations

import click

from client.cli.context import Invocation, invocation, output_option
from client.cli.live import LivePrinter, say_accounting
from client.cli.output import say, show, show_one

COLUMNS = ("name", "id", "state", "template", "template_version", "table", "expires_at", "requested_by")


@click.group()
def tracepoint() -> None:
    """Tracepoints: approved probes that were asked for."""


@tracepoint.command("ls")
@output_option
@invocation
def list_tracepoints(call: Invocation) -> None:
    """The tracepoints of the tenant, the newest first."""
    show(call.api().tracepoints(), call.form, COLUMNS)


@tracepoint.command("show")
@click.argument("name")
@output_option
@invocation
def show_tracepoint(call: Invocation, name: str) -> None:
    """One tracepoint: parameters, target, each agent's state, accounting."""
    show_one(call.api().tracepoint(name), call.form)


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
    """End it now, on every host."""
    show([call.api().stop(name)], call.form, COLUMNS)


@tracepoint.command()
@click.argument("name")
@click.option("--ttl", default="10m", show_default=True, help="How long from now, within the caps.")
@output_option
@invocation
def renew(call: Invocation, name: str, ttl: str) -> None:
    """Let it live longer, within the caps."""
    show([call.api().renew(name, ttl)], call.form, COLUMNS)
