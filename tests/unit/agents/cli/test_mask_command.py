"""`mask` shows what would be hidden, with offsets that others can script against."""

import json

import pytest
from click.testing import CliRunner

from agents.cli.main import cli


def run(rows, *options):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    done = CliRunner().invoke(cli, ["mask", "-", *options], input=text)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_row_comes_back_with_what_would_be_shown_and_where_it_was_hidden():
    (row,) = run([{"value": "mail bob@example.com now", "id": 7}])
    assert row == {
        "value": "mail bob@example.com now", "id": 7, "masked": "mail <EMAIL> now", "spans": [[5, 20, "EMAIL", "redact"]],
    }  # fmt: skip


def test_offsets_are_characters_of_the_input_whatever_its_alphabet():
    (row,) = run([{"value": "почта: bob@example.com"}])
    start, end, kind, _ = row["spans"][0]
    assert (row["value"][start:end], kind) == ("bob@example.com", "EMAIL")


def test_names_decide_as_they_do_for_a_capture():
    rows = run([{"value": "hunter2", "path": "user.Password"}, {"value": 4111111111111111}], "--explain")
    assert [(row["masked"], row["rule"]) for row in rows] == [
        ("<DROPPED>", "platform:password"),
        ("<CARD>", "platform:default.integer"),
    ]


def test_a_pack_of_ones_own_only_tightens(tmp_path):
    pack = tmp_path / "pack.yaml"
    pack.write_text(
        "apiVersion: probegate/v1\nkind: MaskingRules\nmetadata: {name: mine}\n"
        "spec: {rules: [{name: note, words: [note], action: redact}, {name: loose, words: [password], action: allow}]}\n"
    )
    rows = run([{"value": "x", "path": "o.Note"}, {"value": "x", "path": "Password"}], "--pack", str(pack))
    assert [row["masked"] for row in rows] == ["<REDACTED>", "<DROPPED>"]


@pytest.mark.parametrize("line", ["nonsense", "[1]", '{"path": "x"}'])
def test_a_line_that_is_no_row_is_an_error_that_names_it(line):
    done = CliRunner().invoke(cli, ["mask", "-"], input=line + "\n")
    assert done.exit_code == 2
    assert "line 1" in done.output


def test_a_packs_own_detectors_are_tried_without_a_probe(tmp_path):
    pack = tmp_path / "own.yaml"
    pack.write_text(
        "apiVersion: probegate/v1\nkind: MaskingRules\nmetadata: {name: mine}\nspec:\n  rules:\n"
        "    - name: employee-number\n      regex: 'EMP-[0-9]{6}'\n      action: redact\n"
        "      cases: {matches: [EMP-123456], ignores: [TEMP-1]}\n"
    )
    rows = run([{"value": "by EMP-123456 to bob@example.com"}, {"value": "plain"}], "--pack", str(pack))
    assert rows[0]["masked"] == "by <employee-number> to <EMAIL>"
    assert rows[0]["spans"][0] == [3, 13, "employee-number", "redact"]
    assert rows[1]["spans"] == []
