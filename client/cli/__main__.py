"""probegate: ask running programs what they do, as far as your organisation lets you.

Data goes to stdout, talk to stderr. Exit status: 0; 1 error; 2 usage; 3 denied; 4 not signed in; 5 waiting for
approval; 6 conflict; 7 verification failed.
"""

from __future__ import annotations

import click

from client.cli import (
    audit,
    governance,
    locks,
    masking,
    members,
    notices,
    policy,
    programs,
    records,
    run,
    run_policy,
    session,
    templates,
    tenant,
    tracepoints,
)
from client.cli.context import Invocation, ends_with_exit_code, invocation, output_option


@click.group(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--tenant", default="", envvar="PROBEGATE_TENANT", help="The tenant to work in (default: that of `ctx`).")
@output_option
@click.version_option(package_name="probegate")
@invocation
def cli(call: Invocation, tenant: str) -> None:
    call.tenant = tenant


for command in (
    session.login,
    session.logout,
    session.whoami,
    session.ctx,
    templates.template,
    run.run,
    tracepoints.tracepoint,
    notices.notices,
    records.query,
    records.tables,
    records.export,
    governance.functions,
    policy.policy,
    run_policy.run_policy,
    masking.masking,
    governance.agent,
    tenant.tenant,
    members.member,
    programs.service_account,
    programs.trust_rule,
    programs.token,
    locks.lock,
    audit.audit,
):
    cli.add_command(command)


@ends_with_exit_code
def main() -> None:
    cli()


if __name__ == "__main__":
    main()
