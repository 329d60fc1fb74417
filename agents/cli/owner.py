"""Ask the agents that run on this host: a question for each socket that is there -> their answers. For list, stop, reload.

The other end is `agents.supervisor.owner_socket`. A socket that nobody answers belongs to an agent that was killed.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from agents.cli.problems import Exit, Stop
from agents.supervisor.owner_socket import ANSWER_SECONDS

MAX_ANSWER: Final = 1 << 20  # bytes; 64 probes with their processes
MAX_AGENTS: Final = 64  # of one host, a tenant each


def ask(directory: Path, question: Mapping[str, str]) -> Sequence[dict[str, Any]]:
    """Raises Stop when no agent runs here, or none may be asked."""
    answers = [answer for path in sorted(directory.glob("*.sock"))[:MAX_AGENTS] if (answer := _asked(path, question))]
    if not answers:
        raise Stop(
            Exit.FAILED, "no_agent", f"no agent of this host answers in {directory}: is `probegate-agent run` up?"
        )
    return answers


def _asked(path: Path, question: Mapping[str, str]) -> dict[str, Any] | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
        agent.settimeout(ANSWER_SECONDS)
        try:
            agent.connect(str(path))
        except PermissionError as error:
            raise Stop(Exit.NOT_PERMITTED, "not_permitted", f"{path} is root's: run this as root") from error
        except OSError:
            return None
        try:
            agent.sendall(json.dumps(question).encode() + b"\n")
            with agent.makefile("rb") as answer:
                found: dict[str, Any] = json.loads(answer.readline(MAX_ANSWER))
        except (OSError, ValueError) as error:
            raise Stop(Exit.FAILED, "no_answer", f"the agent at {path} did not answer: {error}") from error
    return found
