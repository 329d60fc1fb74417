"""The certificates of the gateway and its agents: one CA in the state directory, short lives, no list of revoked ones.

Enters: an agent's request for a certificate, of which only the public key counts. Leaves: a certificate for 24 hours
whose one name is the agent's SPIFFE id. Who may have one is `enrolment`'s business; a revoked agent is refused at every
call (`gateway`) until its certificate ends by itself. Only this module makes certificates.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from wire.identity import ENROLL_SERVER_NAME, GATEWAY_SERVER_NAME, agent_uri

from control_plane.foundation.clock import Clock
from control_plane.foundation.errors import Invalid
from control_plane.foundation.identifiers import AgentId

CA_LIFE: Final = timedelta(days=3650)  # a join token pins it; a new one means enrolling every agent again
SERVER_LIFE: Final = timedelta(days=30)  # made anew at every start, and before it ends
AGENT_LIFE: Final = timedelta(hours=24)  # so long can a stolen one be used against a gateway that knows no better
BACKDATE: Final = timedelta(minutes=5)  # clocks differ; more than that is refused by the agents anyway
MAX_REQUEST: Final = 16 * 1024  # bytes; a P-256 request has some 250
_CURVES: Final = ("secp256r1", "secp384r1")  # what every TLS stack signs with

_SERVER_NAMES: Final = (GATEWAY_SERVER_NAME, ENROLL_SERVER_NAME)


@dataclass(frozen=True)
class AgentCertificate:
    chain: bytes  # PEM, leaf first
    serial: str
    not_after: datetime
    renew_after: datetime  # half of its life is left then


@dataclass(frozen=True)
class ServerCertificate:
    key: bytes  # PEM
    chain: bytes  # PEM, leaf first, the CA last: agents find the CA in it by the hash in their join token
    not_after: datetime
    renew_after: datetime


class CertificateAuthority:
    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, clock: Clock) -> None:
        self._key = key
        self._certificate = certificate
        self._clock = clock

    @property
    def pem(self) -> bytes:
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def sha256(self) -> str:
        """Of the certificate's DER in hex: the second half of a join token."""
        return hashlib.sha256(self._certificate.public_bytes(serialization.Encoding.DER)).hexdigest()

    def issue_agent(self, agent: AgentId, request: bytes) -> AgentCertificate:
        """For the public key in the request (DER); every name in it is ignored. Raises Invalid."""
        key = _requested_key(request)
        uri = x509.UniformResourceIdentifier(agent_uri(agent))
        made = self._sign(key, agent, [uri], ExtendedKeyUsageOID.CLIENT_AUTH, AGENT_LIFE)
        chain = made.public_bytes(serialization.Encoding.PEM) + self.pem
        start, end = made.not_valid_before_utc, made.not_valid_after_utc
        return AgentCertificate(chain, f"{made.serial_number:x}", end, start + (end - start) / 2)

    def issue_server(self, more_names: Sequence[str] = ()) -> ServerCertificate:
        """For the names of `wire.identity`, and more host names or addresses if wanted. Raises ValueError."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [_host(name) for name in (*_SERVER_NAMES, *more_names)]
        made = self._sign(key.public_key(), GATEWAY_SERVER_NAME, names, ExtendedKeyUsageOID.SERVER_AUTH, SERVER_LIFE)
        start, end = made.not_valid_before_utc, made.not_valid_after_utc
        chain = made.public_bytes(serialization.Encoding.PEM) + self.pem
        return ServerCertificate(_key_pem(key), chain, end, start + (end - start) / 2)

    def _sign(
        self,
        key: CertificatePublicKeyTypes,
        name: str,
        alternatives: Sequence[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        life: timedelta,
    ) -> x509.Certificate:
        now = self._clock.now()
        end = min(now + life, self._certificate.not_valid_after_utc)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )


class BadAuthority(Exception):
    """The files of the CA cannot be used: what is wrong, and what to do."""


def load_or_create(directory: Path, clock: Clock) -> CertificateAuthority:
    """The CA in `ca.key` and `ca.pem`; a new one when there is neither. Raises BadAuthority."""
    key_path, certificate_path = directory / "ca.key", directory / "ca.pem"
    try:
        if not key_path.exists() and not certificate_path.exists():
            _create(directory, key_path, certificate_path, clock)
        if key_path.stat().st_mode & 0o077:
            raise BadAuthority(f"{key_path} is readable by others: whoever has it can make agents; make a new CA")
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadAuthority(f"the CA in {directory} cannot be read ({error}): put both files back") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        raise BadAuthority(f"{certificate_path} is not the certificate of {key_path}: put the matching file back")
    return CertificateAuthority(key, certificate, clock)


def _create(directory: Path, key_path: Path, certificate_path: Path, clock: Clock) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Probegate agents CA")])
    now = clock.now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(key_path, _key_pem(key), 0o600)
    _write(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _requested_key(request: bytes) -> CertificatePublicKeyTypes:
    if len(request) > MAX_REQUEST:
        raise Invalid(f"a certificate request has at most {MAX_REQUEST} bytes, {len(request)} came")
    try:
        parsed = x509.load_der_x509_csr(request)
        key, proved = parsed.public_key(), parsed.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid(f"the certificate request (DER, PKCS 10) cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise Invalid(f"the key in a certificate request must be on one of {', '.join(_CURVES)}")
    if not proved:
        raise Invalid("the certificate request is not signed by its own key")
    return key


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
