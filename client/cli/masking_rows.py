"""masking preview --rows: sample rows through a template's masking, field by field."""

from __future__ import annotations

import json
from typing import Any

import click

from client.cli.context import Invocation
from client.cli.output import Form, show


def show_samples(call: Invocation, source: str, lines: str) -> None:
    """`lines` is JSON lines, or one JSON list of rows."""
    found = call.api().masking_preview_rows(source, _rows(lines))
    show(found if call.form is not Form.TABLE else [_line(field) for field in found], call.form)


def _rows(text: str) -> list[dict[str, Any]]:
    try:
        if text.lstrip().startswith("["):
            rows = json.loads(text)
        else:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise click.ClickException(f"the rows are not JSON: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise click.ClickException('expected rows like {"currency": "EUR"}, one on a line')
    return rows


def _line(field: dict[str, Any]) -> dict[str, Any]:
    near = "; ".join(
        f"{one['start']}-{one['end']} {one['why']}: {', '.join(one['kinds'][:3])}" for one in field["near"]
    )
    name = ".".join(part for part in (field["column"], field["path"]) if part)
    return {"row": field["row"], "field": name, "shown": field["shown"], "rule": field["rule"], "nearly": near}
