"""Ordinary system logs stay readable: identifiers of machines are not taken for people's."""

from collections import Counter

import pytest

from agents.masking.detectors.national_ids import DETECTORS as NATIONAL
from agents.masking.entities import shown_of, spans_of
from agents.masking.scanning import scanner
from tests.builders.ordinary_lines import generated, of_this_machine

LINES = 3_000
MAX_CARDS = 10  # a number of sixteen digits of which one in forty thousand passes every check by chance
PEOPLE = {detector.kind for detector in NATIONAL} | {"DRIVER_LICENSE", "PASSPORT", "PHONE", "IBAN", "DATE_OF_BIRTH"}


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    scanner().warm(1 << 20)


@pytest.mark.parametrize("seed", range(3))
def test_trace_ids_commits_uuids_and_pod_names_survive(seed):
    cards = 0
    for line, identifiers in generated(LINES, seed):
        kinds = Counter(span.kind for span in spans_of(line, False))
        cards += kinds.pop("CARD", 0)
        assert not kinds, (kinds, line)
        shown = shown_of(line, False)
        assert "<CARD>" in shown or all(identifier in shown for identifier in identifiers), line
    assert cards <= MAX_CARDS


def test_this_machines_own_logs_hold_few_cards_and_nobodys_identifiers():
    lines = list(of_this_machine(LINES))  # as many as a small image has, if not so many
    found = Counter(span.kind for line in lines for span in spans_of(line, False))
    assert found["CARD"] <= MAX_CARDS
    assert not {kind: count for kind, count in found.items() if kind in PEOPLE}


def test_identifiers_survive_beside_words_that_vouch_for_others():
    for word in ("uid", "pan", "dl", "id number", "national id", "account number"):
        text = f"{word}: 9720aac7-1990-4189-808f-7f1bbf77fcf0"
        assert shown_of(text, False) == text
