"""functions, agent: what a host has, and the agents that run on them."""

from __future__ import annotations

import click

from client.cli.context import Invocation, invocation, output_option
from client.cli.output import Form, say, show, show_one


@click.command()
@click.argument("pattern", default="")
@click.option("--service", required=True, help="The service whose functions to list.")
@click.option("-n", "--limit", default=50, show_default=True)
@output_option
@invocation
def functions(call: Invocation, pattern: str, service: str, limit: int) -> None:
    """The functions of a running service, with their arguments."""
    found = call.api().functions(service, pattern, limit)
    rows = found["functions"] if call.form is not Form.TABLE else [_one_line(item) for item in found["functions"]]
    show(rows, call.form)


@click.group()
def agent() -> None:
    """The hosts that run probes."""


@agent.command("ls")
@output_option
@invocation
def list_agents(call: Invocation) -> None:
    """The agents of the tenant, and when each was last heard of."""
    show(call.api().agents(), call.form)


@agent.command()
@click.option("--uses", default=1, show_default=True, help="How many agents may join with it.")
@click.option("--ttl", default="1h", show_default=True)
@output_option
@invocation
def token(call: Invocation, uses: int, ttl: str) -> None:
    """A token for a new agent to join with. It is shown once."""
    made = call.api().join_token(uses, ttl)
    if call.form is Form.TABLE:
        print(made["token"])
        say(f"on the host: probegate-agent run --server HOST:PORT --join-token {made['token'][:8]}… --state DIR")
    else:
        show_one(made, call.form)


def _one_line(function: dict[str, object]) -> dict[str, object]:
    arguments = function.get("arguments")
    listed = arguments if isinstance(arguments, list) else []
    spelt = ", ".join(f"{a['name'] or '_'} {a['type']}" for a in listed)
    return {"function": f"{function['name']}({spelt})", "file": f"{function.get('file')}:{function.get('line')}"}
