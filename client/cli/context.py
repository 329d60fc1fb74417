"""What every command shares: the global options, the signed-in Api, and errors turned into exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import click

from client.cli.exits import Exit, code_of
from client.cli.output import Form, say
from client.sdk import Api, ApiError, ClientError, Credentials

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Invocation:
    """One call of the command: the options before the sub-command."""

    tenant: str = ""
    form: Form = Form.TABLE
    verbose: bool = False

    def api(self) -> Api:
        return Api(Credentials.load(), self.tenant)


invocation = click.make_pass_decorator(Invocation, ensure=True)


def output_option(command: F) -> F:
    """`-o`, wherever a person types it: before or after the sub-command."""

    def chosen(context: click.Context, _: click.Parameter, value: str | None) -> None:
        if value:
            context.ensure_object(Invocation).form = Form(value)

    return click.option(
        "-o",
        "--output",
        type=click.Choice([form.value for form in Form]),
        callback=chosen,
        expose_value=False,
        help="How to print data: table, json, jsonl, yaml or csv.",
    )(command)


def ends_with_exit_code(run: Callable[[], Any]) -> Callable[[], None]:
    """Run the whole command line; every ClientError becomes one line on stderr and its exit code."""

    @wraps(run)
    def main() -> None:
        try:
            run()
        except ClientError as problem:
            say(f"probegate: {problem}")
            if isinstance(problem, ApiError):
                _say_more(problem)
            sys.exit(code_of(problem))
        except BrokenPipeError:
            sys.exit(Exit.OK)  # the reader (head, less) has seen enough

    return main


def _say_more(problem: ApiError) -> None:
    """What the problem carries beyond its sentence: where, and what to do."""
    for key, value in problem.extra.items():
        if key == "errors" and isinstance(value, list):
            for error in value:
                say(f"  {error}")
        elif key != "request_id":
            say(f"  {key.replace('_', ' ')}: {value}")
