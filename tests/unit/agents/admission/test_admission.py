"""An agent runs what its own control plane signed for it, in time and within the host's limits; nothing else."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire.dsse import SPEC_PAYLOAD_TYPE, key_id, seal
from wire.v1 import spec_pb2

from agents.admission import seen_versions
from agents.admission.model import CLOCK_SKEW, HostLimits, HostPolicy, RefusalReason, Refused
from agents.admission.seen_versions import FORGET_AFTER, Ended, SeenVersions, StateUnusable
from agents.admission.service import Admission, Identity
from language import canonical
from language.masking import Action
from language.model import At, Capture, LimitSpec, ParameterSpec, ParameterType, ProbeSpec, TargetSpec, Template

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = {key_id(KEY.public_key()): KEY.public_key()}
ME = Identity("acme", "spiffe://probegate/agent/ag_1")
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)

TEMPLATE = Template(
    name="sums",
    description="",
    labels=(),
    parameters=(ParameterSpec("floor", ParameterType.INT, default=0, min=0, max=100),),
    target=TargetSpec(service="shop"),
    probe=ProbeSpec(
        function="shop/money.Sum",
        at=At.ENTRY,
        line=None,
        where="l.Units >= params.floor",
        captures=(Capture("units", "l.Units"), Capture("currency", "l.CurrencyCode")),
    ),
    table="sums",
    masking=(("currency", "detect"),),
    limits=LimitSpec(ttl=timedelta(minutes=10), max_hits=1000),
)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def spec(template: Template = TEMPLATE) -> spec_pb2.ProbeSpec:
    made = spec_pb2.ProbeSpec(
        tracepoint_id="tp_1",
        version=3,
        tenant="acme",
        audience=[ME.spiffe_id, "spiffe://probegate/agent/ag_2"],
        template=canonical.to_bytes(template),
        table="sums",
        table_version=1,
        requested_by="user:ada",
        name="sums",
    )
    made.template_digest = canonical.digest(made.template)
    made.issued_at.FromDatetime(NOON)
    made.not_after.FromDatetime(NOON + timedelta(minutes=30))
    made.ttl.FromTimedelta(timedelta(minutes=5))
    made.masking.add(column="units", action="allow", rule="platform:default.integer")
    made.masking.add(column="currency", action="detect", rule="platform:default.string")
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admit(tmp_path: Path, clock: Clock) -> Callable[..., object]:
    seen = SeenVersions(tmp_path / "seen.json", clock)

    def run(made: spec_pb2.ProbeSpec, host: HostPolicy | None = None, key: Ed25519PrivateKey = KEY):
        envelope = seal(made.SerializeToString(), SPEC_PAYLOAD_TYPE, key)
        return Admission(ME, KEYS, host or HostPolicy(), seen, clock).admit(envelope)

    return run


def refusal(run: Callable[[], object]) -> RefusalReason:
    with pytest.raises(Refused) as refused:
        run()
    assert refused.value.detail
    return refused.value.reason


def changed(**fields: object) -> spec_pb2.ProbeSpec:
    made = spec()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_a_good_spec_is_admitted_with_its_template_rules_and_time(admit):
    admitted = admit(spec())
    assert admitted.template == TEMPLATE
    assert [rule.bound.action for rule in admitted.rules] == [Action.ALLOW, Action.DETECT]
    assert admitted.remaining == timedelta(minutes=5)
    assert admitted.parameters == {"floor": 0}
    assert admitted.target == TargetSpec(service="shop")


def test_a_spec_of_another_key_is_refused(admit):
    assert refusal(lambda: admit(spec(), key=Ed25519PrivateKey.generate())) is RefusalReason.BAD_SIGNATURE


def test_an_agent_without_keys_admits_nothing(tmp_path, clock):
    admission = Admission(ME, {}, HostPolicy(), SeenVersions(tmp_path / "seen.json"), clock)
    envelope = seal(spec().SerializeToString(), SPEC_PAYLOAD_TYPE, KEY)
    assert refusal(lambda: admission.admit(envelope)) is RefusalReason.BAD_SIGNATURE


def test_every_tampered_byte_is_refused(tmp_path, clock):
    admission = Admission(ME, KEYS, HostPolicy(), SeenVersions(tmp_path / "seen.json"), clock)
    envelope = seal(spec().SerializeToString(), SPEC_PAYLOAD_TYPE, KEY)
    for index in range(0, len(envelope), 7):
        tampered = envelope[:index] + bytes([envelope[index] ^ 1]) + envelope[index + 1 :]
        with pytest.raises(Refused) as refused:
            admission.admit(tampered)
        assert refused.value.reason in {RefusalReason.BAD_SIGNATURE, RefusalReason.BAD_ENVELOPE}


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_signed_noise_is_refused_and_nothing_else_happens(admit, noise):
    made = spec_pb2.ProbeSpec()
    try:
        made.ParseFromString(noise)
    except Exception:
        return
    with pytest.raises(Refused):
        admit(made)


@pytest.mark.parametrize("noise", [b"\xff" * 20, b""])
def test_a_signed_payload_that_is_no_spec_is_refused(tmp_path, clock, noise):
    admission = Admission(ME, KEYS, HostPolicy(), SeenVersions(tmp_path / "seen.json"), clock)
    assert refusal(lambda: admission.admit(seal(noise, SPEC_PAYLOAD_TYPE, KEY))) is RefusalReason.BAD_SPEC


def test_too_many_bytes_are_not_read(tmp_path, clock):
    admission = Admission(ME, KEYS, HostPolicy(), SeenVersions(tmp_path / "seen.json"), clock)
    assert refusal(lambda: admission.admit(b" " * (1 << 21))) is RefusalReason.TOO_BIG


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tenant": "evil"}, RefusalReason.WRONG_TENANT),
        ({"tenant": ""}, RefusalReason.WRONG_TENANT),
        ({"template_digest": "sha256:" + "0" * 64}, RefusalReason.DIGEST_MISMATCH),
        ({"template_digest": ""}, RefusalReason.DIGEST_MISMATCH),
        ({"tracepoint_id": ""}, RefusalReason.BAD_SPEC),
        ({"tracepoint_id": "x" * 1000}, RefusalReason.BAD_SPEC),
        ({"version": 0}, RefusalReason.BAD_SPEC),
    ],
)
def test_what_does_not_fit_is_refused_by_name(admit, fields, reason):
    assert refusal(lambda: admit(changed(**fields))) is reason


@pytest.mark.parametrize("audience", [[], ["spiffe://probegate/agent/ag_2"], ["spiffe://probegate/agent/ag_11"]])
def test_a_spec_for_another_agent_is_refused(admit, audience):
    made = spec()
    del made.audience[:]
    made.audience.extend(audience)
    assert refusal(lambda: admit(made)) is RefusalReason.WRONG_AUDIENCE


def test_a_changed_template_is_refused_though_its_digest_was_approved(admit):
    made = spec()
    made.template = canonical.to_bytes(replace(TEMPLATE, table="other"))
    assert refusal(lambda: admit(made)) is RefusalReason.DIGEST_MISMATCH


def test_a_template_that_does_not_parse_is_refused(admit):
    made = changed(template=b"{}", template_digest=canonical.digest(b"{}"))
    assert refusal(lambda: admit(made)) is RefusalReason.BAD_TEMPLATE


# --- versions ------------------------------------------------------------------------------------------------------


def test_an_older_version_is_refused_even_after_a_restart(tmp_path, clock, admit):
    admit(changed(version=5))
    again = Admission(ME, KEYS, HostPolicy(), SeenVersions(tmp_path / "seen.json", clock), clock)
    envelope = seal(changed(version=4).SerializeToString(), SPEC_PAYLOAD_TYPE, KEY)
    assert refusal(lambda: again.admit(envelope)) is RefusalReason.REPLAYED


def test_the_same_version_again_is_a_duplicate_and_not_refused(admit):
    assert admit(spec()) == admit(spec())


def test_the_same_version_with_other_content_is_refused(admit):
    admit(spec())
    assert refusal(lambda: admit(changed(requested_by="user:eve"))) is RefusalReason.REPLAYED


def test_a_newer_version_that_was_refused_still_outdates_the_older_one(admit):
    host = HostPolicy(deny_functions=("shop/*",))
    assert refusal(lambda: admit(changed(version=9), host)) is RefusalReason.DENIED_BY_HOST
    assert refusal(lambda: admit(changed(version=8))) is RefusalReason.REPLAYED


def test_an_unsigned_newer_version_outdates_nothing(admit):
    assert refusal(lambda: admit(changed(version=9), key=Ed25519PrivateKey.generate())) is RefusalReason.BAD_SIGNATURE
    assert admit(spec()).version == 3


def test_a_duplicate_does_not_start_its_time_again(admit, clock):
    admit(spec())
    clock.now += timedelta(minutes=4)
    assert admit(spec()).remaining == timedelta(minutes=1)
    clock.now += timedelta(minutes=2)
    assert refusal(lambda: admit(spec())) is RefusalReason.EXPIRED


def test_state_that_cannot_be_written_admits_nothing(tmp_path, clock):
    (tmp_path / "file").write_text("")
    admission = Admission(ME, KEYS, HostPolicy(), SeenVersions.__new__(SeenVersions), clock)
    admission._seen.__init__(tmp_path / "seen.json", clock)
    admission._seen._path = tmp_path / "file" / "seen.json"
    envelope = seal(spec().SerializeToString(), SPEC_PAYLOAD_TYPE, KEY)
    assert refusal(lambda: admission.admit(envelope)) is RefusalReason.NO_STATE


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"tp_1": {"version": 1}}', '{"tp_1": 3}'])
def test_a_damaged_memory_is_not_taken_for_an_empty_one(tmp_path, damage):
    (tmp_path / "seen.json").write_text(damage)
    with pytest.raises(StateUnusable, match="damaged"):
        SeenVersions(tmp_path / "seen.json")


def test_memory_is_kept_as_long_as_an_older_version_could_be_in_time(tmp_path, clock):
    seen = SeenVersions(tmp_path / "seen.json", clock)
    seen.record("tp_old", 2, "sha256:a", NOON)
    clock.now += FORGET_AFTER - timedelta(seconds=1)
    seen.record("tp_new", 1, "sha256:b", clock.now)
    assert "tp_old" in (tmp_path / "seen.json").read_text()
    clock.now += timedelta(seconds=2)
    seen.record("tp_newer", 1, "sha256:c", clock.now)
    assert "tp_old" not in (tmp_path / "seen.json").read_text()


def test_many_threads_write_one_memory(tmp_path, clock):
    seen = SeenVersions(tmp_path / "seen.json", clock)

    def live(number: int) -> None:
        seen.record(f"tp_{number}", 1, "sha256:a", NOON)
        seen.retire(f"tp_{number}", 1, "ttl")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(live, range(50)))
    again = SeenVersions(tmp_path / "seen.json", clock)
    for number in range(50):
        with pytest.raises(Ended, match="ttl"):
            again.record(f"tp_{number}", 1, "sha256:a", NOON)


def test_ends_that_come_together_are_one_writing_and_leave_what_each_for_itself_leaves(tmp_path, clock, monkeypatch):
    ends = [
        ("tp_1", 1, "locked"),
        ("tp_2", 1, "ttl"),
        ("tp_1", 1, "deleted"),
        ("tp_3", 2, "ttl"),
        ("tp_none", 1, "ttl"),
    ]
    each, grouped = (SeenVersions(tmp_path / name, clock) for name in ("each.json", "grouped.json"))
    for seen in (each, grouped):
        for number in (1, 2, 3, 4):
            seen.record(f"tp_{number}", 1, "sha256:a", NOON)
    for end in ends:
        each.retire(*end)
    written = []
    write = seen_versions._write
    monkeypatch.setattr(seen_versions, "_write", lambda path, seen: written.append(path) or write(path, seen))
    grouped.retire_all(ends)
    assert len(written) == 1
    assert (tmp_path / "each.json").read_text() == (tmp_path / "grouped.json").read_text()
    with pytest.raises(Ended, match="locked"):
        SeenVersions(tmp_path / "grouped.json", clock).record("tp_1", 1, "sha256:a", NOON)


def test_ends_that_cannot_be_written_are_not_remembered_either(tmp_path, clock, monkeypatch):
    seen = SeenVersions(tmp_path / "seen.json", clock)
    seen.record("tp_1", 1, "sha256:a", NOON)

    def full(*_: object) -> None:
        raise StateUnusable("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(seen_versions, "_write", full)
        with pytest.raises(StateUnusable):
            seen.retire_all([("tp_1", 1, "locked")])
    assert seen.record("tp_1", 1, "sha256:a", NOON) == NOON
    seen.retire_all([("tp_1", 1, "locked")])
    with pytest.raises(Ended):
        seen.record("tp_1", 1, "sha256:a", NOON)


def test_the_end_of_an_older_version_does_not_end_a_newer_one(tmp_path, clock):
    seen = SeenVersions(tmp_path / "seen.json", clock)
    seen.record("tp_1", 2, "sha256:b", NOON)
    seen.retire("tp_1", 1, "deleted")
    assert seen.record("tp_1", 2, "sha256:b", NOON) == NOON


# --- time ----------------------------------------------------------------------------------------------------------


def test_an_expired_spec_is_refused(admit, clock):
    clock.now += timedelta(minutes=30)
    assert refusal(lambda: admit(spec())) is RefusalReason.EXPIRED


def test_a_spec_from_the_future_is_refused_beyond_the_skew_of_clocks(admit, clock):
    clock.now = NOON - CLOCK_SKEW
    assert admit(spec()).version == 3
    clock.now -= timedelta(seconds=1)
    assert refusal(lambda: admit(changed(version=4))) is RefusalReason.NOT_YET_VALID


@pytest.mark.parametrize("field", ["issued_at", "not_after"])
def test_a_spec_without_a_time_is_refused(admit, field):
    made = spec()
    made.ClearField(field)
    assert refusal(lambda: admit(made)) is RefusalReason.BAD_SPEC


def test_a_spec_that_is_good_for_weeks_is_refused(admit):
    made = spec()
    made.not_after.FromDatetime(NOON + timedelta(days=30))
    assert refusal(lambda: admit(made)) is RefusalReason.OVER_LOCAL_LIMITS


@pytest.mark.parametrize(
    ("signed", "host", "lives"),
    [
        (timedelta(minutes=5), timedelta(hours=1), timedelta(minutes=5)),
        (timedelta(hours=5), timedelta(hours=1), timedelta(minutes=10)),  # the template's own
        (timedelta(minutes=5), timedelta(minutes=1), timedelta(minutes=1)),
    ],
)
def test_the_shortest_time_to_live_wins(admit, signed, host, lives):
    made = spec()
    made.ttl.FromTimedelta(signed)
    assert admit(made, HostPolicy(limits=HostLimits(ttl=host))).remaining == lives


def test_not_after_cuts_the_time_to_live(admit, clock):
    made = spec()
    made.not_after.FromDatetime(NOON + timedelta(minutes=2))
    assert admit(made).remaining == timedelta(minutes=2)


# --- limits, host, parameters, target ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "host"),
    [
        ({"max_string": 300}, HostLimits(max_string=256)),
        ({"max_items": 17}, HostLimits(max_items=16)),
        ({"max_depth": 4}, HostLimits(max_depth=3)),
        ({"max_events_per_second": 1001}, HostLimits(max_events_per_second=1000)),
        ({"max_hits": 2000}, HostLimits(max_hits=1999)),
        ({"cpu": 0.02}, HostLimits(cpu=0.01)),
    ],
)
def test_over_the_hosts_limits_is_refused(admit, limits, host):
    template = replace(TEMPLATE, limits=replace(TEMPLATE.limits, **limits))
    assert refusal(lambda: admit(spec(template), HostPolicy(limits=host))) is RefusalReason.OVER_LOCAL_LIMITS


def test_signed_limits_only_lower_what_was_approved(admit):
    made = spec()
    made.limits.max_hits = 10
    made.limits.max_string = 1 << 30
    made.limits.sample_numerator, made.limits.sample_denominator = 1, 10
    limits = admit(made).limits
    assert (limits.max_hits, limits.max_string, limits.sample) == (10, TEMPLATE.limits.max_string, Fraction(1, 10))


def test_a_function_that_the_host_denies_is_refused(admit):
    assert refusal(lambda: admit(spec(), HostPolicy(deny_functions=("shop/money.*",)))) is RefusalReason.DENIED_BY_HOST


def test_a_path_that_the_host_denies_is_refused(admit):
    made = spec()
    made.target.exe = "/usr/sbin/sshd"
    assert refusal(lambda: admit(made, HostPolicy(deny_paths=("/usr/sbin/*",)))) is RefusalReason.DENIED_BY_HOST


@pytest.mark.parametrize("given_value", [-1, 101])
def test_a_parameter_out_of_bounds_is_refused(admit, given_value):
    made = spec()
    made.parameters["floor"].integer = given_value
    assert refusal(lambda: admit(made)) is RefusalReason.BAD_PARAMETERS


def test_a_parameter_of_another_type_or_name_is_refused(admit):
    made = spec()
    made.parameters["floor"].number = 1.5
    assert refusal(lambda: admit(made)) is RefusalReason.BAD_PARAMETERS
    other = changed(version=4)
    other.parameters["ceiling"].integer = 1
    assert refusal(lambda: admit(other)) is RefusalReason.BAD_PARAMETERS


def test_a_target_wider_than_the_templates_is_refused(admit):
    made = spec()
    made.target.service = "payroll"
    assert refusal(lambda: admit(made)) is RefusalReason.BAD_TARGET


# --- masking -------------------------------------------------------------------------------------------------------


def test_a_capture_without_a_rule_is_refused(admit):
    made = spec()
    del made.masking[1]
    assert refusal(lambda: admit(made)) is RefusalReason.UNMASKED_FIELD


def test_two_rules_for_a_column_or_one_for_none_are_refused(admit):
    twice = spec()
    twice.masking.add(column="units", action="allow")
    assert refusal(lambda: admit(twice)) is RefusalReason.BAD_SPEC
    none = changed(version=4)
    none.masking.add(column="other", action="allow")
    assert refusal(lambda: admit(none)) is RefusalReason.BAD_SPEC


def test_an_unknown_action_is_refused(admit):
    made = spec()
    made.masking[0].action = "shred"
    assert refusal(lambda: admit(made)) is RefusalReason.UNMASKED_FIELD


def test_masking_looser_than_the_template_asks_is_refused(admit):
    made = spec()
    made.masking[1].action = "allow"
    assert refusal(lambda: admit(made)) is RefusalReason.WEAK_MASKING


@pytest.mark.parametrize("size", [0, 31])
def test_a_hash_needs_a_key_that_cannot_be_guessed(admit, size):
    made = spec()
    made.masking[1].action, made.masking[1].key = "token", b"k" * size
    assert refusal(lambda: admit(made)) is RefusalReason.WEAK_MASKING


def test_a_hash_inside_a_column_needs_a_key_too(admit):
    made = spec()
    made.masking[1].paths.add(path="Email", action="token")
    assert refusal(lambda: admit(made)) is RefusalReason.WEAK_MASKING


def test_a_hash_with_a_good_key_is_admitted(admit):
    made = spec()
    made.masking[1].action, made.masking[1].key, made.masking[1].key_id = "token", b"k" * 32, "k1"
    assert admit(made).rules[1].key == b"k" * 32


def test_a_rule_below_a_column_names_a_path_or_a_type(admit):
    made = spec()
    made.masking[1].paths.add(action="drop")
    assert refusal(lambda: admit(made)) is RefusalReason.BAD_SPEC


def test_a_refusal_names_the_spec(admit):
    with pytest.raises(Refused) as refused:
        admit(changed(tenant="evil"))
    assert (refused.value.tracepoint_id, refused.value.version) == ("tp_1", 3)


def test_a_refusal_of_unsigned_bytes_repeats_what_they_claim_to_be(admit, tmp_path, clock):
    with pytest.raises(Refused) as unsigned:
        admit(spec(), key=Ed25519PrivateKey.generate())
    assert (unsigned.value.tracepoint_id, unsigned.value.version) == ("tp_1", 3)
    with pytest.raises(Refused) as noise:
        Admission(ME, KEYS, HostPolicy(), SeenVersions(tmp_path / "other.json"), clock).admit(b"{}")
    assert noise.value.tracepoint_id == ""


def test_a_renewal_has_the_same_content_and_a_change_has_not(admit):
    first = admit(spec())
    longer = changed(version=4)
    longer.ttl.FromTimedelta(timedelta(minutes=9))
    assert admit(longer).content == first.content
    other = changed(version=5)
    other.parameters["floor"].integer = 7
    assert admit(other).content != first.content


@pytest.mark.parametrize(
    "regexes", [["a("], ["x*"], ["(?=a)b"], ["(?:a?){500}a{500}"], [f"r{n}x" for n in range(26)]], ids=str
)
def test_a_pattern_that_the_agent_cannot_look_for_refuses_the_spec(regexes, admit):
    made = spec()
    for regex in regexes:
        made.masking[1].patterns.add(rule="tenant:own", regex=regex)
    with pytest.raises(Refused, match="pattern that this agent cannot look for") as refused:
        admit(made)
    assert refused.value.reason is RefusalReason.UNMASKED_FIELD


def test_the_tenants_own_patterns_are_admitted_with_their_column(admit):
    made = spec()
    made.masking[1].patterns.add(rule="tenant:employee-number", regex="EMP-[0-9]{6}")
    admitted = admit(made)
    assert [(one.word, one.regex) for one in admitted.rules[1].bound.patterns] == [("employee-number", "EMP-[0-9]{6}")]
