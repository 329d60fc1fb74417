"""`probegate-agent reload`: read the host's file again; what it does not allow any more ends now. SIGHUP does the same."""

from __future__ import annotations

import click

from agents.cli.owner import ask
from agents.cli.problems import Exit, Stop, reported
from agents.settings import read_settings


@click.command("reload")
def reload_command() -> None:
    """Read the host's file again, in each agent of this host. A file that cannot be read changes nothing."""
    with reported():
        answers = ask(read_settings().shared, {"do": "reload"})
    for answer in answers:
        for key in answer.get("stopped", ()):
            click.echo(f"stopped {key}")
    if errors := [str(answer["error"]) for answer in answers if "error" in answer]:
        raise Stop(Exit.NOT_PERMITTED, "bad_settings", "; ".join(errors))
