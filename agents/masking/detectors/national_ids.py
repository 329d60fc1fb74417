"""Numbers that states give to people and firms. python-stdnum checks; where digits alone prove little, a word must vouch.

A form that is unmistakable (a Brazilian CPF with its points and dash, an Italian codice fiscale) needs no word.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agents.masking.detectors.context import Words
from agents.masking.detectors.model import Detector, Span
from agents.masking.detectors.shapes import Valid, digits_of, either, shape, stands_alone, stdnum
from agents.masking.patterns import compiled

_MOST_REPEATED: Final = 1  # distinct digits in 111111111: filler, nobody's number

_SSN_WORDS: Final = Words("ssn", "ssns", "ssid", "social security", "social security number", "soc sec", "social")
_ITIN_WORDS: Final = Words("itin", "taxpayer id", "individual taxpayer", "tax id", "tin")
_TAX_WORDS: Final = Words("tax id", "tax number", "taxpayer", "tin", "vat", "vat id", "vat number", "ust id", "tax")


def _ssn(candidate: str) -> bool:
    """Area, group and serial (SSA, before and after randomisation), no number that was printed on samples."""
    digits = digits_of(candidate)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if (
        area in {"000", "666"}
        or area[0] == "9"
        or group == "00"
        or serial == "0000"
        or len(set(digits)) == _MOST_REPEATED
    ):
        return False
    return digits not in {"078051120", "219099999", "457555462"} and digits not in {"123456789", "987654321"}


def _find_ssn(text: str, vouched: bool) -> Iterator[Span]:
    """With dashes or points anywhere; with spaces among words; in any other form where a word vouches for it."""
    for match in compiled(r"[0-8][0-9]{2}([ .\-]?)[0-9]{2}([ .\-]?)[0-9]{4}").finditer(text):
        start, end = match.start(), match.end()
        if not stands_alone(text, start, end) or not _ssn(match.group()):
            continue
        separators = {match.group(1), match.group(2)}
        clear = separators in ({"-"}, {"."}) or (separators == {" "} and not _in_a_row(text, start, end))
        if clear or vouched or _SSN_WORDS.near(text, start, end):
            yield Span(start, end, "US_SSN")


def _in_a_row(text: str, start: int, end: int) -> bool:
    """Between other numbers, three numbers are three numbers."""
    return text[:start].rstrip(" ")[-1:].isdigit() or text[end:].lstrip(" ")[:1].isdigit()


def _itin(candidate: str) -> bool:
    digits = digits_of(candidate)
    return digits[3:5] not in {"89", "93"} and "50" <= digits[3:5] <= "99"


def _pan_india(candidate: str) -> bool:
    return candidate[3] in "ABCFGHLJPT"


def _npi(candidate: str) -> bool:
    """Luhn over the number behind the prefix 80840 (45 CFR 162.406)."""
    total = 24  # what the prefix adds
    for position, digit in enumerate(reversed(candidate)):
        doubled = int(digit) * 2 if position % 2 else int(digit)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def _nric(candidate: str) -> bool:
    text = candidate.upper()
    total = sum(int(d) * w for d, w in zip(text[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True))
    total += {"T": 4, "G": 4, "M": 3}.get(text[0], 0)
    letters = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "F": "XWUTRQPNMLK", "G": "XWUTRQPNMLK", "M": "KLJNPQRTUWX"}
    rest = total % 11
    return text[8] == letters[text[0]][10 - rest if text[0] == "M" else rest]


def _dea(candidate: str) -> bool:
    digits = digits_of(candidate)
    odd, even = digits[0:6:2], digits[1:6:2]
    return (sum(map(int, odd)) + 2 * sum(map(int, even))) % 10 == int(digits[6])


def _not_one_digit(candidate: str) -> bool:
    return len(set(digits_of(candidate))) > 1


def _by_word(kind: str, pattern: str, valid: Valid | str, *words: str) -> Detector:
    return shape(kind, pattern, stdnum(valid) if isinstance(valid, str) else valid, words=Words(*words))


DETECTORS: Final[tuple[Detector, ...]] = (
    Detector(
        "US_SSN",
        r"[0-8][0-9]{2}(?:-[0-9]{2}-|\.[0-9]{2}\.| [0-9]{2} )[0-9]{4}|" + _SSN_WORDS.trigger,
        _find_ssn,
        _SSN_WORDS,
    ),
    either(
        "US_ITIN",
        shape("US_ITIN", r"9[0-9]{2}-[5-9][0-9]-[0-9]{4}", _itin),
        shape("US_ITIN", r"9[0-9]{2}[ \-]?[5-9][0-9][ \-]?[0-9]{4}", _itin, words=_ITIN_WORDS),
    ),
    _by_word(
        "UK_NHS",
        r"[0-9]{3}[ \-]?[0-9]{3}[ \-]?[0-9]{4}",
        "gb.nhs",
        "nhs",
        "nhs number",
        "national health",
        "health services authority",
    ),
    either(
        "UK_NINO",
        shape(
            "UK_NINO",
            r"(?:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]|[a-ceghj-pr-tw-z][a-ceghj-npr-tw-z]) ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-Da-d]",
            lambda c: c[:2].upper() not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"},
        ),
    ),
    either(
        "CH_AHV",
        shape("CH_AHV", r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}", stdnum("ch.ssn")),
        _by_word("CH_AHV", r"756[0-9]{10}", "ch.ssn", "ahv", "avs", "ahv nummer", "sozialversicherung"),
    ),
    either(
        "BR_CPF",
        shape("BR_CPF", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", stdnum("br.cpf")),
        _by_word("BR_CPF", r"[0-9]{11}", "br.cpf", "cpf", "cadastro de pessoa"),
    ),
    shape("BR_CNPJ", r"[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}", stdnum("br.cnpj")),
    _by_word(
        "IN_AADHAAR", r"[2-9][0-9]{3}[ \-:]?[0-9]{4}[ \-:]?[0-9]{4}", "in_.aadhaar", "aadhaar", "aadhar", "uidai", "uid"
    ),
    _by_word(
        "IN_PAN", r"[A-Z]{5}[0-9]{4}[A-Z]", _pan_india, "pan", "permanent account number", "pan card", "income tax"
    ),
    _by_word("NL_BSN", r"[0-9]{9}|[0-9]{4}\.[0-9]{2}\.[0-9]{3}", "nl.bsn", "bsn", "burgerservicenummer", "sofinummer"),
    _by_word("PL_PESEL", r"[0-9]{11}", "pl.pesel", "pesel"),
    shape(
        "IT_CODICE_FISCALE",
        r"[A-Za-z]{6}[0-9LMNP-Vlmnp-v]{2}[A-Ea-eHLMPR-Thlmpr-t][0-9LMNP-Vlmnp-v]{2}[A-Za-z][0-9LMNP-Vlmnp-v]{3}[A-Za-z]",
        stdnum("it.codicefiscale"),
        trigger=r"[A-Za-z]{6}[0-9LMNP-Vlmnp-v]{2}[A-Ea-eHLMPR-Thlmpr-t][0-9LMNP-Vlmnp-v]{2}[A-Za-z]",
    ),
    _by_word("ES_DNI", r"[0-9]{8}[ \-]?[A-Z]", "es.dni", "dni", "nif", "documento nacional", "identidad"),
    shape("ES_NIE", r"[XYZ][ \-]?[0-9]{7}[ \-]?[A-Z]", stdnum("es.nie")),
    _by_word(
        "FR_NIR",
        r"[12] ?[0-9]{2} ?[0-9]{2} ?[0-9][0-9AB] ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
        "fr.nir",
        "nir",
        "securite sociale",
        "numero de securite",
        "insee",
    ),
    _by_word(
        "DE_TAX_ID",
        r"[1-9][0-9][ /]?[0-9]{3}[ /]?[0-9]{3}[ /]?[0-9]{3}",
        "de.idnr",
        "steuer id",
        "steueridentifikationsnummer",
        "idnr",
        "steuer idnr",
        "tax id",
        "tin",
    ),
    _by_word(
        "DE_SOCIAL_SECURITY",
        r"[0-9]{2} ?[0-9]{6} ?[A-Z] ?[0-9]{3}",
        _not_one_digit,
        "rvnr",
        "rentenversicherung",
        "rentenversicherungsnummer",
        "sozialversicherungsnummer",
        "versicherungsnummer",
    ),
    _by_word(
        "SE_PERSONNUMMER",
        r"(?:[0-9]{2})?[0-9]{6}[-+]?[0-9]{4}",
        "se.personnummer",
        "personnummer",
        "personnr",
        "samordningsnummer",
        "swedish personal",
    ),
    shape("FI_HETU", r"[0-3][0-9][01][0-9]{3}[-+A-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y]", stdnum("fi.hetu")),
    _by_word("NO_FNR", r"[0-9]{6} ?[0-9]{5}", "no.fodselsnummer", "fodselsnummer", "fnr", "personnummer"),
    _by_word("DK_CPR", r"[0-3][0-9][01][0-9]{3}-?[0-9]{4}", "dk.cpr", "cpr", "cpr nummer", "personnummer"),
    _by_word("TR_TCKN", r"[1-9][0-9]{10}", "tr.tckimlik", "tc kimlik", "tckn", "kimlik", "kimlik no"),
    shape("MX_CURP", r"[A-Z]{4}[0-9]{6}[HM][A-Z]{5}[0-9A-Z][0-9]", stdnum("mx.curp")),
    _by_word("SG_NRIC", r"[STFGMstfgm][0-9]{7}[A-Za-z]", _nric, "nric", "fin", "uin", "singapore"),
    _by_word("AU_TFN", r"[0-9]{3} ?[0-9]{3} ?[0-9]{2,3}", "au.tfn", "tfn", "tax file number", "tax file"),
    _by_word("AU_ABN", r"[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}", "au.abn", "abn", "australian business number"),
    _by_word("AU_MEDICARE", r"[2-6][0-9]{3} ?[0-9]{5} ?[0-9]{1,2}", _not_one_digit, "medicare"),
    _by_word(
        "CA_SIN",
        r"[1-9][0-9]{2}[ \-]?[0-9]{3}[ \-]?[0-9]{3}",
        "ca.sin",
        "sin",
        "social insurance",
        "social insurance number",
    ),
    shape("KR_RRN", r"[0-9]{2}[01][0-9][0-3][0-9]-[1-8][0-9]{6}", _not_one_digit),
    _by_word(
        "ZA_ID",
        r"[0-9]{6} ?[0-9]{4} ?[0-9]{3}",
        "za.idnr",
        "south african id",
        "identity number",
        "id number",
        "rsa id",
    ),
    _by_word(
        "TH_ID",
        r"[1-8][ \-]?[0-9]{4}[ \-]?[0-9]{5}[ \-]?[0-9]{2}[ \-]?[0-9]",
        "th.pin",
        "thai id",
        "national id",
        "tnin",
        "citizen id",
    ),
    _by_word(
        "CN_RIC",
        r"[1-9][0-9]{16}[0-9Xx]",
        "cn.ric",
        "resident identity",
        "shenfenzheng",
        "id card",
        "identity card",
        "ric",
        "national id",
    ),
    _by_word(
        "US_EIN",
        r"[0-9]{2}-?[0-9]{7}",
        "us.ein",
        "ein",
        "employer identification",
        "employer id",
        "federal tax",
        "fein",
    ),
    _by_word(
        "EU_VAT",
        r"(?:AT|BE|BG|CY|CZ|DE|DK|EE|EL|ES|FI|FR|HR|HU|IE|IT|LT|LU|LV|MT|NL|PL|PT|RO|SE|SI|SK)[ ]?[0-9A-Z]{8,12}",
        "eu.vat",
        "vat",
        "vat id",
        "vat number",
        "ust id",
        "ust idnr",
        "umsatzsteuer",
        "partita iva",
        "tva",
    ),
    shape("TAX_NUMBER", r"[0-9]{2,3}[/\-][0-9]{3,4}[/\-][0-9]{3,5}", _not_one_digit, words=_TAX_WORDS),
    _by_word("US_NPI", r"[12][0-9]{9}", _npi, "npi", "national provider", "provider identifier"),
    _by_word(
        "US_DEA",
        r"[A-Za-z][A-Za-z9][0-9]{7}",
        _dea,
        "dea",
        "dea number",
        "medical license",
        "certificate",
        "prescriber",
    ),
    _by_word(
        "US_MBI",
        r"[1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9]-?[AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9]-?[AC-HJKMNP-RT-Y]{2}[0-9]{2}",
        _not_one_digit,
        "mbi",
        "medicare",
        "medicare beneficiary",
    ),
)
