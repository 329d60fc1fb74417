"""Service accounts and the pipelines that become one: an owner, an end, no patterns, no approving, and nothing to find out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from control_plane.accounts.service_accounts import MAX_LIFE
from control_plane.foundation.errors import Conflict, Denied, Invalid, NotFound, Stale, Unauthenticated
from control_plane.identity.model import PrincipalKind
from control_plane.policy.model import Permission
from control_plane.policy.persons import persons
from tests.builders.audit_trail import entries
from tests.builders.principals import ISSUER
from tests.unit.control_plane.accounts.conftest import ACME, GLOBEX

DORA = f"{ISSUER}|dora"
CLAIMS = {"repository": "acme/shop", "ref": "refs/heads/main"}
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"


async def account(world, name="ci", owner=DORA, **options):
    made = await world.accounts.create(await world.grant(Permission.ACCOUNT_WRITE), name, owner, **options)
    await world.membership.unsafe_put_member(ACME, made.account.subject, ["developer", "reviewer"])
    return made


async def by_secret(world, made, **changes):
    form = {"grant_type": "client_credentials", "client_id": made.account.client_id, "client_secret": made.secret}
    return await world.token(**(form | changes))


async def rule(world, **changes):
    given = {"name": "main", "account": "ci", "issuer": world.pipelines.url, "audience": "probegate", "claims": CLAIMS}
    return await world.rules.create(await world.grant(Permission.ACCOUNT_WRITE), **(given | changes))


async def exchanged(world, changes=None, header=None, **form):
    claims = world.pipelines.claims(
        world.clock.now().timestamp(), sub="repo:acme/shop", **{**CLAIMS, **(changes or {})}
    )
    token = world.pipelines.sign(claims, **({"typ": "JWT"} | (header or {})))
    given = {"grant_type": EXCHANGE, "client_id": "acme.ci", "subject_token": token, "subject_token_type": JWT}
    return await world.token(**(given | form))


# --- accounts --------------------------------------------------------------------------------------------------------


async def test_its_secret_makes_it_a_service(world):
    answer = await by_secret(world, await account(world))
    who = await world.who(answer.json()["access_token"])

    assert (who.kind, who.id) == (PrincipalKind.SERVICE, f"{ISSUER}|acme.ci")
    assert (await world.ask(who, Permission.TEMPLATE_SUBMIT)).principal is who


async def test_it_cannot_approve_whatever_its_roles(world):
    who = await world.who((await by_secret(world, await account(world))).json()["access_token"])

    for permission in (Permission.TEMPLATE_REVIEW, Permission.TRACEPOINT_APPROVE, Permission.TOKEN_WRITE):
        with pytest.raises(Denied) as denied:
            await world.ask(who, permission)
        assert denied.value.extra["rule"] == "in-person"


async def test_it_counts_as_the_person_who_answers_for_it(world):
    made = await account(world)
    async with world.database.transaction(ACME) as session:
        found = await persons(session, ACME, [made.account.subject])

    assert found[made.account.subject] == DORA


@pytest.mark.parametrize("owner", [f"{ISSUER}|nobody", f"{ISSUER}|acme.ci", "dora", "https://elsewhere.example|dora"])
async def test_somebody_of_the_tenant_answers_for_it(world, owner):
    await account(world)

    with pytest.raises(Invalid):
        await account(world, "second", owner)


async def test_a_scope_narrows_what_its_token_is_good_for(world):
    answer = await by_secret(world, await account(world), scope="probegate:template:read")
    who = await world.who(answer.json()["access_token"])

    await world.ask(who, Permission.TEMPLATE_READ)
    with pytest.raises(Denied):
        await world.ask(who, Permission.TEMPLATE_SUBMIT)


async def test_a_misspelt_scope_is_good_for_nothing(world):
    answer = await by_secret(world, await account(world), scope="probegate:template:reed")
    who = await world.who(answer.json()["access_token"])

    with pytest.raises(Denied):
        await world.ask(who, Permission.TEMPLATE_READ)


async def test_rotated_the_old_secret_is_worth_nothing(world):
    old = await account(world)
    new = await world.accounts.rotate(await world.grant(Permission.ACCOUNT_WRITE), "ci", if_match='"1"')

    assert (await by_secret(world, old)).status_code == 401
    assert (await by_secret(world, new)).status_code == 200


async def test_two_who_rotate_at_once_do_not_both_succeed(world):
    await account(world)
    grant = await world.grant(Permission.ACCOUNT_WRITE)
    await world.accounts.rotate(grant, "ci", if_match='"1"')

    with pytest.raises(Stale):
        await world.accounts.rotate(grant, "ci", if_match='"1"')


async def test_disabled_its_tokens_are_refused_from_the_next_request_on(world):
    made = await account(world)
    token = (await by_secret(world, made)).json()["access_token"]
    await world.who(token)
    await world.accounts.disable(await world.grant(Permission.ACCOUNT_WRITE), "ci")

    with pytest.raises(Unauthenticated):
        await world.who(token)
    assert (await by_secret(world, made)).json()["error"] == "invalid_client"
    with pytest.raises(Conflict):
        await world.accounts.rotate(await world.grant(Permission.ACCOUNT_WRITE), "ci")


async def test_at_its_end_it_stops(world):
    made = await account(world, life=timedelta(minutes=5))
    token = (await by_secret(world, made)).json()["access_token"]
    world.clock.advance(timedelta(minutes=5))

    with pytest.raises(Unauthenticated):
        await world.who(token)
    assert (await by_secret(world, made)).json()["error"] == "invalid_client"
    with pytest.raises(Invalid):
        await account(world, "for-ever", life=MAX_LIFE + timedelta(days=1))


async def test_its_last_use_is_known(world):
    made = await account(world)
    assert made.account.last_used_at is None
    await by_secret(world, made)

    shown = await world.accounts.show(await world.grant(Permission.ACCOUNT_READ), "ci")
    assert shown.last_used_at == world.clock.now()


async def test_another_tenants_account_is_not_there(world):
    await account(world)

    with pytest.raises(NotFound):
        await world.accounts.show(await world.grant(Permission.ACCOUNT_READ, tenant=GLOBEX), "ci")


async def test_the_log_says_who_did_what_and_holds_no_secret(world):
    made = await account(world)
    new = await world.accounts.rotate(await world.grant(Permission.ACCOUNT_WRITE), "ci")
    logged = await entries(world.database)

    assert [one["detail"]["what"] for one in logged if one["action"] == "account.change"] == ["created", "rotated"]
    assert made.secret not in str(logged)
    assert new.secret not in str(logged)


# --- workloads -------------------------------------------------------------------------------------------------------


async def test_a_pipelines_own_token_becomes_a_short_one_of_the_account(world):
    await account(world)
    await rule(world)
    answer = await exchanged(world)
    who = await world.who(answer.json()["access_token"])

    assert (who.id, who.kind) == (f"{ISSUER}|acme.ci", PrincipalKind.SERVICE)
    assert answer.json()["expires_in"] <= 900
    last = [one for one in await entries(world.database) if one["action"] == "identity.exchange"][-1]
    assert last["detail"]["workload"] == "repo:acme/shop"
    assert last["resource"] == "trust-rule/main"


@pytest.mark.parametrize(
    "changes",
    [
        {"repository": "acme/shop2"},
        {"repository": "ACME/shop"},
        {"repository": ["acme/shop"]},
        {"ref": "refs/heads/main2"},
        {"ref": None},
        {"aud": "another"},
        {"aud": ["probegate", "another"]},
        {"exp": 1},
        {"iss": "https://token.evil.example"},
    ],
)
async def test_what_is_not_equal_in_all_is_refused(world, changes):
    await account(world)
    await rule(world)
    answer = await exchanged(world, changes)

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


async def test_nobody_learns_which_accounts_and_rules_there_are(world):
    await account(world)
    await rule(world)
    wrong = await exchanged(world, {"ref": "refs/heads/evil"})
    absent = [await exchanged(world, client_id=name) for name in ("acme.nobody", "globex.ci", "nowhere.ci", "x", "")]

    assert {answer.text for answer in absent} == {wrong.text}


@pytest.mark.parametrize(
    "form",
    [
        {"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"},
        {"subject_token": ""},
        {"actor_token": "x"},
        {"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
    ],
)
async def test_only_a_jwt_for_an_access_token_is_exchanged(world, form):
    await account(world)
    await rule(world)
    answer = await exchanged(world, **form)

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("header", [{"typ": "at+jwt"}, {"alg": "none"}])
async def test_a_token_of_another_kind_is_not_the_pipelines(world, header):
    await account(world)
    await rule(world)
    if "alg" in header:
        from tests.builders.issuer import forge

        claims = world.pipelines.claims(world.clock.now().timestamp(), **CLAIMS)
        answer = await exchanged(world, subject_token=forge({"alg": "none", "typ": "JWT"}, claims))
    else:
        answer = await exchanged(world, header=header)

    assert answer.status_code == 400


async def test_a_disabled_account_is_nobodys(world):
    await account(world)
    await rule(world)
    await world.accounts.disable(await world.grant(Permission.ACCOUNT_WRITE), "ci")

    assert (await exchanged(world)).status_code == 400


async def test_a_removed_rule_lets_nobody_in(world):
    await account(world)
    await rule(world)
    await world.rules.remove(await world.grant(Permission.ACCOUNT_WRITE), "main")

    assert (await exchanged(world)).status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://169.254.169.254"},
        {"issuer": "https://evil.example"},
        {"claims": {}},
        {"claims": {"repository": "acme/*"}},
        {"claims": {"repository": "acme/?hop"}},
        {"claims": {"aud": "x"}},
        {"claims": {"repository": ""}},
        {"audience": "*"},
        {"audience": ""},
        {"name": "Main"},
    ],
)
async def test_a_rule_names_a_trusted_issuer_and_exact_claims(world, changes):
    await account(world)

    with pytest.raises(Invalid):
        await rule(world, **changes)
    assert world.pipelines.asked == []


async def test_a_rule_is_of_an_account_that_there_is(world):
    with pytest.raises(NotFound):
        await rule(world)
