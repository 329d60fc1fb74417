"""`explain --dump`: the compiler's work after each pass, for whoever changes it or wonders about a program."""

from __future__ import annotations

from pprint import pformat

import click

from agents.compiler import predicate
from agents.compiler.asm import Text
from agents.compiler.disasm import lines
from agents.compiler.model import CannotCompile
from agents.compiler.service import bind_captures, plan_probe
from agents.stages.explaining import Explanation
from agents.stages.order import ProbeOrder


def dump(explanation: Explanation, order: ProbeOrder) -> None:
    """As far as it gets."""
    resolved = explanation.resolved
    if resolved is None:
        problem = explanation.problem
        click.echo(f"not resolved: {problem.detail if problem is not None else ''}")
        return
    request = order.request
    click.echo(_pass("request", request))
    click.echo(_pass("resolve: arguments", resolved.arguments))
    click.echo(_pass("resolve: results", resolved.results))
    try:
        click.echo(_pass("bind", bind_captures(resolved, request)))
        click.echo(_pass("predicate", predicate.read(request.where, resolved, request.at)))
        click.echo(_pass("plan", plan_probe(resolved, request)))
    except CannotCompile as error:
        click.echo(f"stopped here ({error.reason}): {error}")
        return
    for program in explanation.program.programs if explanation.program is not None else ():
        text = "\n".join(lines(Text(program.instructions, program.maps, ())))
        click.echo(f"== emit: {program.role} ==\n{text}\n")


def _pass(name: str, plan: object) -> str:
    return f"== {name} ==\n{pformat(plan, width=120)}\n"
