"""A dry run is signed as what it is, for one agent and once; a host that does not say so allows none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from wire.dsse import DRY_RUN_PAYLOAD_TYPE, SPEC_PAYLOAD_TYPE, key_id, seal
from wire.v1 import spec_pb2

from agents.admission.model import AlreadyEnded, HostPolicy, RefusalReason, Refused
from agents.admission.seen_versions import SeenVersions
from agents.admission.service import Admission, Identity
from language import canonical
from language.model import At, Capture, LimitSpec, ProbeSpec, TargetSpec, Template

KEY = Ed25519PrivateKey.generate()
ME = Identity("acme", "spiffe://probegate/agent/ag_1")
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
TEMPLATE = Template(
    name="sums",
    description="",
    labels=(),
    parameters=(),
    target=TargetSpec(service="shop"),
    probe=ProbeSpec(function="shop/money.Sum", at=At.ENTRY, line=None, where=None, captures=(Capture("u", "l.Units"),)),
    table="sums",
    masking=(),
    limits=LimitSpec(ttl=timedelta(seconds=30), max_hits=10),
)


def run(template: Template = TEMPLATE) -> spec_pb2.DryRun:
    made = spec_pb2.DryRun(environment="staging")
    spec = made.spec
    spec.tracepoint_id, spec.version, spec.tenant, spec.name = "dry_1", 1, "acme", "dry run of sums"
    spec.audience.append(ME.spiffe_id)
    spec.template = canonical.to_bytes(template)
    spec.template_digest = canonical.digest(spec.template)
    spec.table, spec.table_version, spec.requested_by = "sums", 1, "user:grace"
    spec.issued_at.FromDatetime(NOON)
    spec.not_after.FromDatetime(NOON + timedelta(seconds=45))
    spec.ttl.FromTimedelta(timedelta(seconds=45))
    spec.target.labels["environment"] = "staging"
    spec.masking.add(column="u", action="allow", rule="platform:default.integer")
    return made


@pytest.fixture
def gate(tmp_path):
    def made(allow: bool = True) -> Admission:
        keys = {key_id(KEY.public_key()): KEY.public_key()}
        seen = SeenVersions(tmp_path / "seen.json", lambda: NOON)
        return Admission(ME, keys, HostPolicy(allow_dry_runs=allow), seen, lambda: NOON)

    return made


def sealed(made: spec_pb2.DryRun, payload_type: str = DRY_RUN_PAYLOAD_TYPE) -> bytes:
    return seal(made.SerializeToString(), payload_type, KEY)


def refused(gate: Admission, envelope: bytes) -> RefusalReason:
    with pytest.raises(Refused) as error:
        gate.admit_dry_run(envelope)
    return error.value.reason


def test_where_the_host_allows_it_it_is_admitted_once(gate) -> None:
    admitted = gate().admit_dry_run(sealed(run()))
    assert (admitted.environment, admitted.spec.requested_by, admitted.spec.limits.max_hits) == (
        "staging",
        "user:grace",
        10,
    )
    with pytest.raises(AlreadyEnded):
        gate().admit_dry_run(sealed(run()))


def test_a_host_that_says_nothing_allows_none(gate) -> None:
    assert not HostPolicy().allow_dry_runs
    assert refused(gate(allow=False), sealed(run())) is RefusalReason.DENIED_BY_HOST


def test_neither_kind_is_taken_for_the_other(gate) -> None:
    as_spec = seal(run().spec.SerializeToString(), SPEC_PAYLOAD_TYPE, KEY)
    assert refused(gate(), as_spec) in {RefusalReason.BAD_SIGNATURE, RefusalReason.BAD_ENVELOPE}
    with pytest.raises(Refused) as error:
        gate().admit(sealed(run()))
    assert error.value.reason in {RefusalReason.BAD_SIGNATURE, RefusalReason.BAD_ENVELOPE}
    relabelled = seal(run().spec.SerializeToString(), DRY_RUN_PAYLOAD_TYPE, KEY)
    assert refused(gate(), relabelled) is RefusalReason.BAD_SPEC


def test_another_key_opens_nothing(gate) -> None:
    envelope = seal(run().SerializeToString(), DRY_RUN_PAYLOAD_TYPE, Ed25519PrivateKey.generate())
    assert refused(gate(), envelope) is RefusalReason.BAD_SIGNATURE


def _two_agents(made: spec_pb2.DryRun) -> None:
    made.spec.audience.append("spiffe://probegate/agent/ag_2")


def _another_agent(made: spec_pb2.DryRun) -> None:
    made.spec.audience[0] = "spiffe://probegate/agent/ag_2"


def _another_tenant(made: spec_pb2.DryRun) -> None:
    made.spec.tenant = "globex"


def _an_ordinary_id(made: spec_pb2.DryRun) -> None:
    made.spec.tracepoint_id = "tp_1"


def _good_for_an_hour(made: spec_pb2.DryRun) -> None:
    made.spec.not_after.FromDatetime(NOON + timedelta(hours=1))


def _over(made: spec_pb2.DryRun) -> None:
    made.spec.issued_at.FromDatetime(NOON - timedelta(minutes=1))
    made.spec.not_after.FromDatetime(NOON - timedelta(seconds=15))


def _not_bound(made: spec_pb2.DryRun) -> None:
    made.spec.target.labels["environment"] = "prod"


def _by_another_label(made: spec_pb2.DryRun) -> None:
    del made.spec.target.labels["environment"]
    made.spec.target.labels["team"] = "staging"


def _nowhere(made: spec_pb2.DryRun) -> None:
    made.environment = ""


def _unmasked(made: spec_pb2.DryRun) -> None:
    del made.spec.masking[:]


def _other_bytes(made: spec_pb2.DryRun) -> None:
    made.spec.template_digest = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_two_agents, RefusalReason.BAD_SPEC),
        (_another_agent, RefusalReason.WRONG_AUDIENCE),
        (_another_tenant, RefusalReason.WRONG_TENANT),
        (_an_ordinary_id, RefusalReason.BAD_SPEC),
        (_good_for_an_hour, RefusalReason.OVER_LOCAL_LIMITS),
        (_over, RefusalReason.EXPIRED),
        (_not_bound, RefusalReason.BAD_TARGET),
        (_by_another_label, RefusalReason.BAD_TARGET),
        (_nowhere, RefusalReason.BAD_SPEC),
        (_unmasked, RefusalReason.UNMASKED_FIELD),
        (_other_bytes, RefusalReason.DIGEST_MISMATCH),
    ],
)
def test_what_does_not_fit_is_refused(gate, change, reason) -> None:
    made = run()
    change(made)
    assert refused(gate(), sealed(made)) is reason


def test_more_than_a_look_is_refused_whatever_was_signed(gate) -> None:
    from dataclasses import replace

    many = replace(TEMPLATE, limits=replace(TEMPLATE.limits, max_hits=1000))
    assert refused(gate(), sealed(run(many))) is RefusalReason.OVER_LOCAL_LIMITS
