"""Tenant keys -> bytes that may lie in the database: AES-256-GCM under a key that lies in a file of this server.

Who reads the database alone (a backup, an injection) cannot turn tokens back by trying values. Tenant and epoch are
authenticated with the key, so a row that was moved to another tenant does not open.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from control_plane.foundation.errors import DependencyUnavailable
from control_plane.foundation.identifiers import TenantId

KEY_BYTES: Final = 32
_NONCE: Final = 12  # bytes, NIST SP 800-38D, 8.2; random is safe for far more keys than there are tenants
_OTHERS: Final = 0o077


class BadWrappingKey(Exception):
    """The key file cannot be trusted or read; the text says what to do."""


class KeyWrapper:
    """Built in `bootstrap` with the key of `load_or_make_wrapping_key`."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise BadWrappingKey(f"expected {KEY_BYTES} bytes, got {len(key)}")
        self._cipher = AESGCM(key)

    def wrap(self, tenant: TenantId, epoch: int, key: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, key, _about(tenant, epoch))

    def unwrap(self, tenant: TenantId, epoch: int, wrapped: bytes) -> bytes:
        """Raises DependencyUnavailable when another key wrapped it: the plan is refused, nothing goes unhashed."""
        try:
            return self._cipher.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], _about(tenant, epoch))
        except InvalidTag as error:
            raise DependencyUnavailable(
                f"the masking key of tenant {tenant} (epoch {epoch}) cannot be opened with this server's wrapping key: "
                "restore the file masking-wrap.key that was in use when it was made",
                code="masking_key_unavailable",
            ) from error


def load_or_make_wrapping_key(path: Path) -> bytes:
    """32 bytes in hex in a file that only its owner can read; made at the first start. Raises BadWrappingKey."""
    if not path.exists():
        _make(path)
    if path.stat().st_mode & _OTHERS:
        raise BadWrappingKey(f"{path} can be read by others: `chmod 600 {path}`, if nobody else has read it")
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError as error:
        raise BadWrappingKey(f"{path}: expected {KEY_BYTES} bytes in hex: {error}") from error
    if len(key) != KEY_BYTES:
        raise BadWrappingKey(f"{path}: expected {KEY_BYTES} bytes in hex, got {len(key)}")
    return key


def _make(path: Path) -> None:
    """Written whole under another name, then linked: of two servers that start at once, both get the same key."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_bytes(KEY_BYTES).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(fresh)
    except FileExistsError:
        return
    finally:
        fresh.unlink()


def _about(tenant: TenantId, epoch: int) -> bytes:
    return f"probegate/masking-key/v1/{tenant}/{epoch}".encode()
