"""`probegate-agent stop`: the host's owner ends a tracepoint here, whoever asked for it, with or without the control plane."""

from __future__ import annotations

import click

from agents.cli.owner import ask
from agents.cli.problems import Exit, Stop, reported
from agents.settings import read_settings
from agents.supervisor.owner_socket import EVERY, MAX_REASON


@click.command("stop")
@click.argument("tracepoint", required=False)
@click.option("--all", "every", is_flag=True, help="Everything that runs here.")
@click.option("--reason", default="", help="Told to who asked for it, and in the audit log.")
def stop_command(tracepoint: str | None, every: bool, reason: str) -> None:
    """End TRACEPOINT (id or name) on this host, for good: renewals are refused here, only another tracepoint comes back.

    Works while the control plane is away; it hears of it with its reason as soon as it is back.
    """
    if (tracepoint is None) is not every:
        raise click.UsageError("name one TRACEPOINT, or give --all")
    if len(reason) > MAX_REASON:
        raise click.UsageError(f"a reason has at most {MAX_REASON} characters")
    with reported():
        answers = ask(read_settings().shared, {"do": "stop", "which": tracepoint or EVERY, "reason": reason})
    done = [answer for answer in answers if "error" not in answer]
    if not done:
        raise Stop(Exit.FAILED, "not_here", "; ".join(str(answer["error"]) for answer in answers))
    for answer in done:
        for key in answer["stopped"]:
            click.echo(f"stopped {key}")
    still = [key for answer in done for key in answer["still"]]
    if still:
        raise Stop(
            Exit.FAILED, "still_counting", f"detached, but the last rows are still handed on: {', '.join(still)}"
        )
