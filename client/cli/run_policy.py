"""run-policy show|set: what a tenant asks of every request beyond the platform: a stricter fleet guard, where dry runs are allowed."""

from __future__ import annotations

from typing import Any

import click

from client.cli.context import Invocation, invocation, output_option
from client.cli.output import show_one


@click.group("run-policy")
def run_policy() -> None:
    """What a request waits for in this tenant: the fleet guard, and dry runs."""


@run_policy.command("show")
@output_option
@invocation
def show_policy(call: Invocation) -> None:
    """What holds: the stricter of the platform's guard and the tenant's, and where reviewers may look at live calls."""
    show_one(call.api().run_policy(), call.form)


@run_policy.command("set")
@click.option("--processes", type=click.IntRange(min=0), help="Above so many a request needs more and goes in stages.")
@click.option("--approvals", type=click.IntRange(min=0), help="How many more people say yes then.")
@click.option("--soak", help="Between two stages, like 30s or 5m.")
@click.option("--platform-guard", is_flag=True, help="Give up the tenant's own guard: the platform's holds.")
@click.option("--dry-run", "environments", multiple=True, metavar="ENVIRONMENT", help="Allow dry runs in these only.")
@click.option("--no-dry-runs", is_flag=True, help="Allow them nowhere.")
@output_option
@invocation
def set_policy(
    call: Invocation,
    processes: int | None,
    approvals: int | None,
    soak: str | None,
    platform_guard: bool,
    environments: tuple[str, ...],
    no_dry_runs: bool,
) -> None:
    """Change what is named and keep the rest. Never laxer than the platform; a change in between is a conflict (6)."""
    given = {
        key: value
        for key, value in (("processes", processes), ("approvals", approvals), ("soak", soak))
        if value is not None
    }
    if platform_guard and given:
        raise click.UsageError("--platform-guard gives up the tenant's own guard: name no part of one beside it")
    if environments and no_dry_runs:
        raise click.UsageError("--no-dry-runs allows them nowhere: name no environment beside it")
    if not (given or platform_guard or environments or no_dry_runs):
        raise click.UsageError("name what is to change: --processes, --approvals, --soak, --dry-run, ...")
    api = call.api()
    found = api.run_policy()
    wanted: dict[str, Any] = {"dryRun": {"environments": found["dry_run_environments"]}}
    if environments or no_dry_runs:
        wanted["dryRun"] = {"environments": list(environments)}
    if given or (found["own_fleet_guard"] and not platform_guard):
        wanted["fleetGuard"] = found["fleet_guard"] | given
    show_one(api.put_run_policy(wanted, str(found["revision"])), call.form)
