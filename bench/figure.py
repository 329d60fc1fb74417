"""One measured figure, and how figures are shown and kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "bench" / "out" / "results.json"


@dataclass(frozen=True)
class Figure:
    """`ratio` is ours / peer. The names are stable: others follow a figure from version to version by its name."""

    name: str
    unit: str
    ours: float
    peer: float
    peer_name: str
    note: str

    @property
    def ratio(self) -> float | None:
        return round(self.ours / self.peer, 4) if self.peer else None


def show(figures: Sequence[Figure], console: Console) -> None:
    table = Table("figure", "unit", "ours", "peer", "ratio", "peer is")
    for figure in figures:
        ratio = "-" if figure.ratio is None else f"{figure.ratio:.3g}"
        table.add_row(figure.name, figure.unit, _short(figure.ours), _short(figure.peer), ratio, figure.peer_name)
    console.print(table)
    for figure in figures:
        console.print(f"{figure.name}: {figure.note}", style="dim")


def keep(figures: Sequence[Figure], path: Path = RESULTS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [asdict(figure) | {"ratio": figure.ratio} for figure in figures]
    order = ("name", "unit", "ours", "peer", "peer_name", "ratio", "note")
    path.write_text(json.dumps([{key: row[key] for key in order} for row in rows], indent=2) + "\n")


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.3g}"
