"""audit search|tail|export|verify: what happened, and proof that nobody changed the record of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from client.cli.context import Invocation, invocation, output_option
from client.cli.exits import Exit
from client.cli.output import Form, say, show
from client.sdk.verify import verify_file

COLUMNS = ("index", "time", "actor", "action", "outcome", "resource")
TAIL_SECONDS = 1.0  # between two looks; people read slower


@click.group()
def audit() -> None:
    """The audit log of the tenant."""


@audit.command()
@click.option("--action", default="", help="Only this action, for example tracepoint.request.")
@click.option("--actor", default="", help="Only what this person, agent or system did.")
@click.option("--resource", default="", help="Only on this resource, for example template/NAME@3.")
@click.option("--outcome", default="", help="intent, success, refused or failed.")
@click.option("-n", "--last", default=50, show_default=True, help="At most this many, the newest.")
@output_option
@invocation
def search(call: Invocation, action: str, actor: str, resource: str, outcome: str, last: int) -> None:
    """The newest entries that match."""
    found = call.api().audit_search(action=action, actor=actor, resource=resource, outcome=outcome, limit=str(last))
    show(found["items"], call.form, COLUMNS)


@audit.command()
@output_option
@invocation
def tail(call: Invocation) -> None:
    """Entries as they are written, until Ctrl-C."""
    api = call.api()
    newest = -1
    form = Form.JSONL if call.form is Form.JSON else call.form
    while True:
        fresh = [item for item in api.audit_search(limit="50")["items"] if item["index"] > newest]
        # Looking is itself audited: what `tail` writes by looking is not news to the one who looks.
        shown = [item for item in fresh if item["action"] not in {"audit.read", "policy.allow", "identity.accept"}]
        if shown:
            show(shown, form, COLUMNS)
        newest = max((item["index"] for item in fresh), default=newest)
        time.sleep(TAIL_SECONDS)


@audit.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@invocation
def export(call: Invocation, file: Path) -> None:
    """Write the whole log with its signed checkpoint to FILE, to be verified anywhere."""
    size = 0
    with file.open("wb") as out:
        for piece in call.api().audit_export():
            size += out.write(piece)
    say(f"{size} bytes in {file}; check it with: probegate audit verify {file}")


@audit.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--key", default="", help="The log's public key (hex) as you know it; else the export's own, which is said."
)
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint that you kept earlier: proves that nothing before it was rewritten (repeat for several).",
)
def verify(file: Path, key: str, checkpoints: Sequence[Path]) -> None:
    """Check an export offline: every entry, the Merkle root, the checkpoint's signature."""
    found = verify_file(file, key, checkpoints)
    for line in found.lines():
        print(line)
    sys.exit(Exit.OK if found.holds else Exit.VERIFICATION_FAILED)


@audit.command()
@invocation
def checkpoint(call: Invocation) -> None:
    """The log's newest signed checkpoint: keep it, and compare an export with it later."""
    print(call.api().audit_checkpoint()["checkpoint"], end="")
