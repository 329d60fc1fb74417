"""`probegate-agent functions`: what can be probed in an executable, with argument and result types."""

from __future__ import annotations

import json

import click
from rich.markup import escape

from agents.binaries.model import FunctionSummary
from agents.bootstrap import build_reading
from agents.cli.inputs import real_path, target_of, target_options
from agents.cli.output import table_of, wide_console
from agents.cli.problems import reported
from agents.processes.service import choose
from agents.settings import read_settings
from agents.stages.binding import refuse_denied
from agents.stages.functions import MAX_FUNCTIONS, as_json


@click.command("functions")
@target_options
@click.argument("pattern", required=False)
@click.option("--limit", type=click.IntRange(1, 100_000), default=MAX_FUNCTIONS, show_default=True)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def functions_command(pid: int | None, exe: str | None, pattern: str | None, limit: int, output: str) -> None:
    """List functions of a process's executable; PATTERN chooses by name."""
    target = target_of(pid, exe)
    with reported():
        settings = read_settings()
        reading = build_reading(settings)
        if exe is not None:
            file = real_path(exe)
        else:
            process = choose(reading.source, target)[0]
            refuse_denied(settings.host, process)
            file = process.file
        found = reading.binaries.functions(file, pattern, limit)
    if output == "json":
        click.echo(json.dumps(as_json(found), ensure_ascii=False, indent=2))
        return
    _table(found)
    if len(found) == limit:
        click.echo(f"only the first {limit} are shown: give a PATTERN or a higher --limit", err=True)
    elif not found:
        click.echo(f"no function matches {pattern!r}" if pattern else "no functions found", err=True)


def _table(found: tuple[FunctionSummary, ...]) -> None:
    table = table_of("function", "arguments", "results", "inlined", "file")
    for function in found:
        table.add_row(
            escape(function.name),
            escape(_signature(function.arguments)),
            escape(_signature(function.results)),
            str(function.inlined_copies or ""),
            escape(f"{function.file}:{function.line}") if function.file else "",
        )
    wide_console().print(table)


def _signature(values: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{name} {kind}".strip() for name, kind in values)
