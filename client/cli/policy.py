"""policy: who may do what in a tenant, administered as a file. Plan it, apply it, have a second person agree.

Exit status 5 says that an applied change waits for that second person.
"""

from __future__ import annotations

import sys
from typing import IO, Any

import click

from client.cli import proposals
from client.cli.context import Invocation, invocation, output_option
from client.cli.exits import Exit
from client.cli.output import Form, say, show, show_one
from client.cli.waiting import done_or_waits

_File = click.argument("file", type=click.File(encoding="utf-8"))
_VERSION = ("version", "state", "digest", "author", "decided_by")


@click.group()
def policy() -> None:
    """Who may do what."""


for _command in (proposals.proposals, proposals.proposal, proposals.approve, proposals.reject, proposals.withdraw):
    policy.add_command(_command)


@policy.command("can-i")
@click.argument("permission")
@click.argument("resource", default="*")
@output_option
@invocation
def can_i(call: Invocation, permission: str, resource: str) -> None:
    """Whether you may, by which rule; or what is missing and the smallest change. Status 3 when you may not."""
    found = call.api().can_i(permission, resource)
    show_one(_told(found) if call.form is Form.TABLE else found, call.form)
    if not found["allowed"]:
        sys.exit(Exit.DENIED)


@policy.command("who-can")
@click.argument("permission")
@click.argument("resource", default="*")
@output_option
@invocation
def who_can(call: Invocation, permission: str, resource: str) -> None:
    """The members who may, and by which rule."""
    show(call.api().who_can(permission, resource), call.form)


@policy.command()
@click.argument("subject")
@click.argument("permission")
@click.argument("resource", default="*")
@click.option("--group", "groups", multiple=True, help="A group of their issuer; else those they last came with.")
@output_option
@invocation
def explain(call: Invocation, subject: str, permission: str, resource: str, groups: tuple[str, ...]) -> None:
    """Why SUBJECT may or may not: the rules, what is missing, the smallest change."""
    found = call.api().policy_explain(subject, permission, resource, groups)
    show_one(_told(found) if call.form is Form.TABLE else found, call.form)


@policy.command("show")
@output_option
@invocation
def show_policy(call: Invocation) -> None:
    """The tenant's own policy that is in force."""
    found = call.api().policy()
    if call.form is Form.TABLE:
        print(found["source"], end="")
        say(f"version {found['version']} by {found['author']}, in force since {found['decided_at']}")
    else:
        show_one(found, call.form)


@policy.command()
@output_option
@invocation
def versions(call: Invocation) -> None:
    """All versions, the newest first."""
    columns = ("version", "state", "author", "created_at", "decided_by", "message", "digest")
    show(call.api().policy_versions(), call.form, columns)


@policy.command()
@_File
@output_option
@invocation
def plan(call: Invocation, file: IO[str]) -> None:
    """Who would gain and who would lose what, were FILE applied."""
    show_one(call.api().policy_plan(_read(file)), call.form)


@policy.command("lint")
@_File
@output_option
@invocation
def lint_policy(call: Invocation, file: IO[str]) -> None:
    """What is odd about FILE: unreachable, shadowed, duplicate rules. Status 1 when it could not be applied."""
    found = call.api().policy_plan(_read(file))
    show(found["findings"], call.form, ("serious", "rule", "text"))
    _fail_if(any(finding["serious"] for finding in found["findings"]))


@policy.command("test")
@_File
@output_option
@invocation
def test_policy(call: Invocation, file: IO[str]) -> None:
    """Run the tests that stand in FILE. Status 1 when one fails."""
    failed = call.api().policy_plan(_read(file))["failed_tests"]
    show([{"failed": text} for text in failed], call.form, ("failed",))
    _fail_if(bool(failed))


@policy.command()
@_File
@click.option("-m", "--message", default="", help="Why, for the one who agrees and for the log.")
@output_option
@invocation
def apply(call: Invocation, file: IO[str], message: str) -> None:
    """Put FILE into force, or propose it where a second person must agree."""
    done_or_waits(call, call.api().policy_apply(_read(file), message), _VERSION)


@policy.command()
@click.argument("version", type=int)
@output_option
@invocation
def rollback(call: Invocation, version: int) -> None:
    """Apply an old version's text again."""
    done_or_waits(call, call.api().policy_rollback(version), _VERSION)


@policy.command()
@_File
@output_option
@invocation
def simulate(call: Invocation, file: IO[str]) -> None:
    """The decisions in the log that FILE would have turned."""
    found = call.api().policy_simulate(_read(file))
    show(found["flips"], call.form, ("at", "actor", "permission", "name", "was", "would_be", "rule", "because"))
    say(f"{len(found['flips'])} of {found['decisions']} recorded decisions would come out otherwise")


def _told(answer: dict[str, Any]) -> dict[str, Any]:
    """For people: without what is empty."""
    return {key: value for key, value in answer.items() if value not in ("", [])}


def _read(file: IO[str]) -> str:
    try:
        return file.read()
    except UnicodeDecodeError as problem:
        raise click.UsageError(f"{file.name} is no text in UTF-8: {problem}") from problem


def _fail_if(bad: bool) -> None:
    if bad:
        sys.exit(Exit.ERROR)
