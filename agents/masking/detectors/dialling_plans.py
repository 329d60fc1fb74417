"""Whether digits are a telephone number of some country's plan: libphonenumber's metadata (`phonenumberslite`) decides.

Reading a number takes the library some 40 us. So each is first held against the plan's patterns as it stands, and
only one with something before it that the library would take off goes there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

PATTERNS_OF: Final = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan",
    "voicemail",
)  # fmt: skip
MAX_CODE: Final = 3  # digits of a country's code (E.164)
MAX_BLOCKS: Final = 50_000  # some MiB
BLOCK_DIGITS: Final = 6  # with the country's; plans differ behind them in a few small countries only


@dataclass(frozen=True)
class Plan:
    """National numbers of all regions that share a code, and what may stand before them (trunk, carrier, abroad).

    Bounded alternatives of digits, so linear for the standard library's engine too.
    """

    numbers: re.Pattern[str]
    prefixes: re.Pattern[str]


_BLOCKS: Final[set[tuple[str | None, str, int]]] = set()


def is_assigned(candidate: str, region: str | None) -> bool:
    """As written, with its country's code when `region` is None.

    A number of a block (its first digits, and how many there are) that has a valid number is valid: plans assign blocks.
    """
    digits = "".join(character for character in candidate if character.isdigit())
    block = (region, digits[:BLOCK_DIGITS], len(digits))
    if block in _BLOCKS:
        return True
    valid = _as_it_stands(digits, region)
    if valid is None:
        valid = _as_the_library_reads_it(candidate, region)
    if valid and len(_BLOCKS) < MAX_BLOCKS:
        _BLOCKS.add(block)
    return valid


def _as_it_stands(digits: str, region: str | None) -> bool | None:
    """None when prefixes would have to be undone to say."""
    if region is not None:
        return _held_against(_plan(_code_of(region)), digits, 0, digits.startswith(str(_code_of(region))))
    for length in range(1, MAX_CODE + 1):
        if (plan := _known_plan(digits[:length])) is not None:
            return _held_against(plan, digits, length, False)
    return False


def _held_against(plan: Plan, digits: str, start: int, with_code: bool) -> bool | None:
    if plan.numbers.fullmatch(digits, start):
        return True
    return None if with_code or plan.prefixes.match(digits, start) else False


def _as_the_library_reads_it(candidate: str, region: str | None) -> bool:
    import phonenumbers  # its metadata takes half a second to import, and many hosts never see a candidate

    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(candidate, region)))
    except phonenumbers.NumberParseException:
        return False


@lru_cache(maxsize=1000)
def _known_plan(code: str) -> Plan | None:
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    return _plan(int(code)) if code.isdigit() and int(code) in COUNTRY_CODE_TO_REGION_CODE else None


@lru_cache(maxsize=300)
def _code_of(region: str) -> int:
    from phonenumbers import country_code_for_region

    return int(country_code_for_region(region))


@lru_cache(maxsize=300)
def _plan(code: int) -> Plan:
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

    numbers: list[str] = []
    prefixes: list[str] = []
    for region in COUNTRY_CODE_TO_REGION_CODE[code]:
        metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        for kind in PATTERNS_OF if metadata else ():
            said = getattr(metadata, kind)
            if said is not None and said.national_number_pattern:
                lengths = "|".join(rf"[0-9]{{{length}}}" for length in said.possible_length)
                numbers.append(rf"(?=(?:{lengths})\Z)(?:{said.national_number_pattern})")
        if metadata:
            prefixes += [each for each in (metadata.national_prefix_for_parsing, metadata.international_prefix) if each]
    return Plan(
        re.compile("|".join(dict.fromkeys(numbers)) or "(?!)"), re.compile("|".join(dict.fromkeys(prefixes)) or "(?!)")
    )
