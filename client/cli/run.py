"""run FILE: submit or find the approved version, ask for the tracepoint, stream its table, stop at Ctrl-C.

A script may ask for several tracepoints and show several tables; they are taken in the order of the script.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from client.cli.context import Invocation, invocation, output_option
from client.cli.displays import Display
from client.cli.exits import Exit
from client.cli.live import LivePrinter, say_accounting
from client.cli.output import say
from client.cli.templates import read_source, waits_for_approval
from client.cli.tracepoints import how_to_decide
from client.sdk import Api, ClientError
from language import durations
from language.errors import TemplateError

ARM_SECONDS: Final = 15.0  # a first look at a large binary takes seconds; longer means nobody has it
LOOK_SECONDS: Final = 0.1  # between two looks at the agents' states
ENDED: Final = {"ended", "failed", "refused", "stopped"}


@click.command()
@click.argument("source", metavar="FILE.pxl|FILE.yaml|TEMPLATE|-")
@click.option(
    "-p", "--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the template."
)
@click.option("--service", default="", help="Narrow the target to this service.")
@click.option("--pid", "pids", multiple=True, type=int, help="Narrow the target to this process (repeat for several).")
@click.option("--ttl", default="", help="How long at most, for example 5m (default: what the template or script says).")
@click.option("--name", default="", help="A name for the tracepoint (default: the script's, else the template's).")
@click.option("--rows", default=0, help="Stop after this many rows.")
@click.option("--keep", is_flag=True, help="Leave it running when this command ends; its TTL ends it.")
@click.option("-m", "--message", default="", help="For the reviewer, when the template is submitted now.")
@click.option("--at", "start", default="", help="Start later: a time with its zone, or a duration from now (30m).")
@click.option("--break-glass", "glass", is_flag=True, help="Without anybody's yes to the request; everybody is told.")
@click.option("--reason", default="", help="Why the glass is broken.")
@click.option("--ticket", default="", help="The incident's ticket.")
@output_option
@invocation
def run(
    call: Invocation,
    source: str,
    parameters: Sequence[str],
    service: str,
    pids: Sequence[int],
    ttl: str,
    name: str,
    rows: int,
    keep: bool,
    message: str,
    start: str,
    glass: bool,
    reason: str,
    ticket: str,
) -> None:
    """Trace by a script, a template file, or the name of an approved template.

    Exit status 5: the template, or this request for it, waits for somebody's yes.
    """
    if glass and not (reason and ticket):
        raise click.UsageError("--break-glass needs --reason and --ticket: everybody is told why")
    starts_at = _moment(start) if start else ""
    api = call.api()
    target: dict[str, Any] = ({"service": service} if service else {}) | ({"pids": list(pids)} if pids else {})
    given = _pairs(parameters)
    wanted = _wanted(api, source, message)
    for gone in wanted.get("deletions", []):
        api.stop(gone)
        say(f"stopped {gone}")
    running: list[dict[str, Any]] = []
    for deployment in wanted["deployments"]:
        request = {
            "name": name or deployment["name"],
            "template": deployment["template"],
            "digest": deployment.get("digest"),
            "parameters": given,
            "target": deployment.get("target", {}) | target,
            "ttl": ttl or deployment.get("ttl"),
            "starts_at": starts_at,
        }
        body = {key: value for key, value in request.items() if value}
        running.append(api.break_glass(body, reason, ticket) if glass else api.request_tracepoint(body))
    _end_if_waiting(running)
    for tracepoint in running:
        _follow(call, api, tracepoint, rows, keep=keep, displays=wanted.get("displays", []))


def _wanted(api: Api, source: str, message: str) -> Mapping[str, Any]:
    """What to deploy. A file is submitted first, which changes nothing when the same text stands there already."""
    if source != "-" and not Path(source).exists():
        if "/" in source or source.endswith((".pxl", ".yaml", ".yml")):
            raise ClientError(f"there is no file {source}")
        return {"deployments": [{"name": source, "template": source}]}
    submitted = api.submit(read_source(source), message=message)
    versions = {found["name"]: found for found in submitted["templates"]}
    for found in versions.values():
        if found["state"] != "approved":
            waits_for_approval(found["name"], int(found["version"]), found["digest"])
    for deployment in submitted["deployments"]:
        deployment["digest"] = versions[deployment["template"]]["digest"]
    return submitted


def _end_if_waiting(asked: Sequence[Mapping[str, Any]]) -> None:
    """Requests that do not run yet: say what for, and end with the status that scripts wait on."""
    for tracepoint in asked:
        if tracepoint["state"] == "awaiting":
            how_to_decide(tracepoint)
        elif tracepoint["state"] == "scheduled":
            say(f"{tracepoint['name']} ({tracepoint['id']}) starts at {tracepoint['request']['starts_at']}")
    states = {tracepoint["state"] for tracepoint in asked}
    if "awaiting" in states:
        sys.exit(Exit.WAITING_FOR_APPROVAL)
    if "scheduled" in states:
        sys.exit(Exit.OK)


def _moment(text: str) -> str:
    """An absolute time in ISO 8601 with its zone, of one or of a duration from now. Raises UsageError."""
    try:
        return (datetime.now(UTC) + durations.parse(text)).isoformat()
    except TemplateError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise click.UsageError(f"--at is a time with its zone (2026-11-24T22:00Z) or a duration (30m), not {text!r}")
    return moment.isoformat()


def _follow(
    call: Invocation,
    api: Api,
    tracepoint: Mapping[str, Any],
    rows: int,
    *,
    keep: bool,
    displays: Sequence[Mapping[str, Any]],
) -> None:
    shown = [display for display in displays if display["table"] == tracepoint["table"]]
    printer = LivePrinter(call.form, [Display.of(display) for display in shown])
    name = tracepoint["name"]
    stopped = False
    try:
        _wait_until_armed(api, name)
        printer.consume(api.stream(tracepoint["table"], tracepoint["id"]), rows)
    except KeyboardInterrupt:
        printer.ended = "Ctrl-C"
    finally:
        if (not keep and printer.ended in {"", "Ctrl-C"}) or (rows and not keep):
            api.stop(name)
            stopped = True
    if stopped:
        _final_accounting(api, tracepoint, printer)
    printer.finish()
    say(f"{name}: {printer.ended or 'stopped'}" + ("" if not keep else "; it goes on until its TTL ends"))
    say_accounting(printer)


def _wait_until_armed(api: Api, name: str) -> None:
    """Until an agent has it in the kernel. Every agent refusing it is an error with their reasons."""
    ends = time.monotonic() + ARM_SECONDS
    while time.monotonic() < ends:
        found = api.tracepoint(name)
        agents = found.get("agents", [])
        armed = [agent for agent in agents if agent["state"] == "armed"]
        if armed:
            sites = sum(int(agent.get("sites") or 0) for agent in armed)
            processes = sum(int(agent.get("processes") or 0) for agent in armed)
            say(
                f"{name}: armed on {len(armed)} host(s), {processes} process(es), {sites} site(s), until {found['expires_at']}"
            )
            return
        if agents and all(agent["state"] in ENDED for agent in agents):
            for agent in agents:
                say(f"{agent['agent']}: {agent['state']}: {agent.get('detail') or agent.get('end_reason', '')}")
            api.stop(name)
            say(f"{name}: no host could run it")
            sys.exit(Exit.ERROR)
        time.sleep(LOOK_SECONDS)
    say(f"{name}: no host has armed it within {ARM_SECONDS:.0f} s; waiting for rows")


def _final_accounting(api: Api, tracepoint: Mapping[str, Any], printer: LivePrinter) -> None:
    """The agents' last word comes a moment after the stop: take it from the tracepoint when all have ended."""
    ends = time.monotonic() + ARM_SECONDS
    while time.monotonic() < ends:
        found = api.tracepoint(str(tracepoint["id"]))
        if all(agent["state"] in ENDED for agent in found.get("agents", [])):
            printer.accounting = found.get("accounting") or printer.accounting
            return
        time.sleep(LOOK_SECONDS)


def _pairs(parameters: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in parameters:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"a parameter is NAME=VALUE, not {text!r}")
        pairs[key.strip()] = value
    return pairs
