"""`probegate-agent`, also as `python -m agents`."""

from __future__ import annotations

from agents.cli.main import cli


def main() -> None:
    cli(prog_name="probegate-agent")


if __name__ == "__main__":
    main()
