"""An Ed25519 private key in a file: 64 hex digits, mode 0600, made on the first start.

Enters: a path in the state directory (or from the settings). Leaves: the key. The spec key, the audit key and others
are kept so, each in its own file. A file that others can read is refused: the key in it may be known to somebody.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_DIGITS: Final = 64  # 32 bytes, RFC 8032
_OTHERS: Final = 0o077


class BadKeyFile(Exception):
    """The file cannot be used: what is wrong, and what to do."""


class KeyFile:
    def __init__(self, path: Path) -> None:
        self._path = path

    def load_or_create(self) -> Ed25519PrivateKey:
        """The key; a new one when there is no file yet. Two starts at the same time get the same one. Raises BadKeyFile."""
        try:
            return self.load()
        except FileNotFoundError:
            self._create(Ed25519PrivateKey.generate())
            return self.load()
        except OSError as error:
            raise BadKeyFile(f"{self._path} cannot be read: {error}") from error

    def load(self) -> Ed25519PrivateKey:
        """Raises FileNotFoundError, BadKeyFile."""
        with self._path.open(encoding="ascii", errors="replace") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            text = file.read(4 * _DIGITS)
        if mode & _OTHERS:
            raise BadKeyFile(
                f"{self._path} holds a private key and has mode {mode:04o}: others may have read it; make a new key, "
                f"or, if it is surely known to nobody else, chmod 600 {self._path}"
            )
        try:
            raw = bytes.fromhex(text.strip())
        except ValueError:
            raw = b""
        if len(raw) * 2 != _DIGITS:
            raise BadKeyFile(f"{self._path} must hold an Ed25519 private key as {_DIGITS} hex digits and nothing else")
        return Ed25519PrivateKey.from_private_bytes(raw)

    def _create(self, key: Ed25519PrivateKey) -> None:
        """Write beside and link into place, so that nobody ever sees half a key and the first of two writers wins."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        half = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(key.private_bytes_raw().hex() + "\n")
                file.flush()
                os.fsync(file.fileno())
            self._path.hardlink_to(half)
        except FileExistsError:
            pass
        except OSError as error:
            raise BadKeyFile(f"{self._path} cannot be written: {error}") from error
        finally:
            half.unlink(missing_ok=True)
