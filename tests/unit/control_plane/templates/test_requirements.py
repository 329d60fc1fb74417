"""Requirements only ever grow, and counting depends on no order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.foundation.identifiers import SubjectId
from control_plane.templates.counting import Case, Panel, counted, missing
from control_plane.templates.model import Review, Verdict
from control_plane.templates.requirements import BadApprovals, Requirement, load_approvals, owner_rule, read_approvals
from language.risk import RiskClass

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ROLES = ("data-owner", "platform-owner")
requirements = st.builds(
    Requirement,
    st.integers(0, 4),
    st.frozensets(st.sampled_from(ROLES)),
    st.integers(1, 366).map(lambda days: timedelta(days=days)),
    st.just(()),
)
people = st.sampled_from(["a", "b", "c", "d", "e"]).map(SubjectId)
reviews = st.lists(
    st.builds(
        Review,
        people,
        st.just(""),
        st.sampled_from(Verdict),
        st.sampled_from(["sha256:x", "sha256:y"]),
        st.just(""),
        st.integers(0, 400).map(lambda days: NOW - timedelta(days=days)),
    ),
    max_size=12,
)
panels = st.dictionaries(people, st.frozensets(st.sampled_from(ROLES)), max_size=5).map(Panel)


@given(requirements, requirements, requirements)
def test_joining_is_associative_commutative_and_never_asks_for_less(one, two, three) -> None:
    assert one.joined(two) == two.joined(one)
    assert one.joined(two).joined(three) == one.joined(two.joined(three))
    assert one.joined(one) == one
    both = one.joined(two)
    assert both.approvals >= one.approvals
    assert both.roles >= one.roles
    assert both.good_for <= one.good_for


@given(requirements, panels, reviews, st.frozensets(people, max_size=2), st.dictionaries(people, people), st.randoms())
def test_no_order_and_no_repetition_changes_what_counts(requirement, panel, said, authors, persons, random) -> None:
    case = Case("sha256:x", panel, persons, authors, requirement, NOW)
    found = counted(case, said)
    shuffled = [*said, *said[:3]]
    random.shuffle(shuffled)
    assert counted(case, shuffled) == found
    assert len({approval.person for approval in found}) == len(found)
    assert not {approval.person for approval in found} & authors
    assert missing(requirement, found, {approval.person for approval in found}) == missing(requirement, ())


@given(requirements)
def test_a_requirement_is_stored_and_read_back(requirement) -> None:
    assert Requirement.of(requirement.document()) == requirement


def test_the_platforms_rules_ask_more_of_more_risk() -> None:
    classes = read_approvals().classes
    assert [classes[risk].approvals for risk in RiskClass] == [0, 1, 2, 2]
    assert classes[RiskClass.RAW].roles == {"data-owner"}
    assert classes[RiskClass.KERNEL_WIDE].roles == {"platform-owner"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kind: Approvals",
        "kind: Approvals\nclasses: {metadata: {approvals: 0, goodFor: 1d}}",
        "kind: Approvals\nreviewLapses: 7d\nclasses: {metadata: {aprovals: 0}, masked: {}, raw: {}, kernel-wide: {}}",
    ],
)
def test_a_file_that_is_not_understood_is_refused(text) -> None:
    with pytest.raises(BadApprovals):
        load_approvals(text)


@pytest.mark.parametrize(
    "document", [{}, {"name": "x", "function": ["a"]}, {"name": "x", "approvals": 11}, {"name": "x", "roles": "all"}]
)
def test_a_misspelt_rule_is_never_a_missing_approval(document) -> None:
    with pytest.raises(BadApprovals):
        owner_rule(document)
