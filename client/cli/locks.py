"""lock add|ls|release: stop what must not run, at once and until somebody says otherwise."""

from __future__ import annotations

import click

from client.cli.context import Invocation, invocation, output_option
from client.cli.output import say, show

COLUMNS = ("id", "kind", "value", "reason", "created_by", "created_at", "expires_at")
KINDS = ("user", "role", "tenant", "template", "digest", "agent", "build-id", "everything")


@click.group()
def lock() -> None:
    """Locks: nothing they name can be asked for, and what runs of it ends within seconds."""


@lock.command("add")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("value", default="")
@click.option("--reason", required=True, help="Why: others have to know.")
@click.option("--ttl", default="", help="How long it holds (default: until it is released).")
@output_option
@invocation
def add(call: Invocation, kind: str, value: str, reason: str, ttl: str) -> None:
    """Lock a user, a role, ... or everything."""
    made = call.api().lock(kind, value, reason, ttl)
    show([made], call.form, COLUMNS)
    say(f"release it with: probegate lock release {made['id']}")


@lock.command("ls")
@output_option
@invocation
def list_locks(call: Invocation) -> None:
    """The locks that hold now, the platform's too."""
    show(call.api().locks(), call.form, COLUMNS)


@lock.command()
@click.argument("lock_id")
@output_option
@invocation
def release(call: Invocation, lock_id: str) -> None:
    """It can be asked for again; nothing that was stopped starts by that."""
    show([call.api().unlock(lock_id)], call.form, COLUMNS)
