"""Sample rows come from anybody who may read masking: whatever they are, the answer is JSON or a reason."""

import json

import pytest
from wire.v1 import gateway_pb2

from agents.supervisor.sample_rows import MAX_ROWS, sample_rows
from agents.uplink.model import QuestionRefused
from language import canonical
from tests.unit.agents.admission.test_admission import TEMPLATE


def question(rows, **rule):
    made = gateway_pb2.ExplainQuestion(template=canonical.to_bytes(TEMPLATE), rows=rows)
    made.masking.add(**({"column": "currency", "action": "detect", "rule": "platform:r"} | rule))
    return made


def test_the_answer_has_each_field_with_the_tenants_own_detectors():
    asked = question('[{"currency": "EMP-123456"}, {"currency": "é bob@example.com"}]')
    asked.masking[0].patterns.add(rule="tenant:employee", regex="EMP-[0-9]{6}")
    found = json.loads(sample_rows(asked))
    assert [one["shown"] for one in found] == ["<employee>", "é <EMAIL>"]


@pytest.mark.parametrize(
    "rows",
    [
        "{",
        "[1]",
        "[" * 100_000,
        '[{"other": 1}]',
        "x" * (MAX_ROWS + 1),
        '[{"currency": ' + "9" * 5000 + "}]",
        '[{"currency": "\\ud800"}]',
    ],
)
def test_rows_that_are_none_are_refused(rows):
    with pytest.raises(QuestionRefused):
        sample_rows(question(rows))


@pytest.mark.parametrize("rule", [{"action": "show"}, {"argument": "1"}])
def test_rules_that_are_none_are_refused(rule):
    with pytest.raises(QuestionRefused):
        sample_rows(question('[{"currency": 1}]', **rule))


@pytest.mark.parametrize(
    "value", ["NaN", "1e999", "-1e-400", "9" * 4000, '""', "{}", "[]", "null", "true", '"\\u0000"']
)
@pytest.mark.parametrize(
    "action", [("detect", ""), ("bucket", "100"), ("generalise", "ip"), ("token", ""), ("partial", "0,4")]
)
def test_no_value_ends_more_than_its_own_question(value, action):
    try:
        json.loads(sample_rows(question(f'[{{"currency": {value}}}]', action=action[0], argument=action[1])))
    except QuestionRefused as refused:
        assert str(refused)
