"""query, tables, export: rows that were delivered."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from client.cli.context import Invocation, invocation, output_option
from client.cli.live import accounting_line
from client.cli.output import names, say, show


@click.command()
@click.argument("table")
@click.option("-n", "--last", default=20, show_default=True, help="The newest rows, at most this many.")
@click.option("--tracepoint", default="", help="Only the rows of this tracepoint (its id).")
@output_option
@invocation
def query(call: Invocation, table: str, last: int, tracepoint: str) -> None:
    """The newest rows of a table, and the accounting of all its hits."""
    found = call.api().rows(table, last, tracepoint)
    rows = found["rows"]
    show(rows, call.form, [name for name in names(rows) if name[0] != "_" and name not in {"tid", "goid"}])
    say(f"{len(rows)} row(s); {accounting_line(found['accounting'])}")


@click.command()
@output_option
@invocation
def tables(call: Invocation) -> None:
    """The tables of the tenant."""
    show(call.api().tables(), call.form)


@click.command()
@click.argument("table")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option(
    "--format", "form", type=click.Choice(["csv", "jsonl", "parquet", "arrow"]), default="jsonl", show_default=True
)
@invocation
def export(call: Invocation, table: str, file: str, form: str) -> None:
    """Write a whole table to FILE (- is standard output)."""
    if file == "-":
        for piece in call.api().export(table, form):
            sys.stdout.buffer.write(piece)
        return
    with Path(file).open("wb") as out:
        size = sum(out.write(piece) for piece in call.api().export(table, form))
    say(f"{size} bytes in {file}")
