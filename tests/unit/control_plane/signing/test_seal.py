"""What is sealed is what was approved and masked, and it is what an agent reads."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from wire import dsse
from wire.identity import agent_uri
from wire.v1 import spec_pb2

from control_plane.foundation.errors import Invalid
from control_plane.signing.model import SealedSpec
from control_plane.signing.service import MAX_AUDIENCE, Signer
from language import canonical
from language.masking import Action
from language.masking_model import BoundPath
from language.masking_patterns import ValuePattern
from tests.builders.plans import NOW, masked_plan, seal_context

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
AGENT = agent_uri("ag_1")


def opened(sealed: SealedSpec) -> spec_pb2.ProbeSpec:
    keys = Signer(KEY).public_keys
    return spec_pb2.ProbeSpec.FromString(dsse.open_envelope(sealed.envelope, dsse.SPEC_PAYLOAD_TYPE, keys))


def test_the_payload_says_what_was_asked_and_approved() -> None:
    plan = masked_plan()
    sealed = Signer(KEY).seal(plan, seal_context(AGENT, parameters={"minUnits": -5, "currency": "EUR", "loud": True}))
    spec = opened(sealed)
    assert (spec.tracepoint_id, spec.version, spec.tenant, spec.name) == ("tp_1", 1, "acme", "sums")
    assert list(spec.audience) == [AGENT]
    assert spec.template == plan.approved.canonical
    assert spec.template_digest == canonical.digest(plan.approved.canonical)
    assert spec.parameters["minUnits"].integer == -5
    assert spec.parameters["currency"].text == "EUR"
    assert spec.parameters["loud"].boolean is True
    assert spec.target.service == "shop"
    assert (spec.table, spec.table_version) == ("money_sums", 1)
    assert spec.issued_at.seconds == int(NOW.timestamp())
    assert spec.not_after.seconds == int((NOW + timedelta(minutes=10)).timestamp())
    assert spec.ttl.seconds == 600
    assert (spec.limits.max_events_per_second, spec.limits.max_hits) == (500, 7000)
    assert (spec.limits.sample_numerator, spec.limits.sample_denominator) == (1, 2)
    assert spec.limits.cpu == pytest.approx(0.02)


def test_every_column_has_its_rule() -> None:
    plan = masked_plan(action=Action.TOKEN, key=b"k" * 32)
    inside = (BoundPath("Card.Number", "", Action.PARTIAL, "tenant:pan", "0,4"),)
    plan = replace(plan, rules=tuple(replace(rule, paths=inside, key_id="k1") for rule in plan.rules))
    rules = opened(Signer(KEY).seal(plan, seal_context(AGENT))).masking
    assert [(rule.column, rule.action, rule.rule) for rule in rules] == [
        ("currency", "token", "platform:default"),
        ("units", "token", "platform:default"),
        ("latency", "token", "platform:default"),
    ]
    assert (rules[0].key, rules[0].key_id) == (b"k" * 32, "k1")
    assert (rules[0].paths[0].path, rules[0].paths[0].action, rules[0].paths[0].argument) == (
        "Card.Number",
        "partial",
        "0,4",
    )


def test_a_tenants_own_detectors_are_part_of_what_is_signed() -> None:
    plan = masked_plan(action=Action.DETECT)
    own = (ValuePattern("tenant:employee-number", r"\bEMP-[0-9]{6}\b"),)
    plan = replace(plan, rules=(replace(plan.rules[0], patterns=own), *plan.rules[1:]))
    currency, units, _ = opened(Signer(KEY).seal(plan, seal_context(AGENT))).masking
    assert [(each.rule, each.regex) for each in currency.patterns] == [(own[0].rule, own[0].regex)]
    assert not units.patterns


def test_what_is_carried_beside_the_envelope_repeats_the_payload() -> None:
    sealed = Signer(KEY).seal(masked_plan(), seal_context(AGENT))
    spec = opened(sealed)
    payload = dsse.open_envelope(sealed.envelope, dsse.SPEC_PAYLOAD_TYPE, Signer(KEY).public_keys)
    assert (sealed.tracepoint_id, sealed.version, sealed.tenant) == (spec.tracepoint_id, spec.version, spec.tenant)
    assert sealed.audience == tuple(spec.audience)
    assert sealed.digest == "sha256:" + hashlib.sha256(payload).hexdigest()


def test_the_same_plan_has_the_same_bytes() -> None:
    context = seal_context(AGENT)
    backwards = replace(context, parameters=dict(reversed(context.parameters.items())))
    assert Signer(KEY).seal(masked_plan(), context) == Signer(KEY).seal(masked_plan(), backwards)


def test_another_server_s_key_opens_nothing() -> None:
    sealed = Signer(KEY).seal(masked_plan(), seal_context(AGENT))
    with pytest.raises(dsse.BadEnvelope, match="no trusted key"):
        dsse.open_envelope(sealed.envelope, dsse.SPEC_PAYLOAD_TYPE, Signer(Ed25519PrivateKey.generate()).public_keys)


def test_agents_are_told_the_key_that_signs_first_and_the_retired_ones_after_it() -> None:
    retired = Ed25519PrivateKey.generate().public_key()
    keys = Signer(KEY, (retired,)).verification_keys()
    assert [key.key_id for key in keys] == [dsse.key_id(KEY.public_key()), dsse.key_id(retired)]
    assert keys[0].ed25519 == KEY.public_key().public_bytes_raw()


@pytest.mark.parametrize(
    ("context", "why"),
    [
        (seal_context(), "for no agent"),
        (seal_context(*[agent_uri(f"ag_{n}") for n in range(MAX_AUDIENCE + 1)]), "at most 1000"),
        (seal_context(AGENT, life=timedelta(0)), "over before it is issued"),
        (seal_context(AGENT, parameters={"minUnits": 1 << 63}), "64 bits"),
    ],
)
def test_what_no_agent_could_admit_is_not_sealed(context, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        Signer(KEY).seal(masked_plan(), context)


def test_a_plan_without_a_rule_for_each_column_is_not_sealed() -> None:
    plan = masked_plan()
    with pytest.raises(Invalid, match="each needs exactly one"):
        Signer(KEY).seal(replace(plan, rules=plan.rules[1:]), seal_context(AGENT))
