"""Captured text is shown as text: no markup, no control codes, no formulas; and no value is made up for an absent one."""

import json

import pytest

from client.cli.exits import Exit, code_of
from client.cli.live import LivePrinter, accounting_line
from client.cli.output import Form, cell, show
from client.sdk import ApiError, NotSignedIn
from client.sdk.api import Event

HOSTILE = "\x1b[31mred\x1b[0m [bold]x[/bold]"


def test_a_control_code_in_a_value_is_spelt_out():
    assert "\x1b" not in cell(HOSTILE)
    assert "[bold]" in cell(HOSTILE)


@pytest.mark.parametrize("form", Form)
def test_no_form_passes_a_control_code_to_the_terminal(form, capsys):
    show([{"value": HOSTILE}], form)
    printed = capsys.readouterr().out
    assert ("\x1b[31m" not in printed) or form is Form.CSV


def test_a_formula_is_no_formula_in_csv(capsys):
    show([{"value": "=cmd()"}, {"value": "-1"}], Form.CSV)
    assert capsys.readouterr().out.splitlines() == ["value", "'=cmd()", "'-1"]


def test_an_absent_value_shows_its_reason(capsys):
    rows = [{"time_": 1, "pid": 2, "sum": None, "_absent": {"sum": "in_vector_register"}}]
    LivePrinter(Form.TABLE).consume(iter([Event("rows", "1", {"rows": rows})]))
    assert "(in_vector_register)" in capsys.readouterr().out


def test_rows_end_at_the_limit_and_keep_their_values(capsys):
    events = [Event("rows", str(n), {"rows": [{"n": n, "big": 2**63 + n}]}) for n in range(5)]
    printer = LivePrinter(Form.JSONL)
    printer.consume(iter(events), limit=3)
    assert [json.loads(line)["big"] for line in capsys.readouterr().out.splitlines()] == [2**63, 2**63 + 1, 2**63 + 2]
    assert printer.ended == "3 rows shown"


def test_the_accounting_line_adds_up():
    accounting = {"hits": 10, "delivered": 6, "filtered": 3, "lost": {"ring_full": 1}}
    assert accounting_line(accounting) == "hits 10 = delivered 6 + filtered 3 + lost (ring full) 1"


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (NotSignedIn("x"), Exit.NOT_SIGNED_IN),
        (ApiError(401, "unauthenticated", "x", {}), Exit.NOT_SIGNED_IN),
        (ApiError(403, "denied", "x", {}), Exit.DENIED),
        (ApiError(409, "not_approved", "x", {}), Exit.WAITING_FOR_APPROVAL),
        (ApiError(409, "digest_mismatch", "x", {}), Exit.CONFLICT),
        (ApiError(422, "invalid", "x", {}), Exit.USAGE),
        (ApiError(503, "audit_unavailable", "x", {}), Exit.ERROR),
    ],
)
def test_every_refusal_has_its_exit_status(problem, code):
    assert code_of(problem) is code
