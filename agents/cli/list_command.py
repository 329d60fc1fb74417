"""`probegate-agent list`: what the agents of this host probe now, and for whom."""

from __future__ import annotations

import json
from typing import Final

import click

from agents.cli.output import table_of, wide_console
from agents.cli.owner import ask
from agents.cli.problems import reported
from agents.settings import read_settings

COLUMNS: Final = ("tenant", "tracepoint", "name", "state", "function", "requested_by", "processes", "cpu")


@click.command("list")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def list_command(output: str) -> None:
    """What runs on this host now, for which tenant, asked for by whom. Needs no control plane."""
    with reported():
        answers = ask(read_settings().shared, {"do": "list"})
    probes = [{"tenant": answer["tenant"], **probe} for answer in answers for probe in answer["probes"]]
    if output == "json":
        click.echo(json.dumps(probes, indent=2))
        return
    table = table_of(*(column.upper() for column in COLUMNS))
    for probe in probes:
        shown = probe | {"processes": " ".join(map(str, probe["processes"])), "cpu": f"{probe['cpu']:.2%}"}
        table.add_row(*(str(shown[column]) for column in COLUMNS))
    wide_console().print(table)
