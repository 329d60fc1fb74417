from __future__ import annotations

from pathlib import Path

import pytest

from language import front_end

FOLDER = Path(__file__).parents[3] / "templates"
FILES = sorted(path for path in FOLDER.rglob("*") if path.suffix in {".yaml", ".pxl"})


def test_there_is_a_stock_library() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_every_stock_template_is_read(path: Path) -> None:
    assert front_end.load(path.read_text()).templates
