from __future__ import annotations

from dataclasses import replace

import pytest

from language import yaml_front_end
from language.errors import TemplateError
from language.expressions import parse, walk
from language.model import ParameterSpec, ParameterType
from language.parameters import bind, substitute
from language.syntax import Param
from tests.builders.templates import SUM_YAML

TEMPLATE = replace(
    yaml_front_end.load(SUM_YAML),
    parameters=(
        ParameterSpec("least", ParameterType.INT, default=0, min=0, max=1000),
        ParameterSpec("currency", ParameterType.STRING, max_length=3, choices=("USD", "EUR")),
        ParameterSpec("all", ParameterType.BOOL, default=False),
    ),
)


def test_defaults_are_filled_in_and_text_is_read_by_type() -> None:
    assert bind(TEMPLATE, {"currency": "USD", "all": "true"}) == {"least": 0, "currency": "USD", "all": True}
    assert bind(TEMPLATE, {"currency": "EUR", "least": "-0"})["least"] == 0


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"currency": "USD", "least": 1001}, "from 0 to 1000 was expected, 1001 came"),
        ({"currency": "USD", "least": "-1"}, "from 0 to 1000"),
        ({"currency": "USD", "least": True}, "type int"),
        ({"currency": "USD", "least": "ten"}, "type int"),
        ({"currency": "GBP"}, "one of USD, EUR"),
        ({}, "needs a value"),
        ({"curency": "USD"}, "did you mean 'currency'?"),
        ({"currency": "USD", "all": "yes"}, "type bool"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, int | str | bool], part: str) -> None:
    with pytest.raises(TemplateError) as refused:
        bind(TEMPLATE, given)
    assert part in refused.value.problem


def test_substitution_leaves_no_parameter() -> None:
    names = ("least", "currency")
    tree = parse("not (l.Units + params.least > 3 and x in (1, 2) or c.startswith(params.currency))", names)
    bound = substitute(tree, {"least": 5, "currency": "US"})
    assert not [node for node in walk(bound) if isinstance(node, Param)]
    assert bound == parse('not (l.Units + 5 > 3 and x in (1, 2) or c.startswith("US"))')


def test_a_parameter_without_a_value_is_refused() -> None:
    with pytest.raises(TemplateError, match="has no value"):
        substitute(parse("params.a", ["a"]), {})
