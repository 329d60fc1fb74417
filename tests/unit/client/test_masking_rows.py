"""Sample rows are read from JSON lines or a list; what nearly was hidden stands beside what is shown."""

from types import SimpleNamespace

import click
import pytest

from client.cli.masking_rows import show_samples
from client.cli.output import Form

FIELD = {
    "row": 0, "column": "order", "path": "Ssn", "shown": "943 476 5919", "action": "detect", "rule": "platform:default.string",
    "spans": [], "near": [{"start": 0, "end": 12, "why": "no keyword", "kinds": ["UK_NHS", "PHONE", "A", "B"]}],
}  # fmt: skip


class Api:
    def __init__(self):
        self.rows = None

    def masking_preview_rows(self, _source, rows):
        self.rows = rows
        return [FIELD]


def shown(text, form=Form.TABLE):
    api = Api()
    show_samples(SimpleNamespace(api=lambda: api, form=form), "source", text)
    return api.rows


@pytest.mark.parametrize("text", ['{"a": 1}\n\n{"a": "x"}\n', '[{"a": 1}, {"a": "x"}]'])
def test_lines_and_lists_are_the_same_rows(text):
    assert shown(text) == [{"a": 1}, {"a": "x"}]


def test_the_table_has_the_field_what_is_shown_and_why_no_more_is_hidden(capsys):
    shown('{"a": 1}')
    line = capsys.readouterr().out.splitlines()[-1]
    assert "order.Ssn" in line
    assert "0-12 no keyword: UK_NHS, PHONE, A" in line


@pytest.mark.parametrize("text", ["{", "[1]", '"x"'])
def test_what_are_no_rows_is_said(text):
    with pytest.raises(click.ClickException, match="rows"):
        shown(text)
