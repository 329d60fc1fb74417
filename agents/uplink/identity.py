"""Who this agent is: its key, certificate, CA and the keys that specs must be signed by, in one file of mode 0600.

`enrolment` makes one, this module keeps it over restarts. The private key is made here and never leaves the host.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import NameOID
from wire.dsse import key_id
from wire.identity import agent_uri
from wire.v1 import gateway_pb2

MAX_SPEC_KEYS: Final = 8  # a rotation needs two
FILE: Final = "identity.json"


class BadIdentity(Exception):
    """What came from the gateway, or what the state directory holds, is no identity that this agent can use."""


@dataclass(frozen=True)
class AgentIdentity:
    """Proves: the certificate is for this key and names this agent. Minted by `accepted` and `IdentityStore.load`."""

    agent_id: str
    tenant: str
    certificate: bytes  # PEM chain, leaf first
    key: bytes  # PEM, PKCS 8
    ca: bytes  # PEM: what the gateway is trusted by
    spec_keys: Mapping[str, Ed25519PublicKey]  # by key id; pinned when the agent enrolled
    renew_after: datetime

    @property
    def spiffe_id(self) -> str:
        return agent_uri(self.agent_id)

    @property
    def valid_until(self) -> datetime:
        return _leaf(self.certificate).not_valid_after_utc


class KeyRequest:
    """A new key and the certificate request for it. Who it is for, the gateway decides."""

    def __init__(self, hostname: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64] or "agent")])  # ub-common-name
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(self._key, hashes.SHA256())
        self.csr = request.public_bytes(serialization.Encoding.DER)

    def accepted(
        self, response: gateway_pb2.EnrollResponse, pinned: Mapping[str, Ed25519PublicKey] | None = None
    ) -> AgentIdentity:
        """The identity that the gateway's answer makes. `pinned`: keep these spec keys (a renewal changes none).

        Raises BadIdentity.
        """
        certificate = _leaf(response.certificate)
        if certificate.public_key() != self._key.public_key():
            raise BadIdentity("the gateway's certificate is for another key than this agent's")
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            uris = names.get_values_for_type(x509.UniformResourceIdentifier)
            expected = agent_uri(response.agent_id)
        except (x509.ExtensionNotFound, ValueError) as error:
            raise BadIdentity(f"the gateway's certificate names no agent: {error}") from error
        if uris != [expected]:
            raise BadIdentity(f"the gateway's certificate names {uris}, its answer names {expected}")
        if not response.tenant or not response.ca:
            raise BadIdentity("the gateway's answer has no tenant or no CA")
        return AgentIdentity(
            agent_id=response.agent_id,
            tenant=response.tenant,
            certificate=response.certificate,
            key=self._key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            ca=response.ca,
            spec_keys=pinned if pinned is not None else _spec_keys(response),
            renew_after=_renew_after(response, certificate),
        )


class IdentityStore:
    """The file in the agent's state directory."""

    def __init__(self, state: Path) -> None:
        self._path = state / FILE

    def load(self) -> AgentIdentity | None:
        """None when the agent has not enrolled yet. Raises BadIdentity for a file that is damaged or readable by others."""
        try:
            mode = self._path.stat().st_mode & 0o077
            text = self._path.read_text()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BadIdentity(f"{self._path} cannot be read: {error}") from error
        if mode:
            raise BadIdentity(f"{self._path} holds a private key and others may read it: chmod 600 {self._path}")
        try:
            kept = json.loads(text)
            return AgentIdentity(
                agent_id=kept["agent_id"],
                tenant=kept["tenant"],
                certificate=kept["certificate"].encode(),
                key=kept["key"].encode(),
                ca=kept["ca"].encode(),
                spec_keys=_by_id(base64.b64decode(raw) for raw in kept["spec_keys"]),
                renew_after=datetime.fromisoformat(kept["renew_after"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadIdentity(
                f"{self._path} is damaged ({error}): remove it and start again with --join-token"
            ) from error

    def save(self, identity: AgentIdentity) -> None:
        """Replace it at once: a crash leaves the old one or the new one. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        half = self._path.with_suffix(".new")
        half.unlink(missing_ok=True)
        kept = {
            "agent_id": identity.agent_id,
            "tenant": identity.tenant,
            "certificate": identity.certificate.decode(),
            "key": identity.key.decode(),
            "ca": identity.ca.decode(),
            "spec_keys": [base64.b64encode(key.public_bytes_raw()).decode() for key in identity.spec_keys.values()],
            "renew_after": identity.renew_after.isoformat(),
        }
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(kept, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        half.rename(self._path)


def _leaf(chain: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(chain)[0]
    except ValueError as error:
        raise BadIdentity(f"the gateway's answer holds no certificate: {error}") from error


def _spec_keys(response: gateway_pb2.EnrollResponse) -> Mapping[str, Ed25519PublicKey]:
    if not 0 < len(response.spec_keys) <= MAX_SPEC_KEYS:
        raise BadIdentity(f"the gateway named {len(response.spec_keys)} spec keys, expected 1 to {MAX_SPEC_KEYS}")
    try:
        keys = _by_id(key.ed25519 for key in response.spec_keys)
    except ValueError as error:
        raise BadIdentity(f"a spec key is no Ed25519 key: {error}") from error
    if set(keys) != {key.key_id for key in response.spec_keys}:
        raise BadIdentity("the gateway names a spec key by an id that is not its own")
    return keys


def _by_id(raw_keys: Iterable[bytes]) -> Mapping[str, Ed25519PublicKey]:
    keys = (Ed25519PublicKey.from_public_bytes(raw) for raw in raw_keys)
    return {key_id(key): key for key in keys}


def _renew_after(response: gateway_pb2.EnrollResponse, certificate: x509.Certificate) -> datetime:
    """What the gateway says; two thirds of the certificate's life when it says nothing or something after its end."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if response.HasField("renew_after"):
        said = datetime.fromtimestamp(response.renew_after.seconds, UTC)
        if said < end:
            return said
    return start + (end - start) * 2 / 3
