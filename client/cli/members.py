"""member: who holds which role in the tenant, and which logins are one person.

Exit status 5 says that the change waits for a second person.
"""

from __future__ import annotations

import click

from client.cli.context import Invocation, invocation, output_option
from client.cli.output import say, show, show_one
from client.cli.waiting import done_or_waits

_SUBJECT = click.argument("subject")


@click.group()
def member() -> None:
    """Who holds which role in the tenant."""


@member.command("ls")
@output_option
@invocation
def list_members(call: Invocation) -> None:
    """The members and their roles."""
    show(call.api().members(), call.form)


@member.command("set")
@_SUBJECT
@click.argument("roles", nargs=-1, required=True, metavar="ROLE...")
@output_option
@invocation
def set_roles(call: Invocation, subject: str, roles: tuple[str, ...]) -> None:
    """Give SUBJECT (a user's name or "<issuer>|<sub>") exactly these roles.

    A second person agrees where a reviewer, an administrator, an auditor or a responder comes or goes, and where you
    would hold more than before.
    """
    done_or_waits(call, call.api().set_member(subject, roles))


@member.command("rm")
@_SUBJECT
@output_option
@invocation
def remove(call: Invocation, subject: str) -> None:
    """Take all roles of SUBJECT away. To stop somebody at once: `probegate lock`."""
    answer = call.api().remove_member(subject)
    if answer:
        done_or_waits(call, answer)
    say(f"{subject} is not a member any more")


@member.command("link")
@_SUBJECT
@click.argument("person")
@output_option
@invocation
def link(call: Invocation, subject: str, person: str) -> None:
    """Say that SUBJECT is another login of PERSON, or a service account of theirs. It is not taken back."""
    show_one(call.api().link_person(subject, person), call.form)


@member.command("links")
@output_option
@invocation
def links(call: Invocation) -> None:
    """Which logins are one person."""
    show(call.api().person_links(), call.form)
