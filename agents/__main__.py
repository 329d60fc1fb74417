"""`probegate-agent`, also as `python -m agents`."""

from __future__ import annotations

from agents.memory import keep_small


def main() -> None:
    keep_small()
    from agents.cli.main import cli  # what it loads asks for memory the way `keep_small` said

    cli(prog_name="probegate-agent")


if __name__ == "__main__":
    main()
