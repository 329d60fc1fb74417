"""The CA in the state directory: made once, private, and never half of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from control_plane.delivery.pki import AGENT_LIFE, BACKDATE, BadAuthority, load_or_create
from control_plane.foundation.clock import ManualClock
from control_plane.foundation.identifiers import AgentId
from tests.builders.gateway import certificate_request

START = datetime(2026, 11, 24, tzinfo=UTC)


def test_every_start_finds_the_same_ca(tmp_path: Path) -> None:
    first, second = (load_or_create(tmp_path / "pki", ManualClock(START)) for _ in range(2))
    assert first.pem == second.pem
    assert len(first.sha256) == 64
    assert (tmp_path / "pki" / "ca.key").stat().st_mode & 0o777 == 0o600


def test_the_ca_signs_leaves_only(tmp_path: Path) -> None:
    ca = x509.load_pem_x509_certificate(load_or_create(tmp_path, ManualClock(START)).pem)
    limits = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (limits.critical, limits.value.ca, limits.value.path_length) == (True, True, 0)


@pytest.mark.parametrize("missing", ["ca.key", "ca.pem"])
def test_half_a_ca_is_refused_rather_than_made_anew(tmp_path: Path, missing: str) -> None:
    load_or_create(tmp_path, ManualClock(START))
    (tmp_path / missing).unlink()
    with pytest.raises(BadAuthority, match="put both files back"):
        load_or_create(tmp_path, ManualClock(START))


def test_a_ca_of_two_halves_is_refused(tmp_path: Path) -> None:
    load_or_create(tmp_path / "a", ManualClock(START))
    load_or_create(tmp_path / "b", ManualClock(START))
    (tmp_path / "a" / "ca.pem").write_bytes((tmp_path / "b" / "ca.pem").read_bytes())
    with pytest.raises(BadAuthority, match="is not the certificate of"):
        load_or_create(tmp_path / "a", ManualClock(START))


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    load_or_create(tmp_path, ManualClock(START))
    (tmp_path / "ca.key").chmod(0o644)
    with pytest.raises(BadAuthority, match="readable by others"):
        load_or_create(tmp_path, ManualClock(START))


def test_an_agent_s_certificate_is_short_lived_and_good_for_one_thing(tmp_path: Path) -> None:
    authority = load_or_create(tmp_path, ManualClock(START))
    request = certificate_request(ec.generate_private_key(ec.SECP256R1()))
    made = authority.issue_agent(AgentId("ag_1"), request)
    leaf = x509.load_pem_x509_certificates(made.chain)[0]
    assert leaf.not_valid_before_utc == START - BACKDATE
    assert leaf.not_valid_after_utc == made.not_after == START + AGENT_LIFE
    assert START + timedelta(hours=11) < made.renew_after < START + timedelta(hours=13)
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_certificate_does_not_outlive_its_ca(tmp_path: Path) -> None:
    clock = ManualClock(START)
    authority = load_or_create(tmp_path, clock)
    clock.advance(timedelta(days=3650) - timedelta(hours=1))
    request = certificate_request(ec.generate_private_key(ec.SECP256R1()))
    assert authority.issue_agent(AgentId("ag_1"), request).not_after == START + timedelta(days=3650)


def test_the_server_s_certificate_may_have_more_names(tmp_path: Path) -> None:
    made = load_or_create(tmp_path, ManualClock(START)).issue_server(("gw.example.com", "10.0.0.7"))
    leaf = x509.load_pem_x509_certificates(made.chain)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["gateway.probegate", "enroll.probegate", "gw.example.com"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("10.0.0.7")]
