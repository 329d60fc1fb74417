"""Addresses of crypto currencies: Bitcoin (base58check, bech32), Ethereum (0x and 40 hex digits)."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from agents.masking.detectors.model import Detector
from agents.masking.detectors.shapes import shape

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)  # BIP 173
_CONSTANTS: Final = (1, 0x2BC830A3)  # bech32 (BIP 173), bech32m (BIP 350)


def _bitcoin(candidate: str) -> bool:
    return _base58check(candidate) if candidate[0] in "13" else _bech32(candidate)


def _base58check(candidate: str) -> bool:
    number = 0
    for character in candidate:
        number = number * 58 + _BASE58.index(character)
    raw = number.to_bytes(25, "big") if number < 1 << 200 else b""
    return bool(raw) and sha256(sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]


def _bech32(candidate: str) -> bool:
    text = candidate.lower()
    if candidate not in {text, text.upper()}:
        return False
    prefix, _, rest = text.rpartition("1")
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + [_BECH32.index(c) for c in rest]
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATORS):
            check ^= generator if top >> bit & 1 else 0
    return check in _CONSTANTS


DETECTORS: Final[tuple[Detector, ...]] = (
    shape(
        "BITCOIN_ADDRESS",
        r"[13][1-9A-HJ-NP-Za-km-z]{25,34}|(?i:bc1)[02-9ac-hj-np-zAC-HJ-NP-Z]{11,71}",
        _bitcoin,
        trigger=r"[^0-9A-Za-z][13][1-9A-HJ-NP-Za-km-z]{25}|(?i:bc1)[02-9ac-hj-np-zAC-HJ-NP-Z]{11}",
    ),
    shape("ETHEREUM_ADDRESS", r"0x[0-9a-fA-F]{40}", trigger=r"0x[0-9a-fA-F]{40}"),
)
