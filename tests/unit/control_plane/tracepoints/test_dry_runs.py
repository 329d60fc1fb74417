"""A reviewer's look at live calls: who may, where, of what; what the agent is sent, and what the log holds."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from wire import dsse
from wire.v1 import gateway_pb2, spec_pb2

from control_plane.foundation.errors import Conflict, Denied, DependencyUnavailable, Invalid
from control_plane.foundation.identifiers import AgentId
from control_plane.identity.model import PrincipalKind
from control_plane.policy.locks import LockKind
from control_plane.policy.model import Permission
from control_plane.signing.service import Signer
from control_plane.tracepoints.dry_runs import DryRunRequest, DryRuns, Parts
from language import canonical
from tests.builders.audit_trail import entries
from tests.builders.principals import grant, principal
from tests.builders.templates import SUM_YAML

WRITING = grant(Permission.POLICY_WRITE, by="admin")
STAGING = DryRunRequest("staging")


@dataclass
class FakeLooking:
    """Agents that are connected; `answer` is what they say."""

    agents: list[str] = field(default_factory=lambda: ["ag_1", "ag_2"])
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    answer: gateway_pb2.DryRunAnswer = field(default_factory=lambda: gateway_pb2.DryRunAnswer(rows=3, arrow=b"rows"))

    def connected(self, tenant):
        return tuple(AgentId(agent) for agent in self.agents)

    async def dry_run(self, tenant, agent, envelope):
        if agent == "ag_gone":
            raise DependencyUnavailable("no answer")
        self.asked.append((agent, envelope))
        return self.answer


@pytest.fixture
async def looking(world):
    """A version in review; the tenant allows dry runs in staging."""
    fleet = FakeLooking()
    parts = Parts(world.templates, world.masking, Signer(world.key), fleet, world.policies)
    world.reviewers.roles["alice-2"] = frozenset({"reviewer"})
    world.reviewers.links["alice-2"] = "alice"
    await world.policies.put(WRITING, {"dryRun": {"environments": ["staging"]}})
    await world.templates.submit(grant(Permission.TEMPLATE_SUBMIT, by="alice"), SUM_YAML)
    return world, fleet, DryRuns(world.database, world.trail, world.clock, parts)


def reviewing(by="bob", kind=PrincipalKind.PERSON):
    return grant(Permission.TEMPLATE_REVIEW, by=principal(by, kind))


async def test_a_reviewer_sees_rows_from_one_agent_bound_to_the_environment(looking) -> None:
    world, fleet, runs = looking
    found = await runs.look(reviewing(), "money-sum", 1, STAGING)
    assert (found.agent, found.answer.arrow) == ("ag_1", b"rows")
    [(agent, envelope)] = fleet.asked
    keys = {dsse.key_id(world.key.public_key()): world.key.public_key()}
    run = spec_pb2.DryRun.FromString(dsse.open_envelope(envelope, dsse.DRY_RUN_PAYLOAD_TYPE, keys))
    assert (run.environment, run.spec.target.labels["environment"], run.spec.target.service) == (
        "staging",
        "staging",
        "checkoutservice",
    )
    assert list(run.spec.audience) == [f"spiffe://probegate/agent/{agent}"]
    assert (run.spec.requested_by, run.spec.limits.max_hits) == (principal("bob").id, 10)
    captured = canonical.from_bytes(run.spec.template).probe.captures
    assert [rule.column for rule in run.spec.masking] == [capture.column for capture in captured]
    with pytest.raises(dsse.BadEnvelope):
        dsse.open_envelope(envelope, dsse.SPEC_PAYLOAD_TYPE, keys)
    assert await world.desired() == [], "it is no tracepoint"


async def test_intent_and_outcome_are_in_the_log_and_no_value_is(looking) -> None:
    world, fleet, runs = looking
    await runs.look(reviewing(), "money-sum", 1, STAGING)
    fleet.answer = gateway_pb2.DryRunAnswer(problem="denied_by_host: this host allows no dry runs")
    refused = await runs.look(reviewing(), "money-sum", 1, STAGING)
    assert "denied_by_host" in refused.answer.problem
    looks = [e for e in await entries(world.database) if e["action"] == "template.dry_run"]
    assert [e["outcome"] for e in looks] == ["intent", "success", "intent", "refused"]
    assert looks[1]["detail"]["rows"] == 3
    assert "arrow" not in str(looks)
    fleet.agents = ["ag_gone"]
    with pytest.raises(DependencyUnavailable):
        await runs.look(reviewing(), "money-sum", 1, STAGING)
    assert (await entries(world.database))[-1]["outcome"] == "failed"


@pytest.mark.parametrize("environment", ["prod", "Staging", ""])
async def test_an_environment_that_the_tenant_did_not_name_is_refused(looking, environment) -> None:
    world, fleet, runs = looking
    with pytest.raises(Denied) as refused:
        await runs.look(reviewing(), "money-sum", 1, DryRunRequest(environment))
    assert (refused.value.code, fleet.asked) == ("dry_run_environment", [])
    assert (await entries(world.database))[-1]["outcome"] == "refused"


async def test_a_tenant_that_says_nothing_allows_none(looking) -> None:
    world, _, runs = looking
    await world.policies.put(WRITING, {})
    with pytest.raises(Denied, match="in these environments: none"):
        await runs.look(reviewing(), "money-sum", 1, STAGING)


@pytest.mark.parametrize("who", ["alice", "alice-2"])
async def test_an_author_does_not_look(looking, who) -> None:
    _, _, runs = looking
    with pytest.raises(Denied) as refused:
        await runs.look(reviewing(who), "money-sum", 1, STAGING)
    assert refused.value.code == "separation_of_duties"


async def test_who_is_not_on_the_panel_or_no_person_does_not_look(looking) -> None:
    _, fleet, runs = looking
    with pytest.raises(Denied) as refused:
        await runs.look(reviewing("zoe"), "money-sum", 1, STAGING)
    assert refused.value.code == "not_on_the_panel"
    with pytest.raises(Denied, match="a person's"):
        await runs.look(reviewing("bob", PrincipalKind.SERVICE), "money-sum", 1, STAGING)
    assert fleet.asked == []


async def test_what_is_decided_is_not_tried_so_any_more(looking) -> None:
    world, _, runs = looking
    version = (await world.templates.submit(grant(Permission.TEMPLATE_SUBMIT), SUM_YAML)).versions[0]
    await world.templates.approve(reviewing(), "money-sum", 1, version.digest)
    with pytest.raises(Conflict) as refused:
        await runs.look(reviewing(), "money-sum", 1, STAGING)
    assert refused.value.code == "wrong_state"


async def test_raw_values_are_shown_to_nobody_before_approval(looking, monkeypatch) -> None:
    _, fleet, runs = looking
    from language.risk import RiskClass

    monkeypatch.setattr("control_plane.tracepoints.dry_runs.CLASSES", frozenset({RiskClass.METADATA}))
    with pytest.raises(Denied) as refused:
        await runs.look(reviewing(), "money-sum", 1, STAGING)
    assert (refused.value.code, fleet.asked) == ("dry_run_class", [])


@pytest.mark.parametrize(
    ("kind", "value"),
    [(LockKind.TEMPLATE, "money-sum"), (LockKind.USER, principal("bob").id), (LockKind.EVERYTHING, "")],
)
async def test_a_lock_holds(looking, kind, value) -> None:
    world, fleet, runs = looking
    await world.locks.lock(grant(Permission.LOCK_WRITE, by="admin"), kind, value, "an incident")
    with pytest.raises(Denied) as refused:
        await runs.look(reviewing(), "money-sum", 1, STAGING)
    assert (refused.value.code, fleet.asked) == ("locked", [])


async def test_a_locked_agent_is_not_asked(looking) -> None:
    world, _, runs = looking
    locking = grant(Permission.LOCK_WRITE, by="admin")
    await world.locks.lock(locking, LockKind.AGENT, "ag_1", "compromised")
    assert (await runs.look(reviewing(), "money-sum", 1, STAGING)).agent == "ag_2"
    with pytest.raises(Conflict):
        await runs.look(reviewing(), "money-sum", 1, DryRunRequest("staging", agent="ag_1"))


async def test_it_narrows_and_never_widens(looking) -> None:
    _, _, runs = looking
    with pytest.raises(Invalid, match="approved for service"):
        await runs.look(reviewing(), "money-sum", 1, DryRunRequest("staging", service="payments"))
