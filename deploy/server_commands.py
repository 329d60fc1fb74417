"""Several `probegate-server` commands in one process: what it imports is imported once, not ten times a stack.

Standard input is a JSON list of {"arguments": [...], "text": "..."}; `text` is the command's own standard input. Each is
the command that a person types. The first that fails ends the rest: its number, what it said, and status 1.
"""

from __future__ import annotations

import io
import json
import sys

import click

from control_plane.__main__ import main


def run(commands: list[dict[str, object]]) -> None:
    for command in commands:
        sys.stdin = io.StringIO(str(command["text"]))
        try:
            main(command["arguments"], prog_name="probegate-server", standalone_mode=False)
        except click.ClickException as problem:
            problem.show()
            sys.exit(f"this was probegate-server {command['arguments']}")


if __name__ == "__main__":
    run(json.load(sys.stdin))
