"""template lint|submit|ls|show|diff|review|approve|deny|withdraw: from a file to an approval of its exact bytes."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from client.cli.context import Invocation, invocation, output_option
from client.cli.exits import Exit
from client.cli.notices import say_open_notices
from client.cli.output import Form, say, show, show_one
from client.cli.review_page import print_page
from client.cli.session import freshly
from client.sdk import Api, ClientError
from language import durations
from language.errors import TemplateError

COLUMNS = ("name", "version", "state", "risk", "author", "created_at", "digest")
UNDECIDED = {"in_review", "draft"}
LOOK_SECONDS = 1.0  # between two looks; a reviewer takes minutes
SHORT_DIGEST = 19  # "sha256:" and 12 characters: enough to tell versions apart on a screen


@click.group()
def template() -> None:
    """Templates and their reviews."""


@template.command()
@click.argument("file", type=click.Path(allow_dash=True))
@output_option
@invocation
def lint(call: Invocation, file: str) -> None:
    """Check a YAML or PxL file as a submission would, and keep nothing."""
    checked = call.api().submit(read_source(file), validate_only=True)
    if call.form is not Form.TABLE:
        show_one(checked, call.form)
    for found in checked["templates"]:
        say(f"{found['name']}: fine, {found['digest']}")


@template.command()
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("-m", "--message", default="", help="What a reviewer should know.")
@click.option("--draft", is_flag=True, help="Keep it without asking anybody for a review.")
@click.option("--wait", is_flag=True, help="Until it is decided: 0 approved, 3 refused or lapsed, 5 not within --for.")
@click.option("--for", "patience", default="1h", show_default=True, help="How long to wait.")
@click.option("--idempotency-key", "key", default="", help="Asked again with the same key, nothing happens twice.")
@output_option
@invocation
def submit(call: Invocation, file: str, message: str, draft: bool, wait: bool, patience: str, key: str) -> None:
    """Hand in a YAML or PxL file for review."""
    api = call.api()
    submitted = api.submit(read_source(file), message=message, draft=draft, key=key)
    if wait:
        submitted["templates"] = [_decided(api, found, patience) for found in submitted["templates"]]
    show(submitted["templates"], call.form, COLUMNS)
    if wait and any(found["state"] != "approved" for found in submitted["templates"]):
        waiting = any(found["state"] in UNDECIDED for found in submitted["templates"])
        sys.exit(Exit.WAITING_FOR_APPROVAL if waiting else Exit.DENIED)
    for found in submitted["templates"]:
        if found["state"] == "in_review":
            say(f"waiting for a reviewer: probegate template review {found['name']}")


@template.command("ls")
@click.option("--state", default="", help="Only those in this state, for example in_review.")
@output_option
@invocation
def list_templates(call: Invocation, state: str) -> None:
    """The templates of the tenant."""
    api = call.api()
    show(api.templates(state), call.form, COLUMNS)
    say_open_notices(call, api)


@template.command("show")
@click.argument("name")
@click.option("--version", type=int, help="This version (default: the newest).")
@click.option("--source", is_flag=True, help="Only the text as its author wrote it.")
@output_option
@invocation
def show_template(call: Invocation, name: str, version: int | None, source: bool) -> None:
    """One template: text, plan, reviews."""
    found = _version(call.api(), name, version)
    if source:
        print(found["source"], end="")
    else:
        show_one(found, call.form)


@template.command()
@click.argument("name")
@click.option("--from", "start", type=int, help="Compare this version (default: the last approved one) ...")
@click.option("--to", "end", type=int, help="... with this one (default: the newest).")
@output_option
@invocation
def diff(call: Invocation, name: str, start: int | None, end: int | None) -> None:
    """What changed in meaning between two versions."""
    found = call.api().diff(name, start, end)
    if call.form is Form.TABLE:
        say(f"{name}: version {found['from']} to {found['to']}")
    show(found["changes"], call.form, ("path", "before", "after"))


@template.command()
@click.argument("name")
@click.option("--version", type=int, help="This version (default: the newest).")
@click.option("--service", default="", help="Forecast it for this service (default: the template's own target).")
@click.option("--dry-run", "environment", default="", metavar="ENVIRONMENT", help="Look at a few masked rows there.")
@click.option("--pid", "pids", multiple=True, type=int, help="Look at this process only.")
@click.option("--agent", default="", help="Look on this agent.")
@output_option
@invocation
def review(
    call: Invocation,
    name: str,
    version: int | None,
    service: str,
    environment: str,
    pids: Sequence[int],
    agent: str,
) -> None:
    """Everything a reviewer decides by, and the command that approves just that.

    With --dry-run also masked rows of live calls, where the tenant's run policy and the host allow it. They are kept nowhere.
    """
    api = call.api()
    found = _version(api, name, version)
    page = api.review_page(name, int(found["version"]), service)
    if environment:
        look = {"environment": environment, "agent": agent, "service": service, "pids": list(pids)}
        page["dry_run"] = api.dry_run(name, int(found["version"]), {key: value for key, value in look.items() if value})
    if call.form is not Form.TABLE:
        show_one(found | page, call.form)
        return
    changes = api.diff(name, None, int(found["version"]))["changes"]
    print_page(found, page, changes)
    if found["state"] == "in_review":
        say(f"\napprove: probegate template approve {name} --digest {found['digest']}")
        say(f"refuse:  probegate template deny {name} --reason 'WHY'")


@template.command()
@click.argument("name")
@click.option("--digest", required=True, help="The digest that `template review` showed: approving binds these bytes.")
@click.option("--version", type=int, help="This version (default: the newest).")
@click.option("-m", "--comment", default="")
@output_option
@invocation
def approve(call: Invocation, name: str, digest: str, version: int | None, comment: str) -> None:
    """Approve the exact bytes that a digest names."""
    api = call.api()
    number = version or int(_version(api, name, None)["version"])
    found = freshly(call, lambda asked: asked.approve(name, number, digest, comment))
    show([found], call.form, COLUMNS)


@template.command()
@click.argument("name")
@click.option("--reason", required=True, help="Why not: the author sees it.")
@click.option("--version", type=int, help="This version (default: the newest).")
@output_option
@invocation
def deny(call: Invocation, name: str, reason: str, version: int | None) -> None:
    """Refuse a version; one refusal is enough."""
    api = call.api()
    found = _version(api, name, version)
    show([api.reject(name, int(found["version"]), str(found["digest"]), reason)], call.form, COLUMNS)


@template.command()
@click.argument("name")
@click.option("--version", type=int, help="This version (default: the newest).")
@output_option
@invocation
def withdraw(call: Invocation, name: str, version: int | None) -> None:
    """Take your own submission back."""
    api = call.api()
    number = version or int(_version(api, name, None)["version"])
    show([api.withdraw(name, number)], call.form, COLUMNS)


@template.command()
@click.argument("name")
@click.option("--version", type=int, help="This version (default: the newest).")
@click.option("--reason", required=True, help="Why: others have to know.")
@output_option
@invocation
def deprecate(call: Invocation, name: str, version: int | None, reason: str) -> None:
    """Let nobody ask for it anew; what runs may be renewed."""
    api = call.api()
    number = version or int(_version(api, name, None)["version"])
    show([api.retire(name, number, "deprecate", reason)], call.form, COLUMNS)


@template.command()
@click.argument("name")
@click.option("--version", type=int, help="This version (default: the newest).")
@click.option("--reason", required=True, help="Why: others have to know.")
@output_option
@invocation
def revoke(call: Invocation, name: str, version: int | None, reason: str) -> None:
    """Out of use for good; what runs of it ends within seconds."""
    api = call.api()
    number = version or int(_version(api, name, None)["version"])
    show([api.retire(name, number, "revoke", reason)], call.form, COLUMNS)


def read_source(file: str) -> str:
    """The text of a file, or of standard input for `-`. Raises ClientError."""
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as problem:
        raise ClientError(f"cannot read {file}: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise ClientError(f"{file} is not UTF-8 text ({problem.reason} at byte {problem.start})") from problem


def waits_for_approval(name: str, version: int, digest: str) -> None:
    """Say what is missing and end with the exit code that scripts wait on."""
    say(f"template {name} version {version} ({digest[:SHORT_DIGEST]}…) is not approved yet.")
    say(f"a reviewer runs: probegate template review {name}")
    sys.exit(Exit.WAITING_FOR_APPROVAL)


def _decided(api: Api, found: dict[str, Any], patience: str) -> dict[str, Any]:
    """The version once nobody has to decide it any more, or as it is when patience ends."""
    try:
        ends = time.monotonic() + durations.parse(patience).total_seconds()
    except TemplateError as problem:
        raise click.UsageError(f"--for: {problem}") from problem
    if found["state"] in UNDECIDED:
        say(f"waiting for a reviewer: probegate template review {found['name']}")
    while found["state"] in UNDECIDED and time.monotonic() < ends:
        time.sleep(LOOK_SECONDS)
        found = api.version(found["name"], int(found["version"]))
    return found


def _version(api: Api, name: str, version: int | None) -> dict[str, Any]:
    return api.version(name, version) if version else api.template(name)
