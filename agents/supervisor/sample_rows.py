"""A question with sample rows -> the JSON of what masking would show of them. Nothing of it is kept or logged.

The rules come unsigned: they arm nothing, and all that they are done to came with the question.
"""

from __future__ import annotations

import json
from typing import Any, Final

from wire.v1 import gateway_pb2, spec_pb2

from agents.masking.model import FieldRule, PathRule
from agents.masking.samples import SampleProblem, shown_samples
from agents.uplink.model import QuestionRefused
from language import canonical
from language.errors import TemplateError
from language.masking import BadAction, treatment
from language.masking_names import BadPattern
from language.masking_patterns import BadRegex, ValuePattern

MAX_ROWS: Final = 64 * 1024  # characters
MAX_RULES: Final = 256  # columns of a template


def sample_rows(question: gateway_pb2.ExplainQuestion) -> str:
    """Raises QuestionRefused."""
    if len(question.rows) > MAX_ROWS or len(question.masking) > MAX_RULES:
        raise QuestionRefused(f"sample rows have at most {MAX_ROWS} characters and {MAX_RULES} columns")
    try:
        template = canonical.from_bytes(question.template)
        names = {each.column: (each.expression, template.probe.function) for each in template.probe.captures}
        shown = shown_samples(_rows(question.rows), [_rule(each) for each in question.masking], names)
    except (TemplateError, BadAction, BadPattern, BadRegex, SampleProblem) as error:
        raise QuestionRefused(str(error)) from error
    except Exception as error:  # noqa: BLE001 -- whatever somebody's rows run into, the agent's stream must not end by it
        raise QuestionRefused(f"these rows cannot be masked ({type(error).__name__})") from None
    return json.dumps(shown)


def _rows(text: str) -> list[dict[str, Any]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SampleProblem("the sample rows are not JSON") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SampleProblem('expected a list of rows like {"column": value}')
    return rows


def _rule(came: spec_pb2.FieldRule) -> FieldRule:
    did = treatment(came.action, came.argument)
    paths = []
    for each in came.paths:
        inner = treatment(each.action, each.argument)
        paths.append(PathRule(each.path, each.type, inner.action, each.rule, inner.argument))
    patterns = tuple(ValuePattern(each.rule, each.regex) for each in came.patterns)
    return FieldRule(came.column, did.action, came.rule, b"", "", tuple(paths), did.argument, patterns)
