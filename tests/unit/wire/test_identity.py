"""Names that both ends spell alike, and the join token's form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire.identity import JoinToken, agent_id_of, agent_uri

TOKEN = JoinToken("pgj_" + "aB3-_" * 8, "0f" * 32)


@given(st.from_regex(r"[a-z0-9_-]{1,64}", fullmatch=True))
def test_an_agent_s_uri_leads_back_to_its_id(agent_id: str) -> None:
    assert agent_id_of(agent_uri(agent_id)) == agent_id


@pytest.mark.parametrize("agent_id", ["", "A", "a/b", "a" * 65, "ag_1\n", "é"])
def test_what_is_no_id_makes_no_uri(agent_id: str) -> None:
    with pytest.raises(ValueError, match="an agent id is"):
        agent_uri(agent_id)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "ag_1",
        "spiffe://probegate/agent/",
        "spiffe://probegate/agent/a/b",
        "spiffe://other/agent/ag_1",
        "spiffe://probegate/agent/ag_1\n",
        "xspiffe://probegate/agent/ag_1",
        "spiffe://probegate/agent/spiffe://probegate/agent/ag_1",
    ],
)
def test_a_uri_of_anything_else_names_no_agent(uri: str) -> None:
    assert agent_id_of(uri) is None


def test_a_token_survives_being_printed_and_pasted() -> None:
    assert JoinToken.parse(f"  {TOKEN}\n") == TOKEN


@pytest.mark.parametrize(
    "text", ["", "pgj_x", str(TOKEN)[:-1], str(TOKEN) + "0", str(TOKEN).upper(), f"{TOKEN} {TOKEN}"]
)
def test_a_token_that_was_not_copied_whole_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="copy it whole") as raised:
        JoinToken.parse(text)
    assert TOKEN.secret not in str(raised.value)
