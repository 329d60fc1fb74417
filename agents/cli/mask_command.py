"""`probegate-agent mask`: rows with values -> the same rows with what masking would show of them, and where it hid what.

Reads `{"value": .., "path": ..?, "type": ..?}` a line; writes each with `"masked"` and `"spans": [[start, end, kind,
action], ..]`, in characters of the input. With --explain the rule that decided, and `"near": [[start, end, why, kinds],
..]`: what was nearly hidden. Needs no probe and no root: for authors of rules, for tests, and for a privacy officer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

import click

from agents.cli.inputs import PLATFORM_RULES
from agents.cli.problems import Exit, Stop, reported
from agents.masking.samples import near
from agents.masking.service import Explained, explain_value
from language.masking import Action, Treatment
from language.masking_fields import Reference
from language.masking_model import Kind, RuleSet, Scope
from language.masking_rules import decide, load_rules, type_matches

MAX_LINE: Final = 1 << 20  # characters: far above what a capture holds


@click.command("mask")
@click.argument("file")
@click.option("--pack", metavar="P", help="a rule file (MaskingRules) that holds besides the platform's")
@click.option("--explain", is_flag=True, help="say for each row which rule decided, and what was nearly hidden")
def mask_command(file: str, pack: str | None, explain: bool) -> None:
    """Show what masking does to the rows of FILE (JSON lines, or - for stdin)."""
    with reported():
        packs = [load_rules(PLATFORM_RULES.read_text(), Scope.PLATFORM)]
        if pack is not None:
            packs.append(load_rules(_text(pack), Scope.TENANT))
        with _opened(file) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    sys.stdout.write(
                        json.dumps(_masked(_row(line, number), packs, explain=explain), ensure_ascii=False)
                    )
                    sys.stdout.write("\n")


def _masked(row: dict[str, Any], packs: list[RuleSet], *, explain: bool) -> dict[str, Any]:
    path, type_name = str(row.get("path") or ""), str(row.get("type") or "")
    patterns = tuple(each for pack in packs for each in pack.patterns)
    treatment, rule = _decision(row["value"], path, type_name, packs)
    shown: Explained = explain_value(row["value"], treatment, (path, type_name), patterns)
    said: dict[str, Any] = {"rule": rule, "action": str(treatment)} if explain else {}
    if explain:
        missed = near(row["value"], treatment.action, (path, type_name), shown.spans, patterns)
        said |= {"near": [[one.start, one.end, str(one.why), list(one.kinds)] for one in missed]}
    return {**row, "masked": shown.masked, "spans": [list(span) for span in shown.spans], **said}


def _decision(value: Any, path: str, type_name: str, packs: list[RuleSet]) -> tuple[Treatment, str]:
    """The strictest of the rules by type, by name and by kind; the first of equally strict ones."""
    found: list[tuple[Treatment, str]] = []
    named = decide(Reference(tuple(path.split("."))), packs) if path else None
    if named is not None:
        found.append((named.treatment, named.rule))
    kind = _kind(value)
    for pack in packs:
        found += [
            (rule.treatment, pack.label(rule.name))
            for rule in pack.rules
            if rule.type and type_name and type_matches(rule.type, type_name)
        ]
        if kind in pack.defaults:
            found.append((Treatment(pack.defaults[kind]), pack.label(f"default.{kind}")))
    return max(found, key=lambda one: one[0].strictness, default=(Treatment(Action.REDACT), "none"))


def _kind(value: Any) -> Kind:
    if isinstance(value, bool):
        return Kind.BOOLEAN
    if isinstance(value, int):
        return Kind.INTEGER
    return Kind.FLOAT if isinstance(value, float) else Kind.STRING


def _row(line: str, number: int) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise Stop(Exit.BAD_TEMPLATE, "bad_row", f"line {number} has more than {MAX_LINE} characters")
    try:
        row = json.loads(line)
    except ValueError as error:
        raise Stop(Exit.BAD_TEMPLATE, "bad_row", f"line {number} is not JSON: {error}") from error
    if not isinstance(row, dict) or "value" not in row:
        raise Stop(
            Exit.BAD_TEMPLATE, "bad_row", f'line {number}: expected an object like {{"value": "..", "path": ".."}}'
        )
    return row


@contextmanager
def _opened(file: str) -> Iterator[TextIO]:
    if file == "-":
        yield sys.stdin
        return
    try:
        opened = Path(file).open(encoding="utf-8")  # noqa: SIM115 -- closed below
    except OSError as error:
        raise Stop(Exit.BAD_TEMPLATE, "no_file", f"{file} cannot be read: {error.strerror or error}") from error
    with opened:
        yield opened


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(Exit.BAD_TEMPLATE, "no_file", f"{path} cannot be read: {error}") from error
