"""What only its name makes personal: passports, licences, accounts, dates of birth, postcodes, places; and devices.

Everything here needs a word, in the text or in the field's name, but what its form or check digits prove.
"""

from __future__ import annotations

from typing import Final

from agents.masking.detectors.context import Words
from agents.masking.detectors.model import Detector
from agents.masking.detectors.shapes import digits_of, either, shape, stdnum

_MIN_DIGITS: Final = 4  # in a document's number; a word of letters is a word

_PASSPORT: Final = Words(
    "passport", "passport number", "passport no", "travel document", "reisepass", "passeport", "pasaporte", "passaporto"
)
_LICENSE: Final = Words(
    "driver license",
    "drivers license",
    "driver licence",
    "drivers licence",
    "driving licence",
    "driving license",
    "dl number",
    "fuhrerschein",
    "license number",
    "licence number",
    "dl",
)
_BIRTH: Final = Words(
    "dob",
    "birth",
    "birth date",
    "birthdate",
    "birthday",
    "date of birth",
    "born",
    "born on",
    "geboren",
    "geburtsdatum",
    "naissance",
)
_PLACE: Final = Words(
    "lat",
    "lon",
    "lng",
    "latitude",
    "longitude",
    "geo",
    "gps",
    "coordinates",
    "coords",
    "location",
    "latlng",
    "position",
)
_IMEI: Final = Words("imei", "imeisv", "meid", "device id")
_MONTH: Final = r"(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
_DAY: Final = r"[0-3]?[0-9](?:st|nd|rd|th)?"
_DATE: Final = (
    rf"(?:19|20)[0-9]{{2}}[-/.]?[01][0-9][-/.]?[0-3][0-9]|[0-3]?[0-9][-/.][0-3]?[0-9][-/.](?:19|20)?[0-9]{{2}}"
    rf"|{_DAY} {_MONTH}\.?,? (?:19|20)?[0-9]{{2}}|{_MONTH}\.? {_DAY},? (?:19|20)[0-9]{{2}}"
)


def _has_digits(candidate: str) -> bool:
    return len(digits_of(candidate)) >= _MIN_DIGITS


def _on_earth(candidate: str) -> bool:
    first, second = (float(part) for part in candidate.replace(" ", ",").replace(",,", ",").split(",") if part)
    return abs(first) <= 90 and abs(second) <= 180


def _imei(candidate: str) -> bool:
    return stdnum("imei")(candidate)


DETECTORS: Final[tuple[Detector, ...]] = (
    shape("PASSPORT", r"[A-Za-z]{0,3}[0-9][0-9A-Za-z]{5,8}", _has_digits, words=_PASSPORT),
    shape("DRIVER_LICENSE", r"[A-Za-z0-9]{1,5}(?:[ \-]?[A-Za-z0-9]{2,9}){1,4}", _has_digits, words=_LICENSE),
    shape("DATE_OF_BIRTH", _DATE, words=_BIRTH),
    either(
        "GEO",
        shape("GEO", r"-?[0-9]{1,2}\.[0-9]{4,15}[ ]?,[ ]?-?[0-9]{1,3}\.[0-9]{4,15}", _on_earth),
        shape("GEO", r"-?[0-9]{1,3}\.[0-9]{3,15}", lambda c: abs(float(c)) <= 180, words=_PLACE),
    ),
    either(
        "IMEI",
        shape("IMEI", r"[0-9]{2}[ \-][0-9]{6}[ \-][0-9]{6}[ \-][0-9]{1,2}", _imei),
        shape("IMEI", r"[0-9]{14,16}", _imei, words=_IMEI),
    ),
    shape(
        "US_ABA",
        r"[0-9]{4}-?[0-9]{4}-?[0-9]",
        stdnum("us.rtn"),
        words=Words("aba", "routing", "routing number", "bank routing", "transit number", "rtn"),
    ),
    shape(
        "US_BANK_ACCOUNT",
        r"[0-9]{6,17}",
        words=Words(
            "bank account",
            "account number",
            "account no",
            "acct",
            "acct number",
            "checking account",
            "savings account",
            "bank",
        ),
    ),
    shape(
        "BIC",
        r"[A-Z]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?",
        stdnum("bic"),
        words=Words("bic", "swift", "swift code", "bank code"),
    ),
    shape("VIN", r"[A-HJ-NPR-Z0-9]{17}", stdnum("vin"), words=Words("vin", "vehicle identification", "chassis")),
    shape(
        "UK_POSTCODE",
        r"(?:GIR ?0AA|[A-Z]{1,2}[0-9][A-Z0-9]? ?[0-9][ABD-HJLNP-UW-Z]{2})",
        words=Words("postcode", "post code", "postal code", "address", "zip"),
    ),
    shape("US_ZIP", r"[0-9]{5}-[0-9]{4}", words=Words("zip", "zip code", "zipcode", "postal code", "address")),
)
