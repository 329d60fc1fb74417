"""Records with secrets planted in every place where a value can hide, and every form in which one could come out again.

Made up for a seed; nothing is anybody's. `needles` of a secret are what must appear nowhere behind masking.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import pyarrow as pa

_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0123456789"
_ORDINARY: Final = ("order 17 of cart", "EUR", "", "GET /healthz 200", "pod checkout-7d9f8b6c5-x2x4z", "retry in 30s")


@dataclass(frozen=True)
class Secret:
    """`text` as it is written; `number` when an integer can hold it."""

    text: str
    number: int | None = None

    @property
    def needles(self) -> frozenset[bytes]:
        plain = self.text.encode()
        bare = "".join(c for c in self.text if c.isalnum() or c in "@._%").encode()
        quoted = quote(self.text, safe="").encode()
        found = {plain, bare, quoted, quote(quote(self.text)).encode(), plain.hex().encode()}
        for shift in range(3):  # base64 of a longer text has one of three forms; its ends depend on what stands around
            encoded = base64.b64encode(b"\0" * shift + plain)
            middle = encoded[-(-shift * 8 // 6) + 1 : len(encoded) - 4]
            found.add(middle)
        if self.number is not None:
            found |= {self.number.to_bytes(8, "little"), str(self.number).encode(), f"{self.number:x}".encode()}
        found |= {needle.hex().encode() for needle in found}  # as bytes are shown
        return frozenset(needle for needle in found if len(needle) >= 6)


def secret(chance: random.Random) -> Secret:
    return chance.choice(_MAKERS)(chance)


def text_with(chance: random.Random, planted: Secret) -> str:
    """A text that carries it, in one of the ways in which texts carry each other."""
    return chance.choice(_CARRIERS)(planted.text)


def column(chance: random.Random, planted: Secret, rows: int = 3) -> tuple[str, pa.Array]:
    """A shape's name and a column of that shape with the secret somewhere in it."""
    shape = chance.choice(list(_SHAPES))
    values = [_SHAPES[shape](chance, planted) if row == rows // 2 else None for row in range(rows)]
    return shape, _arrays(shape, values)


def _digits(chance: random.Random, count: int) -> str:
    return "".join(str(chance.randrange(10)) for _ in range(count))


def _word(chance: random.Random, length: int, letters: str = _LETTERS) -> str:
    return "".join(chance.choice(letters) for _ in range(length))


def _card(chance: random.Random) -> Secret:
    body = chance.choice(("4", "51", "55", "2221"))
    body += _digits(chance, 15 - len(body))
    doubled = [int(d) * (2 if position % 2 == 0 else 1) for position, d in enumerate(reversed(body))]
    check = -sum(d - 9 if d > 9 else d for d in doubled) % 10
    digits = f"{body}{check}"
    separator = chance.choice(("", " ", "-"))
    written = separator.join(digits[at : at + 4] for at in range(0, 16, 4))
    return Secret(written, int(digits))


def _iban(chance: random.Random) -> Secret:
    account = _digits(chance, 18)
    return Secret(f"DE{98 - int(account + '131400') % 97:02d}{account}")


def _mail(chance: random.Random) -> Secret:
    return Secret(
        f"{_word(chance, 8).lower()}.{_word(chance, 6).lower()}@example.{chance.choice(('com', 'org', 'io'))}"
    )


def _ssn(chance: random.Random) -> Secret:
    return Secret(f"{chance.randrange(100, 666)}-{chance.randrange(10, 99)}-{chance.randrange(1000, 9999)}")


def _token(chance: random.Random) -> Secret:
    return Secret(f"ghp_{_word(chance, 36)}")


def _key(chance: random.Random) -> Secret:
    return Secret("AKIA" + _word(chance, 16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))


_MAKERS: Final[tuple[Callable[[random.Random], Secret], ...]] = (_card, _iban, _mail, _ssn, _token, _key)

_CARRIERS: Final[tuple[Callable[[str], str], ...]] = (
    lambda s: s,
    lambda s: f"no funds on {s}: declined",
    lambda s: json.dumps({"order": {"buyer": {"note": s}}}),
    lambda s: json.dumps({"inner": json.dumps({"note": f"of {s}"})}),
    lambda s: f"https://shop.test/find?q={quote(s, safe='')}&page=2",
    lambda s: f"https://shop.test/find?next={quote('/x?q=' + quote(s, safe=''), safe='')}",
    lambda s: f"https://shop.test/users/{quote(s, safe='')}/orders",
    lambda s: f"INSERT INTO notes (id, note) VALUES (17, '{s}')",
    lambda s: f"id=17&note={quote(s, safe='')}&x=1",
    lambda s: base64.b64encode(f"the note says {s} twice".encode()).decode(),
    lambda s: f"payload {base64.b64encode(f'note={s};'.encode()).decode()} end",
    lambda s: f"the note says {s} twice".encode().hex(),
    lambda s: f"\u200bnote\u00a0{s}\u200b",
    lambda s: f"note\0{s}\0",
    lambda s: f'rpc error: code = Internal desc = "bad value \\"{s}\\""',
)


def _box(chance: random.Random, planted: Secret) -> dict[str, str]:
    """A Go interface value: its type, and JSON that decoding wrote."""
    text = text_with(chance, planted)
    held: Any = chance.choice(
        (
            text,
            {"a": {"b": [1, text]}},
            [["k", text], [text, 1]],
            {"type": "*errors.errorString", "value": text},
            {"n": planted.number or text},
        )
    )
    return {"type": "*shop.T", "value": json.dumps(held)}


_SHAPES: Final[Mapping[str, Callable[[random.Random, Secret], Any]]] = {
    "text": text_with,
    "bytes": lambda c, s: text_with(c, s).encode(),
    "integer": lambda c, s: s.number if s.number is not None else c.randrange(10**6),
    "float": lambda c, s: float(s.number) if s.number is not None else 2.5,
    "items": lambda c, s: [c.choice(_ORDINARY), text_with(c, s), None],
    "record": lambda c, s: {"id": 1, "inner": {"note": text_with(c, s), "count": s.number or 3}},
    "keys": lambda c, s: [(s.text, "v"), ("k", c.choice(_ORDINARY))],
    "values": lambda c, s: [("k", text_with(c, s))],
    "box": _box,
}
_TYPES: Final[Mapping[str, pa.DataType]] = {
    "text": pa.string(),
    "bytes": pa.binary(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "items": pa.list_(pa.string()),
    "record": pa.struct([("id", pa.int64()), ("inner", pa.struct([("note", pa.string()), ("count", pa.int64())]))]),
    "keys": pa.map_(pa.string(), pa.string()),
    "values": pa.map_(pa.string(), pa.string()),
    "box": pa.struct([pa.field("type", pa.string()), pa.field("value", pa.string(), metadata={"encoding": "json"})]),
}


def _arrays(shape: str, values: list[Any]) -> pa.Array:
    return pa.array(values, _TYPES[shape])
