"""Every pack that is shipped loads, says what it covers and what it does not, and only ever tightens."""

from pathlib import Path

import pytest

from language.masking_rules import Scope, bind, load_rules
from language.model import Capture
from tests.unit.language.test_masking_rules import PLATFORM

PACKS = sorted((Path(__file__).parents[3] / "policies" / "masking" / "packs").glob("*.yaml"))


def test_there_are_the_packs_that_people_ask_for():
    assert {path.stem for path in PACKS} == {"pci", "gdpr", "hipaa-safe-harbor", "secrets", "strict"}


@pytest.mark.parametrize("path", PACKS, ids=lambda path: path.stem)
def test_a_pack_loads_with_its_cases_and_says_what_it_does_not_cover(path):
    text = path.read_text()
    pack = load_rules(text, Scope.TENANT)
    assert all(rule.cases.matches and rule.cases.ignores for rule in pack.rules)
    assert "# Covers" in text
    assert "Does not cover:" in text


@pytest.mark.parametrize("path", PACKS, ids=lambda path: path.stem)
@pytest.mark.parametrize("field", ["o.Card.Number", "u.Email", "p.SSN", "user.Password", "l.Units", "r.ZipCode"])
def test_a_pack_only_tightens(path, field):
    (alone,) = bind([Capture("c", field)], (), (PLATFORM,))
    (both,) = bind([Capture("c", field)], (), (PLATFORM, load_rules(path.read_text(), Scope.TENANT)))
    assert both.treatment.strictness >= alone.treatment.strictness
