"""The quick look at a plan's patterns says what libphonenumber says, or that it cannot say."""

import random

import phonenumbers
import pytest

from agents.masking.detectors import dialling_plans
from agents.masking.detectors.dialling_plans import is_assigned

CODES = (1, 7, 27, 31, 33, 34, 39, 44, 46, 49, 52, 55, 61, 81, 86, 91, 351, 380, 420, 972)
REGIONS = ("US", "GB", "DE", "FR", "IN", "AU", "BR", "MX", "IT")


def library(candidate: str, region: str | None) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(candidate, region))
    except phonenumbers.NumberParseException:
        return False


@pytest.mark.parametrize("seed", range(4))
def test_plans_agree_with_the_library(seed, monkeypatch):
    monkeypatch.setattr(dialling_plans, "MAX_BLOCKS", 0)
    chance = random.Random(seed)
    for _ in range(400):
        digits = "".join(chance.choice("0123456789") for _ in range(chance.randrange(6, 13)))
        for candidate, region in ((f"+{chance.choice(CODES)}{digits}", None), (digits, chance.choice(REGIONS))):
            assert is_assigned(candidate, region) == library(candidate, region), (candidate, region)


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_every_countrys_example_is_known_as_it_stands(region):
    number = phonenumbers.example_number(region)
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    assert is_assigned(written, None)
