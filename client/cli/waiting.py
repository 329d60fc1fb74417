"""What to say of a change that may need a second person: what was done, or which proposal waits and how to agree to it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from client.cli.context import Invocation
from client.cli.exits import Exit
from client.cli.output import Form, say, show_one

PROPOSAL = ("id", "kind", "resource", "state", "author", "digest", "summary", "needs", "message", "reason")


def is_waiting(answer: Mapping[str, Any]) -> bool:
    """Whether an answer is a proposal that nobody has agreed to yet."""
    return answer.get("state") == "proposed" and "needs" in answer


def done_or_waits(call: Invocation, answer: Mapping[str, Any], columns: Sequence[str] = ()) -> None:
    """Print the answer; exit with WAITING_FOR_APPROVAL when nothing has changed yet."""
    if not is_waiting(answer):
        show_one({key: answer[key] for key in columns} if columns else answer, call.form)
        return
    show_proposal(call, answer)
    say(
        "nothing has changed yet: a second person agrees with\n"
        f"  probegate policy approve {answer['id']} --digest {answer['digest']}"
    )
    sys.exit(Exit.WAITING_FOR_APPROVAL)


def show_proposal(call: Invocation, proposal: Mapping[str, Any]) -> None:
    """All of it for programs; for people what they have to know, without what is empty."""
    if call.form is Form.TABLE:
        more = ("who_can_agree", "lapses_at", "decided_by", "decided_at")
        show_one({key: proposal[key] for key in (*PROPOSAL, *more) if proposal.get(key)}, call.form)
    else:
        show_one(proposal, call.form)
