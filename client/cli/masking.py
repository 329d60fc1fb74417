"""masking: what is hidden before it leaves a host, and how that is changed.

Rules and exceptions are read from YAML or JSON files, as the API has them. Exit status 5 says that the change waits for
a second person.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import yaml

from client.cli.context import Invocation, invocation, output_option
from client.cli.exits import Exit
from client.cli.masking_coverage import coverage
from client.cli.masking_rows import show_samples
from client.cli.output import Form, say, show, show_one
from client.cli.waiting import done_or_waits, is_waiting

_FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))


@click.group()
def masking() -> None:
    """What is hidden before it leaves a host."""


masking.add_command(coverage)


@masking.group(invoke_without_command=True)
@click.option("--platform", is_flag=True, help="The platform's own instead, which hold for every tenant.")
@output_option
@click.pass_context
@invocation
def rules(call: Invocation, context: click.Context, platform: bool) -> None:
    """The masking rules of the tenant; `rules set|apply|rm` change them."""
    if context.invoked_subcommand is None:
        show(call.api().platform_masking_rules() if platform else call.api().masking_rules(), call.form)


@rules.command("set")
@click.argument("name")
@_FILE
@output_option
@invocation
def set_rule(call: Invocation, name: str, file: str) -> None:
    """Make FILE the rule NAME: words, path or type, action, cases. A rule that hides less waits for a second person."""
    done_or_waits(call, call.api().put_masking_rule(name, _document(file)))


@rules.command("apply")
@_FILE
@output_option
@invocation
def apply_pack(call: Invocation, file: str) -> None:
    """Make every rule of FILE, a pack such as policies/masking/packs/pci.yaml, a rule of the tenant."""
    spec = _document(file).get("spec")
    listed = spec.get("rules") if isinstance(spec, dict) else None
    if not isinstance(listed, list) or not all(isinstance(rule, dict) and "name" in rule for rule in listed):
        raise click.ClickException(f"{file}: expected a MaskingRules file with spec.rules")
    answers = []
    for rule in listed:
        answers.append(call.api().put_masking_rule(str(rule["name"]), {k: v for k, v in rule.items() if k != "name"}))
    waits = [answer for answer in answers if is_waiting(answer)]
    show(
        [{key: answer[key] for key in ("name", "action", "revision")} for answer in answers if answer not in waits],
        call.form,
    )
    for answer in waits:
        say(f"waits for a second person: probegate policy approve {answer['id']} --digest {answer['digest']}")
    if waits:
        sys.exit(Exit.WAITING_FOR_APPROVAL)


@rules.command("rm")
@click.argument("name")
@output_option
@invocation
def remove_rule(call: Invocation, name: str) -> None:
    """Remove the rule NAME, once a second person agrees."""
    if answer := call.api().remove_masking_rule(name):
        done_or_waits(call, answer)
    say(f"the rule {name} is gone")


@masking.command()
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True), required=False)
@output_option
@invocation
def diff(call: Invocation, name: str, file: str | None) -> None:
    """Which fields of approved templates FILE as the rule NAME would hide less or more; without FILE: its removal."""
    found = call.api().masking_diff(name, _document(file) if file else None)
    if call.form is not Form.TABLE:
        show_one(found, call.form)
        return
    for line in found["summary"]:
        print(line)
    for need in found["needs"]:
        say(f"a second person must agree: {need}")


@masking.command()
@_FILE
@click.option(
    "--rows", type=click.Path(exists=True, dir_okay=False, allow_dash=True), help="JSON lines: column -> value."
)
@output_option
@invocation
def preview(call: Invocation, file: str, rows: str | None) -> None:
    """What masking would do to each column of the templates in FILE (YAML or PxL), and by which rule.

    With --rows: what would be shown of each field of these rows, and what was nearly hidden and why not. A connected agent
    masks them; they are kept nowhere. `probegate-agent mask` does it without any agent or server.
    """
    if rows is not None:
        show_samples(call, _text(file), _text(rows))
        return
    for found in call.api().masking_preview(_text(file)):
        if found["refusal"]:
            say(f"{found['template']}: refused: {found['refusal']}")
        if call.form is not Form.TABLE:
            show_one(found, call.form)
            continue
        show([{key: column[key] for key in ("column", "action", "rule")} for column in found["columns"]], call.form)


@masking.group(invoke_without_command=True)
@output_option
@click.pass_context
@invocation
def exceptions(call: Invocation, context: click.Context) -> None:
    """What two people agreed to show, until when and why; `exceptions set` and `exceptions rm` change them."""
    if context.invoked_subcommand is None:
        show(call.api().masking_exceptions(), call.form)


@exceptions.command("set")
@click.argument("name")
@click.option("--template", required=True)
@click.option("--field", required=True, help="As the template captures it: o.Email.")
@click.option("--service", default="", help="Only where the template means this service.")
@click.option("--action", required=True, help="What holds instead: allow, detect, partial(0,4), ...")
@click.option("--reason", required=True)
@click.option("--expires", required=True, help="A moment with its zone: 2027-01-31T00:00:00Z; at most 90 days away.")
@output_option
@invocation
def set_exception(call: Invocation, /, name: str, **document: str) -> None:
    """Ask for the exception NAME; a second person must agree."""
    done_or_waits(call, call.api().put_masking_exception(name, document))


@exceptions.command("rm")
@click.argument("name")
@output_option
@invocation
def remove_exception(call: Invocation, name: str) -> None:
    """Let the rules hold again, at once."""
    if answer := call.api().remove_masking_exception(name):
        done_or_waits(call, answer)
    say(f"the exception {name} is gone")


@masking.command()
@output_option
@invocation
def keys(call: Invocation) -> None:
    """The epochs of the tenant's key: the id stands in every token."""
    show(call.api().masking_keys(), call.form)


@masking.command()
@output_option
@invocation
def canaries(call: Invocation) -> None:
    """Cards that agents plant in front of masking once a minute, and that came out hidden; by agent.

    One that comes out in clear stops everything of the tenant and stands in `probegate notices`.
    """
    show(call.api().masking_canaries(), call.form)


@masking.command("rotate-key")
@click.option("-m", "--message", default="", help="For whoever agrees.")
@output_option
@invocation
def rotate_key(call: Invocation, message: str) -> None:
    """Begin a new epoch, once a second person agrees: tokens join no more with those from before."""
    done_or_waits(call, call.api().rotate_masking_key(message))


def _document(file: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(_text(file))
    except yaml.YAMLError as error:
        raise click.ClickException(f"{file} is not YAML: {error}") from error
    if not isinstance(found, dict):
        raise click.ClickException(f"{file}: expected an object with words, path or type, and an action")
    return found


def _text(file: str) -> str:
    return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
