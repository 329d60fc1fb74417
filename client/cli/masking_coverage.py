"""masking coverage: what was captured, what masking did to it, what is always shown, which rules never decide.

For a privacy officer: counts of a period, no captured value.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from client.cli.context import Invocation, invocation, output_option
from client.cli.output import Form, say, show, show_one
from language import durations
from language.errors import TemplateError

FIELDS = ("template", "table", "column", "type", "rows", "in_clear", "unscanned", "shown", "rules")
RULES = ("rule", "action", "firing", "in_force_since")


@click.command()
@click.option("--since", "back", default="30d", show_default=True, help="How far back: 90m, 24h, 30d; at most 365d.")
@output_option
@invocation
def coverage(call: Invocation, back: str) -> None:
    """Every captured field with what each rule did to it, fields that always stay in clear, rules that never fired.

    A rule's count is "hidden of values looked at". Tracepoints that ran at any time in the period count as a whole.
    """
    since = _ago(back)
    fields, rules = call.api().masking_coverage(since), call.api().masking_coverage_rules(since)
    match call.form:
        case Form.TABLE:
            print_coverage(fields, rules)
        case Form.CSV:
            show([_flat(field) for field in fields], call.form, FIELDS)
        case _:
            show_one({"since": since, "fields": fields, "rules": rules}, call.form)


def print_coverage(fields: Sequence[dict[str, Any]], rules: Sequence[dict[str, Any]]) -> None:
    if not fields:
        say("nothing was captured in this time")
    show([_flat(field) for field in fields], Form.TABLE, FIELDS)
    clear = [
        f"{field['table']}.{field['column']} ({field['template']})" for field in fields if field["shown"] == "always"
    ]
    print("\nalways in clear:", ", ".join(clear) or "no field")
    idle = [rule for rule in rules if rule["firing"] != "fired"]
    print(f"\n{len(idle)} of {len(rules)} rules never fired (unseen: a part that is never read leaves no count):")
    show(idle, Form.TABLE, RULES)


def _flat(field: dict[str, Any]) -> dict[str, Any]:
    did = [f"{line['rule']} {line['action']} {line['hidden']} of {line['values']}" for line in field["rules"]]
    if field["more_rules"]:
        did.append(f"and {field['more_rules']} more")
    return {**field, "type": field["type"] or "-", "rules": "; ".join(did)}


def _ago(text: str) -> str:
    try:
        back = durations.parse(text)
    except TemplateError as problem:
        raise click.UsageError(f"--since: {problem}") from problem
    return (datetime.now(UTC) - back).isoformat()
