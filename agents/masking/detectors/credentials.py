"""Secrets by where they stand: PEM blocks, authorization headers, URLs, connection strings, `name = value`.

A value behind a name like `password` is hidden whatever it is; behind one like `token` when it looks made by a machine.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Final

from agents.masking.detectors.model import Detector, Span
from agents.masking.patterns import compiled

MIN_SECRET: Final = 6  # characters behind `token=`; shorter ones are states and counts
MIN_ENTROPY: Final = 2.3  # bits a character: `aaaaaaaa` and `********` are no secrets, words hardly

_PEM: Final = r"-----BEGIN [A-Z0-9 ]{0,40}(?:PRIVATE KEY|CERTIFICATE|PGP MESSAGE)[A-Z ]{0,10}-----"
_PEM_END: Final = r"-----END [A-Z0-9 ]{0,60}-----"
_HEADER: Final = r"(?i:\b(bearer|basic|digest|negotiate|token|apikey|apitoken)) +([0-9A-Za-z_\-.~+/]{8,}=*)"
_URL: Final = r"[A-Za-z][A-Za-z0-9+.\-]{1,30}://([^\s/:@?#\"'<>]*):([^\s/@\"'<>]+)@"
_NAMES: Final = (
    r"pass(?:word|wd|phrase|code)?|pwd|passwd|pw|pin(?:[_\-]?code)?|cvv2?|cvc2?|secret|token|api[_\-]?key|apikey|access[_\-]?key|"
    r"private[_\-]?key|secret[_\-]?key|signing[_\-]?key|encryption[_\-]?key|master[_\-]?key|account[_\-]?key|auth|authorization|"
    r"credentials?|client[_\-]?secret|session(?:[_\-]?id)?|sid|csrf|xsrf|cookie|otp|mnemonic|seed[_\-]?phrase|dsn"
)
_PAIR: Final = rf"(?i:([0-9a-z_\-]{{0,40}}?(?:{_NAMES})))(?:[\\\"'\])]{{0,4}}\s{{0,3}}(?::=|=>|[:=])\s{{0,3}})"
_QUOTED: Final = r"(\\{0,3}[\"'])([^\"'\\]+)"
_PLAIN: Final = r"[^\s\"'&;,<>(){}\[\]|\\]+"
_ALWAYS: Final = (
    "password", "passwd", "passphrase", "passcode", "pwd", "pass", "pw", "pin", "pincode", "pin_code", "pin-code", "cvv", "cvv2",
    "cvc", "cvc2", "otp", "mnemonic", "seedphrase", "seed_phrase", "seed-phrase",
)  # fmt: skip
_NEVER: Final = frozenset(
    {
        "null",
        "none",
        "nil",
        "true",
        "false",
        "undefined",
        "string",
        "int",
        "",
        "<nil>",
        "xxx",
        "required",
        "basic",
        "bearer",
    }
)
_TRIGGER_NAMES: Final = r"(?i)(?:pass(?:word|wd|phrase|code)?|pwd|pw|secret|token|key|auth|authorization|credentials?|session(?:[_\-]?id)?|sid|csrf|xsrf|cookie|otp|pin|code|cvv2?|cvc2?|mnemonic|phrase|dsn)[\\\"'\])]{0,4}\s{0,3}(?::=|=>|[:=])"


def _pem(text: str, _vouched: bool) -> Iterator[Span]:
    for begin in compiled(_PEM).finditer(text):
        if "CERTIFICATE" in begin.group():
            continue
        ends = [end.end() for end in compiled(_PEM_END).finditer(text) if end.start() >= begin.end()]
        yield Span(begin.start(), ends[0] if ends else len(text), "PRIVATE_KEY")


def _header(text: str, _vouched: bool) -> Iterator[Span]:
    for match in compiled(_HEADER).finditer(text):
        scheme, value = match.group(1).lower(), match.group(2)
        if scheme in {"token", "digest"} and (len(value) < 16 or not _looks_made(value)):
            continue
        if scheme in {"basic", "bearer", "negotiate"} and (word := value.rstrip("./-")).isalpha() and word.islower():
            continue  # "basic training"
        yield Span(
            match.start(2), match.end(2), {"basic": "BASIC_AUTH", "bearer": "BEARER_TOKEN"}.get(scheme, "SECRET")
        )


def _url(text: str, _vouched: bool) -> Iterator[Span]:
    for match in compiled(_URL).finditer(text):
        yield Span(match.start(2), match.end(2), "PASSWORD")


def _pair(text: str, _vouched: bool) -> Iterator[Span]:
    for match in compiled(_PAIR).finditer(text):
        name, at = match.group(1), match.end()
        if not _names_a_secret(name):
            continue
        if quoted := compiled(_QUOTED).match(text, at):
            start, end = quoted.start(2), quoted.end(2)
        elif plain := compiled(_PLAIN).match(text, at):
            start, end = plain.start(), plain.end()
        else:
            continue
        value = text[start:end]
        always = name.lower().endswith(_ALWAYS)
        if value.strip().lower() in _NEVER or value.startswith(("<", "${", "{{")):
            continue
        if always or (len(value) >= MIN_SECRET and _looks_made(value)):
            yield Span(start, end, "PASSWORD" if always else "SECRET")


def _names_a_secret(name: str) -> bool:
    """`author` and `monkey` are cut by what stands before; a name that ends in one of the words is one."""
    return not name.lower().endswith(("author", "compass", "bypass", "monkey", "passenger"))


def _looks_made(value: str) -> bool:
    """Whether letters are spread as a machine spreads them, or digits stand among them."""
    counts = Counter(value)
    entropy = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    mixed = any(c.isdigit() for c in value) or (any(c.isupper() for c in value) and any(c.islower() for c in value))
    return entropy >= MIN_ENTROPY and (mixed or len(value) >= 16)


DETECTORS: Final[tuple[Detector, ...]] = (
    Detector("PRIVATE_KEY", r"-----BEGIN ", _pem),
    Detector(
        "BEARER_TOKEN", r"(?i)\b(?:bearer|basic|digest|negotiate|token|apikey|apitoken) +[0-9A-Za-z_\-.~+/]{8}", _header
    ),
    Detector("PASSWORD", r"://[^\s/:@?#\"'<>]*:[^\s/@\"'<>]+@", _url),
    Detector("SECRET", _TRIGGER_NAMES, _pair),
)
