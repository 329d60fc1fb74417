"""policy proposals, proposal, approve, reject, withdraw: changes that wait for a second person, of whatever kind."""

from __future__ import annotations

import click

from client.cli.context import Invocation, invocation, output_option
from client.cli.output import say, show
from client.cli.waiting import show_proposal

_COLUMNS = ("id", "kind", "resource", "state", "author", "created_at", "lapses_at", "decided_by")
_STATES = ("proposed", "applied", "rejected", "withdrawn", "lapsed", "stale")


@click.command()
@click.option("--state", type=click.Choice([*_STATES, "all"]), default="proposed", show_default=True)
@output_option
@invocation
def proposals(call: Invocation, state: str) -> None:
    """Changes that wait for a second person: policies, roles, approval rules, masking."""
    show(call.api().proposals("" if state == "all" else state), call.form, _COLUMNS)


@click.command()
@click.argument("proposal_id", metavar="PROPOSAL")
@output_option
@invocation
def proposal(call: Invocation, proposal_id: str) -> None:
    """What PROPOSAL would change, why a second person must agree, and who could."""
    found = call.api().proposal(proposal_id)
    show_proposal(call, found)
    if found["state"] == "proposed" and not found["who_can_agree"]:
        say(
            "nobody else in this tenant could agree to it: the operator seats a second administrator with\n"
            "  probegate-server member add TENANT SUBJECT tenant-admin"
        )


@click.command()
@click.argument("proposal_id", metavar="PROPOSAL")
@click.option("--digest", required=True, help="Of the proposal, as `policy proposal` shows it: what you agree to.")
@output_option
@invocation
def approve(call: Invocation, proposal_id: str, digest: str) -> None:
    """Agree to somebody else's proposal: it is done."""
    show_proposal(call, call.api().proposal_approve(proposal_id, digest))


@click.command()
@click.argument("proposal_id", metavar="PROPOSAL")
@click.option("-m", "--message", required=True, help="Why, for its author and for the log.")
@output_option
@invocation
def reject(call: Invocation, proposal_id: str, message: str) -> None:
    """Refuse somebody else's proposal."""
    show_proposal(call, call.api().proposal_reject(proposal_id, message))


@click.command()
@click.argument("proposal_id", metavar="PROPOSAL")
@output_option
@invocation
def withdraw(call: Invocation, proposal_id: str) -> None:
    """Take back a proposal of your own."""
    show_proposal(call, call.api().proposal_withdraw(proposal_id))
