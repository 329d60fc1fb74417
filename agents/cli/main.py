"""The command group of `probegate-agent`. A command's module is loaded when it is named: the one that runs for months, `run`,
keeps nothing of the others in memory.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

COMMANDS: Final = (
    "run",
    "functions",
    "explain",
    "try",
    "mask",
    "doctor",
    "list",
    "stop",
    "reload",
)  # in the order of --help


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = getattr(import_module(f"agents.cli.{cmd_name}_command"), f"{cmd_name}_command")
        return found


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="probegate", prog_name="probegate-agent")
def cli() -> None:
    """Trace native programs on this host: governed (run) or by hand (functions, explain, try, mask).

    The host's owner sees and ends what runs with list, stop and reload, without the control plane.
    """
