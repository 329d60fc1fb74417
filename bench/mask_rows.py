"""Rows to mask: what services pass around, a tenth of it personal; and labelled sentences to judge both sides by."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SETS: Final = "PROBEGATE_PII_SETS"  # a folder of labelled sets (*.jsonl) to judge by besides our own sentences
KINDS: Final = {
    "CREDIT_CARD": "CARD", "EMAIL_ADDRESS": "EMAIL", "IBAN_CODE": "IBAN", "IP_ADDRESS": "IP", "MAC_ADDRESS": "MAC",
    "PHONE_NUMBER": "PHONE", "US_SSN": "US_SSN",
}  # fmt: skip
_NOUNS: Final = ("order", "user", "cart", "checkout", "payment", "ship", "item", "service", "frontend", "query", "node")
_FRAMES: Final = (
    "please update {} in my file", "we have {} on record since May", "{}", "value={} status=ok", "the customer said: {}.",
    '{{"note": "{}"}}', "reply to {} before noon", "({}) was rejected",
)  # fmt: skip


@dataclass(frozen=True)
class Labelled:
    text: str
    spans: tuple[tuple[int, int, str], ...]


def mixed(count: int, share: float, seed: int = 7) -> list[str]:
    """Distinct texts of 20 to 80 characters; this share of them holds one entity."""
    chance = random.Random(seed)
    return [_personal(chance, n) if chance.random() < share else _ordinary(chance, n) for n in range(count)]


def labelled() -> list[Labelled]:
    """Generated sentences of the kinds that both sides know, and the sets of the folder that the environment names."""
    return [*_generated(random.Random(11), 700), *_from_folder()]


def _hex(chance: random.Random, length: int) -> str:
    return "".join(chance.choice("0123456789abcdef") for _ in range(length))


def _ordinary(chance: random.Random, n: int) -> str:
    noun = chance.choice(_NOUNS)
    return chance.choice(
        (
            f"/api/v1/{noun}s/{n}/details?page={chance.randrange(99)}&size=20",
            f"SELECT id, name FROM {noun}s WHERE id = {n} LIMIT 10",
            f'{{"{noun}":{n},"state":"ok","count":{chance.randrange(999)}}}',
            f"github.com/acme/{noun}/internal/store.(*Server).Handle{n}",
            _hex(chance, 32),
            f"{noun}-{_hex(chance, 10)}-{_hex(chance, 5)}.default.svc.cluster.local {n}",
            f"handled {noun} in {chance.randrange(999)} ms with code 200 #{n}",
        )
    )


def _personal(chance: random.Random, n: int) -> str:
    kind = chance.choice((*_MAKERS, "SECRET"))
    if kind == "SECRET":
        return f"login user={chance.choice(_NOUNS)}{n}&password={_hex(chance, 12)}&x=1"
    return f"{chance.choice(_NOUNS)} {n} of {_MAKERS[kind](chance)} accepted"


def _card(chance: random.Random) -> str:
    digits = chance.choice(("4", "51", "55")) + "".join(str(chance.randrange(10)) for _ in range(14))
    digits = digits[:15]
    return digits + next(check for check in "0123456789" if _luhn(digits + check))


def _luhn(digits: str) -> bool:
    doubled = (int(d) * (2 - position % 2) for position, d in enumerate(digits[-2::-1]))
    return (int(digits[-1]) + sum(d - 9 if d > 9 else d for d in doubled)) % 10 == 0


def _iban(chance: random.Random) -> str:
    account = "".join(str(chance.randrange(10)) for _ in range(18))
    check = 98 - int(account + "131400") % 97  # DE00
    return f"DE{check:02d}{account}"


_MAKERS: Final = {
    "CARD": _card,
    "IBAN": _iban,
    "EMAIL": lambda c: f"{c.choice(_NOUNS)}.{c.randrange(9999)}@example.{c.choice(('com', 'org', 'co.uk'))}",
    "IP": lambda c: ".".join(str(c.randrange(1, 255)) for _ in range(4)),
    "MAC": lambda c: ":".join(_hex(c, 2) for _ in range(6)),
    "US_SSN": lambda c: f"{c.randrange(100, 665)}-{c.randrange(10, 99)}-{c.randrange(1000, 9999)}",
    "PHONE": lambda c: f"+49 30 {c.randrange(200000, 999999)}{c.randrange(10)}",
}


def _generated(chance: random.Random, count: int) -> Iterator[Labelled]:
    for n in range(count):
        kind = list(_MAKERS)[n % len(_MAKERS)]
        entity, frame = _MAKERS[kind](chance), chance.choice(_FRAMES)
        start = frame.replace("{{", "{").index("{}")
        yield Labelled(frame.format(entity), ((start, start + len(entity), kind),))
        if n % 3 == 0:
            yield Labelled(_ordinary(chance, n), ())


def _from_folder() -> Iterator[Labelled]:
    folder = os.environ.get(SETS, "")
    if not folder:
        print(f"mask: no labelled sets ({SETS} is not set); judged by generated sentences only")
        return
    for line in (Path(folder) / "presidio_generated_small.jsonl").read_text().splitlines():
        row = json.loads(line)
        yield Labelled(row["text"], tuple((a, b, KINDS[kind]) for a, b, kind in row["spans"] if kind in KINDS))
    for line in (Path(folder) / "presidio_unit.jsonl").read_text().splitlines():
        row = json.loads(line)
        kinds = [KINDS[kind] for kind in row["entities"] if kind in KINDS]
        kinds = kinds or (["PHONE"] if "phone_recognizer" in row["file"] and not row["entities"] else [])
        if kinds and len(row["spans"]) == row["n"]:
            yield Labelled(row["text"], tuple((a, b, kinds[0]) for a, b in row["spans"]))
