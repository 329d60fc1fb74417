"""A file with an Ed25519 private key, 32 raw bytes in hex -> the key; made at the first start, readable by its owner only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_OTHERS: Final = 0o077


class BadKeyFile(Exception):
    """The file cannot be trusted or read; the text says what to do."""


def load_or_make_ed25519(path: Path) -> Ed25519PrivateKey:
    """Raises BadKeyFile."""
    if not path.exists():
        _make(path)
    if path.stat().st_mode & _OTHERS:
        raise BadKeyFile(
            f"{path} can be read by others: `chmod 600 {path}`, or make a new key if they may have done so"
        )
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text(encoding="ascii").strip()))
    except ValueError as error:
        raise BadKeyFile(f"{path}: expected 32 bytes in hex: {error}") from error


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Written whole under another name and then linked: of two servers starting at once, both get the same key.
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(Ed25519PrivateKey.generate().private_bytes_raw().hex() + "\n")
        os.link(fresh, path)
    except FileExistsError:
        return
    finally:
        fresh.unlink()
