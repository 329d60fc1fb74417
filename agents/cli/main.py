"""The command group of `probegate-agent`."""

from __future__ import annotations

import click

from agents.cli.doctor_command import doctor_command
from agents.cli.explain_command import explain_command
from agents.cli.functions_command import functions_command
from agents.cli.mask_command import mask_command
from agents.cli.run_command import run_command
from agents.cli.try_command import try_command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="probegate", prog_name="probegate-agent")
def cli() -> None:
    """Trace native programs on this host: governed (run) or by hand (functions, explain, try, mask)."""


for command in (run_command, functions_command, explain_command, try_command, mask_command, doctor_command):
    cli.add_command(command)
