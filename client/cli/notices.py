"""notices: what every member is to know. The open ones are also said, on stderr, by the commands that look around."""

from __future__ import annotations

import click

from client.cli.context import Invocation, invocation, output_option
from client.cli.output import Form, say, show
from client.sdk import Api, ApiError

COLUMNS = ("at", "kind", "text", "closed_at")
MAX_SAID = 3  # unasked; the rest is counted


@click.command()
@click.option("--open", "still_open", is_flag=True, help="Only those that nobody has dealt with.")
@output_option
@invocation
def notices(call: Invocation, still_open: bool) -> None:
    """What every member of the tenant is to know: broken glasses, roll-outs that were stopped."""
    show(call.api().notices(still_open=still_open), call.form, COLUMNS)


def say_open_notices(call: Invocation, api: Api) -> None:
    """A banner for people; programs ask for them."""
    if call.form is not Form.TABLE:
        return
    try:
        found = api.notices(still_open=True)
    except ApiError:
        return  # the banner is not what was asked for
    for notice in found[:MAX_SAID]:
        say(f"NOTICE {notice['at'][:16]} {notice['text']}")
    if len(found) > MAX_SAID:
        say(f"and {len(found) - MAX_SAID} more: probegate notices --open")
