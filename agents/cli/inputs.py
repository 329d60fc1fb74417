"""What `try`, `explain` and `functions` share: the template, its parameters, its masking, and the process that is meant."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

from agents.admission.model import MIN_HASH_KEY, HostPolicy, RefusalReason, Refused
from agents.cli.problems import Exit, Stop
from agents.stages.order import ProbeOrder, order_from_template
from language import front_end, parameters
from language.errors import TemplateError
from language.masking import Action
from language.masking_predicates import refuse_hidden_predicate
from language.masking_rules import BoundRule, RuleSet, Scope, bind, load_rules
from language.model import TargetSpec, Template

MAX_TEMPLATE: Final = 1 << 20  # bytes; a template is a page
PLATFORM_RULES: Final = Path(__file__).resolve().parents[2] / "policies" / "masking" / "platform.yaml"
UNMASKED: Final = "unmasked"


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--pid N | --exe PATH`."""
    command = click.option("--exe", metavar="PATH", help="an executable; all processes that run it")(command)
    return click.option("--pid", type=click.IntRange(min=1), metavar="N", help="one running process")(command)


def parameter_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("-p", "--parameter", "given", multiple=True, metavar="K=V", help="a template parameter")(
        command
    )


def read_template(path: str) -> Template:
    """A YAML template or a PxL script with one probe, from a file or, for `-`, from stdin."""
    try:
        if path == "-":
            raw = sys.stdin.buffer.read(MAX_TEMPLATE + 1)
        else:
            with Path(path).open("rb") as file:
                raw = file.read(MAX_TEMPLATE + 1)
    except OSError as error:
        raise Stop(Exit.BAD_TEMPLATE, "bad_template", f"{path} cannot be read: {error.strerror or error}") from error
    if len(raw) > MAX_TEMPLATE:
        raise TemplateError(f"{path} is bigger than {MAX_TEMPLATE} bytes, which no template is")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise TemplateError(f"{path} is not UTF-8 text: byte {error.start} is {raw[error.start]:#04x}") from error
    deployments = front_end.load(text).templates
    if len(deployments) != 1:
        raise TemplateError(f"{path} has {len(deployments)} probes, this command takes a script with one")
    deployed = deployments[0]
    return replace(deployed.template, table=deployed.table)


def target_of(pid: int | None, exe: str | None) -> TargetSpec:
    """The process that the command line names; it takes the place of the template's target."""
    if (pid is None) == (exe is None):
        came = "neither came" if pid is None else "both came"
        raise click.UsageError(f"say which process is meant: --pid N or --exe PATH ({came})")
    return TargetSpec(pids=(pid,)) if pid is not None else TargetSpec(exe=real_path(exe or ""))


def real_path(exe: str) -> str:
    if not Path(exe).exists():
        raise Stop(Exit.CANNOT_BIND, "no_file", f"there is no file {exe}: --exe takes the path of an executable")
    return os.path.realpath(exe)


@dataclass(frozen=True)
class Request:
    """A template with everything that the command line said about it."""

    template: Template
    rules: tuple[BoundRule, ...]
    order: ProbeOrder


def read_request(path: str, given: Sequence[str], target: TargetSpec, *, unmasked: bool = False) -> Request:
    """Raises TemplateError. Of the template's own target only the language still counts."""
    template = read_template(path)
    values = parameters.bind(template, dict(_pair(item) for item in given))
    packs = (load_rules(PLATFORM_RULES.read_text(), Scope.PLATFORM),)
    rules = _unmasked(template) if unmasked else _masked(template, packs)
    named = replace(target, language=template.target.language)
    order = order_from_template(template, values, named, rules, template.limits)
    return Request(template, rules, _with_throwaway_keys(order))


def refuse_denied_function(host: HostPolicy, template: Template) -> None:
    function = template.probe.function
    if pattern := host.denied_function(function):
        raise Refused(RefusalReason.DENIED_BY_HOST, f"this host denies functions like {pattern!r}: {function}")


def _masked(template: Template, packs: Sequence[RuleSet]) -> tuple[BoundRule, ...]:
    names = [parameter.name for parameter in template.parameters]
    rules = bind(template.probe.captures, template.masking, packs, names)
    refuse_hidden_predicate(template, rules, packs)
    return rules


def _unmasked(template: Template) -> tuple[BoundRule, ...]:
    return tuple(BoundRule(capture.column, Action.ALLOW, UNMASKED) for capture in template.probe.captures)


def _with_throwaway_keys(order: ProbeOrder) -> ProbeOrder:
    """A tenant's key is not on this host: tokens of one run compare with each other, and with nothing else."""
    key = secrets.token_bytes(MIN_HASH_KEY)
    return replace(order, rules=tuple(replace(rule, key=key, key_id="throwaway") for rule in order.rules))


def _pair(item: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not equals or not name:
        raise click.UsageError(f"-p takes name=value, such as -p minUnits=10, not {item!r}")
    return name, value
