"""`probegate-agent explain`: whether a template binds to an executable and why not, without arming anything.

Needs no root for a file that may be read. Exit status 3 when it does not bind; with -o json the answer is on stdout in
either case.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import click
from rich.markup import escape

from agents.admission.model import HostPolicy
from agents.bootstrap import Reading, build_reading, compile_any
from agents.cli.inputs import (
    Request,
    parameter_option,
    read_request,
    real_path,
    refuse_denied_function,
    target_of,
    target_options,
)
from agents.cli.output import table_of, wide_console
from agents.cli.problems import Exit, Stop, reported
from agents.compiler.model import CannotCompile
from agents.compiler.service import dump
from agents.processes.model import NoProcess, Process
from agents.processes.service import choose
from agents.runtime.calibration import TrapCosts
from agents.settings import read_settings
from agents.stages.binding import refuse_denied
from agents.stages.explaining import ExplainedCapture, ExplainedSite, Explanation, explain, microseconds_per_call
from language.masking_rules import BoundRule
from language.model import TargetSpec


@dataclass(frozen=True)
class _Answer:
    request: Request
    file: str
    processes: tuple[Process, ...]
    explanation: Explanation


@click.command("explain")
@click.argument("template")
@target_options
@parameter_option
@click.option("--dump", "dumped", is_flag=True, help="print the plan after each pass, and the program")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def explain_command(
    context: click.Context,
    template: str,
    pid: int | None,
    exe: str | None,
    given: tuple[str, ...],
    dumped: bool,
    output: str,
) -> None:
    """Say what TEMPLATE (YAML, PxL or -) would do in a process or an executable."""
    try:
        with reported():
            answer = _answer(template, pid, exe, given)
    except Stop as stop:
        if output == "json":
            document = {"binds": False, "reason": stop.reason, "detail": stop.message, **stop.details}
            click.echo(json.dumps(document, ensure_ascii=False, indent=2))
        raise
    if dumped:
        _dump(answer)
    elif output == "json":
        click.echo(json.dumps(_document(answer), ensure_ascii=False, indent=2))
    else:
        _text(answer)
    if not answer.explanation.binds:
        context.exit(Exit.CANNOT_BIND)


def _answer(template: str, pid: int | None, exe: str | None, given: tuple[str, ...]) -> _Answer:
    target = target_of(pid, exe)
    settings = read_settings()
    request = read_request(template, given, target)
    refuse_denied_function(settings.host, request.template)
    reading = build_reading(settings)
    file, processes = _file(reading, settings.host, request.order.target, exe)
    return _Answer(request, file, processes, explain(request.order, file, reading.binaries, compile_any))


def _file(reading: Reading, host: HostPolicy, target: TargetSpec, exe: str | None) -> tuple[str, tuple[Process, ...]]:
    """The file to look at and the processes that run it: with --exe there may be none."""
    try:
        processes = choose(reading.source, target)
    except NoProcess:
        if exe is None:
            raise
        processes = ()
    for process in processes:
        refuse_denied(host, process)
    return (real_path(exe) if exe is not None else processes[0].file), processes


def _document(answer: _Answer) -> dict[str, Any]:
    explanation, order = answer.explanation, answer.request.order
    resolved, program, problem = explanation.resolved, explanation.program, explanation.problem
    rules = {rule.column: rule for rule in answer.request.rules}
    document: dict[str, Any] = {"binds": explanation.binds}
    if problem is not None:
        document |= {"reason": problem.reason, "detail": problem.detail}
        document |= {"column": problem.column} if problem.column else {}
    document |= {
        "function": resolved.function if resolved is not None else order.function,
        "at": order.request.at.value,
        "binary": answer.file,
        "processes": [{"pid": process.pid, "service": process.service} for process in answer.processes],
    }
    if resolved is not None:
        document |= {
            "build_id": resolved.binary.build_id,
            "language": resolved.language.value,
            "file": resolved.file,
            "line": resolved.line,
            "notes": list(resolved.notes),
        }
    document["sites"] = [_site(site) for site in explanation.sites]
    document["captures"] = [_capture(capture, rules[capture.column]) for capture in explanation.captures]
    bound = {capture.column for capture in order.request.captures}
    document["captures"] += [
        {
            "column": capture.column,
            "expression": capture.expression,
            "type": None,
            "readable": False,
            "reason": "dropped",
            "masking": _rule(rules[capture.column]),
        }
        for capture in answer.request.template.probe.captures
        if capture.column not in bound and resolved is not None
    ]
    if program is not None:
        document["forecast"] = {
            "sites": sum(len(one.sites) for one in program.programs),
            "processes": len(answer.processes),
            "record_bytes": program.layout.record_size,
            "microseconds_per_call": microseconds_per_call(program, TrapCosts()),
            "max_events_per_second": order.limits.max_events_per_second,
            "trap_classes": sorted({site.site.trap_class.value for site in explanation.sites if site.probed}),
        }
    return document


def _site(explained: ExplainedSite) -> dict[str, Any]:
    site = explained.site
    return {
        "address": site.address,
        "offset": site.offset,
        "role": explained.role.value,
        "trap_class": site.trap_class.value,
        "instruction": site.instruction,
        "inlined": site.inlined,
        "probed": explained.probed,
        "line": site.line,
    }


def _capture(capture: ExplainedCapture, rule: BoundRule) -> dict[str, Any]:
    document: dict[str, Any] = {
        "column": capture.column,
        "expression": capture.expression,
        "type": capture.type,
        "readable": capture.readable,
    }
    if not capture.readable:
        document |= {"reason": capture.reason, "detail": capture.detail}
    if capture.absent_parts:
        document["absent_parts"] = {path: absent.reason.value for path, absent in capture.absent_parts}
    return document | {"masking": _rule(rule)}


def _rule(rule: BoundRule) -> dict[str, Any]:
    return {"action": str(rule.treatment), "rule": rule.rule}


def _dump(answer: _Answer) -> None:
    """The compiler's work after each pass, as far as it gets."""
    resolved = answer.explanation.resolved
    try:
        for line in dump(resolved, answer.request.order.request) if resolved is not None else ():
            click.echo(line)
    except CannotCompile as error:
        click.echo(f"stopped here ({error.reason}): {error}", err=True)


def _text(answer: _Answer) -> None:
    document = _document(answer)
    console = wide_console()
    place = f" ({document['file']}:{document['line']})" if document.get("file") else ""
    console.print(f"{document['function']}{place}, at {document['at']}", markup=False)
    console.print(f"in {document['binary']}, run by {len(answer.processes)} processes here", markup=False)
    if not document["binds"]:
        column = f" in column {document['column']!r}" if document.get("column") else ""
        console.print(
            f"does not bind{column} ({document['reason']}): {document['detail']}", markup=False, soft_wrap=True
        )
    sites = table_of("address", "offset", "role", "instruction", "trap", "line", "")
    for site in document["sites"]:
        why = "" if site["probed"] else ("inlined, not probed" if site["inlined"] else "not probed")
        cells = (f"{site['address']:#x}", f"{site['offset']:#x}", site["role"], site["instruction"], site["trap_class"])
        sites.add_row(*map(escape, cells), str(site["line"] or ""), why)
    captures = table_of("column", "expression", "type", "readable", "masking")
    for capture in document["captures"]:
        readable = "yes" if capture["readable"] else f"no: {capture['reason']} {capture.get('detail', '')}".rstrip()
        if parts := capture.get("absent_parts"):
            readable += ", but " + ", ".join(f"{path}: {reason}" for path, reason in parts.items())
        masking = f"{capture['masking']['action']} ({capture['masking']['rule']})"
        cells = (capture["column"], capture["expression"], capture["type"] or "", readable, masking)
        captures.add_row(*map(escape, cells))
    for table in (sites, captures):
        if table.row_count:
            console.print()
            console.print(table)
    if "forecast" in document:
        forecast = document["forecast"]
        console.print(
            f"\nforecast: {forecast['sites']} sites in {forecast['processes']} processes, {forecast['record_bytes']} bytes"
            f" a record, about {forecast['microseconds_per_call']:g} us of traps a call"
        )
    for note in document.get("notes", ()):
        console.print(f"note: {note}", markup=False)
