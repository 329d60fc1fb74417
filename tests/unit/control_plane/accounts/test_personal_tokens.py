"""A personal token: what it opens, what it never does, and what is left of it in the database."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import delete, select

from control_plane.accounts.personal_tokens import MAX_TOKENS
from control_plane.foundation.errors import Denied, Invalid, NotFound, TooMany, Unauthenticated
from control_plane.identity.personal_tokens import USED_EVERY, checksum, new_token
from control_plane.identity.tables import PersonalTokenRow
from control_plane.policy.model import Permission
from control_plane.policy.tables import MemberRow, TenantRow
from tests.builders.audit_trail import entries
from tests.unit.control_plane.accounts.conftest import ACME, GLOBEX

DAY = timedelta(days=1)


async def made(world, *permissions, who="dora", life=DAY, tenant=ACME):
    grant = await world.grant(Permission.TOKEN_WRITE, who, tenant)
    return await world.tokens.create(grant, "nightly", permissions or ("template:read",), life)


async def test_it_acts_for_its_person_within_what_it_names(world):
    token = (await made(world, "template:read")).token
    who = await world.who(token)

    assert (await world.ask(who, Permission.TEMPLATE_READ)).principal.subject == "dora"
    with pytest.raises(Denied) as denied:
        await world.ask(who, Permission.TEMPLATE_SUBMIT)
    assert denied.value.extra["rule"] == "token-scope"


async def test_it_gives_nothing_that_its_person_has_not(world):
    who = await world.who((await made(world, "member:read")).token)

    with pytest.raises(Denied):
        await world.ask(who, Permission.MEMBER_READ)


async def test_in_another_tenant_it_is_as_if_there_were_none(world):
    await world.membership.unsafe_put_member(GLOBEX, "dora", ["viewer"])
    who = await world.who((await made(world)).token)

    with pytest.raises(NotFound):
        await world.ask(who, Permission.TEMPLATE_READ, GLOBEX)
    with pytest.raises(NotFound):
        await world.policy.can(who, "template:read", GLOBEX, "*")


@pytest.mark.parametrize(
    "permission", ["template:review", "tracepoint:approve", "proposal:decide", "token:write", "account:write"]
)
async def test_it_neither_approves_nor_makes_tokens(world, permission):
    with pytest.raises(Invalid, match="take the person"):
        await made(world, permission)
    who = await world.who((await made(world, "template:read")).token)
    with pytest.raises(Denied) as denied:
        await world.ask(who, Permission.TEMPLATE_REVIEW)
    assert denied.value.extra["rule"] == "in-person"


@pytest.mark.parametrize("permissions", [("template:*",), ("template:reed",), ("*",), ("template:read", "")])
async def test_it_names_permissions_that_there_are(world, permissions):
    with pytest.raises(Invalid):
        await made(world, *permissions)


async def test_it_ends(world):
    token = (await made(world)).token
    world.clock.advance(DAY)

    with pytest.raises(Unauthenticated):
        await world.who(token)


@pytest.mark.parametrize("life", [timedelta(0), timedelta(days=-1), timedelta(days=91)])
async def test_it_lives_no_longer_than_the_operator_says(world, life):
    with pytest.raises(Invalid):
        await made(world, life=life)


async def test_revoked_it_is_over_at_once_and_only_its_person_or_an_administrator_does_that(world):
    new = await made(world)
    with pytest.raises(NotFound):
        await world.tokens.revoke(await world.grant(Permission.TOKEN_WRITE), new.about.id)
    await world.tokens.revoke(await world.grant(Permission.TOKEN_WRITE, "dora"), new.about.id)
    other = await made(world)
    await world.tokens.revoke(await world.grant(Permission.ACCOUNT_WRITE), other.about.id, anybodys=True)

    for token in (new.token, other.token):
        with pytest.raises(Unauthenticated):
            await world.who(token)


async def test_its_person_gone_it_opens_nothing(world):
    who = await world.who((await made(world)).token)
    await world.membership.unsafe_put_member(ACME, "dora", ["auditor"])
    await world.ask(who, Permission.TEMPLATE_READ)
    async with world.database.transaction(ACME) as session:
        gone = delete(MemberRow).where(MemberRow.tenant == ACME, MemberRow.subject == who.id)
        await session.execute(gone)
        (await session.get(TenantRow, ACME)).policy_version += 1

    with pytest.raises(NotFound):
        await world.ask(who, Permission.TEMPLATE_READ)


async def test_neither_database_nor_log_holds_it(world):
    new = await made(world)
    async with world.database.transaction(ACME) as session:
        row = await session.scalar(select(PersonalTokenRow).where(PersonalTokenRow.tenant == ACME))

    kept = " ".join(str(value) for value in vars(row).values())
    assert new.token not in kept
    assert row.shown == new.token[: len("pg_acme_") + 4]
    assert new.token not in str(await entries(world.database))
    assert [entry["action"] for entry in await entries(world.database)][-1] == "token.change"


async def test_its_last_use_is_known_to_the_minute(world):
    new = await made(world)
    await world.who(new.token)
    first = world.clock.now()
    world.clock.advance(USED_EVERY - timedelta(seconds=1))
    await world.who(new.token)
    (shown,) = await world.tokens.own(await world.grant(Permission.TOKEN_WRITE, "dora"))

    assert shown.last_used_at == first


def test_scanners_know_it_by_its_form():
    token = new_token(ACME)

    assert re.fullmatch(r"pg_acme_[0-9A-Za-z]{38}", token)
    assert checksum(token[:-6]) == token[-6:]


@pytest.mark.parametrize(
    "spoil", [lambda t: t[:-1], lambda t: t[:-1] + ("a" if t[-1] != "a" else "b"), lambda t: t.replace("acme", "globex"), lambda t: "pg_", lambda t: t + "x"]
)  # fmt: skip
async def test_a_mistyped_one_is_refused_without_asking_the_database(world, spoil):
    token = spoil((await made(world)).token)

    with pytest.raises(Unauthenticated) as refused:
        await world.who(token)
    assert refused.value.code == "not_a_token"


async def test_a_person_has_a_bounded_number(world):
    grant = await world.grant(Permission.TOKEN_WRITE, "dora")
    for number in range(MAX_TOKENS):
        await world.tokens.create(grant, f"t{number}", ["template:read"], DAY)

    with pytest.raises(TooMany):
        await world.tokens.create(grant, "one more", ["template:read"], DAY)
