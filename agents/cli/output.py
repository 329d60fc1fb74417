"""Tables for people: as wide as the terminal, and never cut where the output goes into a file or a pipe."""

from __future__ import annotations

import sys
from typing import Final

from rich.console import Console
from rich.table import Table

PIPE_WIDTH: Final = 2000  # columns; rich would assume 80 and cut names


def wide_console() -> Console:
    return Console(
        highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH, soft_wrap=not sys.stdout.isatty()
    )


def table_of(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")  # a name that is cut cannot be copied
    return table
