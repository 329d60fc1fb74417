"""Random histories of reviews against a plain model: what is dispatched is approved, and nothing else is.

Orders of reviews, repeated ones, edits, copies, changes of roles and links, tightened and loosened rules, time, and
crashes in the middle. 150 histories by default, 10,000 with PROBEGATE_LONG=1.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from control_plane.foundation.audit_trail import AuditAction
from control_plane.foundation.clock import ManualClock
from control_plane.foundation.errors import ProbegateError
from control_plane.policy.model import Permission
from control_plane.policy.roles import read_roles
from control_plane.templates.governing import ApprovalRules
from control_plane.templates.lifecycle import TRANSITIONS, Event, State
from control_plane.templates.service import TemplateService
from tests.builders.audit_trail import BreakableTrail
from tests.builders.database import sqlite_database
from tests.builders.governing import Governing, governing
from tests.builders.principals import grant
from tests.builders.reviews import FakeReviewers, review
from tests.builders.templates import SUM_YAML

HISTORIES = 10_000 if os.environ.get("PROBEGATE_LONG") == "1" else 150
STEPS = 16
DAY = timedelta(days=1)
GOOD_FOR = timedelta(days=180)
PEOPLE = ("alice", "bob", "carol", "dora", "alice-2")
TEXTS = [
    SUM_YAML,
    SUM_YAML.replace("ttl: 10m", "ttl: 5m"),
    SUM_YAML.replace("units: allow", "units: hash"),
    SUM_YAML.replace("max: 1000", "max: 2000"),
]
REVIEWER = frozenset({"reviewer"})


@dataclass
class Version:
    text: int
    author: str
    state: str
    panel: dict[str, frozenset[str]]
    needed: int
    owner: bool  # a data-owner has to be among them
    at: datetime
    ever: bool = False
    said: dict[str, tuple[str, datetime]] = field(default_factory=dict)


@dataclass
class Model:
    """The rules in plain words: one list of versions, no table, no transaction."""

    now: datetime
    reviewers: dict[str, frozenset[str]]
    links: dict[str, str] = field(default_factory=dict)
    strict: bool = False  # the tenant's rule: two approvals, one of a data-owner
    versions: list[Version] = field(default_factory=list)

    def person(self, who: str) -> str:
        return self.links.get(who, who)

    def needs(self, version: Version) -> tuple[int, bool]:
        return max(version.needed, 2 if self.strict else 1), version.owner or self.strict

    def authors(self, version: Version) -> set[str]:
        number = self.versions.index(version)
        start = max((n + 1 for n in range(number) if self.versions[n].ever), default=0)
        wrote = {old.author for old in self.versions[start : number + 1]}
        wrote |= {old.author for old in self.versions if old.text == version.text}
        return wrote | {self.person(who) for who in wrote}

    def counting(self, version: Version) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        authors = self.authors(version)
        for who, (verdict, at) in version.said.items():
            person = self.person(who)
            if verdict != "approve" or person in authors or who in authors or self.now - at > GOOD_FOR:
                continue
            if who in version.panel and who in self.reviewers:
                held = version.panel[who] & self.reviewers[who]
                found[person] = found.get(person, frozenset()) | held
        return found

    def enough(self, version: Version) -> bool:
        needed, owner = self.needs(version)
        counting = self.counting(version)
        return len(counting) >= needed and (not owner or any("data-owner" in roles for roles in counting.values()))

    def may_review(self, who: str, version: Version) -> bool:
        authors = self.authors(version)
        return (
            who not in authors
            and self.person(who) not in authors
            and who in version.panel
            and who in self.reviewers
            and not (version.state == "in_review" and version.at + 7 * DAY <= self.now)
        )

    def submit(self, text: int, who: str, *, draft: bool) -> None:
        newest = self.versions[-1] if self.versions else None
        if newest is not None and newest.text == text:
            if newest.state in {"in_review", "approved"} or (draft and newest.state == "draft"):
                return
            if newest.state == "draft" and newest.author == who:
                self.open(newest)
                return
        self.versions.append(Version(text, who, "draft", {}, 1, False, self.now))
        if not draft:
            self.open(self.versions[-1])

    def open(self, version: Version) -> None:
        version.panel, version.at = dict(self.reviewers), self.now
        version.needed, version.owner = (2, True) if self.strict else (1, False)
        version.state = "in_review"
        for old in self.versions:
            if old is not version and old.state in {"in_review", "draft"}:
                old.state = "superseded"

    def approve(self, who: str, version: Version) -> None:
        if version.state not in {"in_review", "approved"} or not self.may_review(who, version):
            return
        said = version.said.get(who)
        if said is not None and said[0] == "approve" and self.now - said[1] <= GOOD_FOR:
            return
        version.said[who] = ("approve", self.now)
        if self.enough(version):
            if version.state != "approved":
                for old in self.versions[: self.versions.index(version)]:
                    if old.state == "approved":
                        old.state = "superseded"
            version.state, version.ever = "approved", True

    def reject(self, who: str, version: Version) -> None:
        if version.state in {"in_review", "approved"} and self.may_review(who, version):
            version.said[who] = ("reject", self.now)
            version.state = "rejected"

    def dispatchable(self) -> set[int]:
        """Numbers of the versions of which a probe may be sealed now."""
        return {
            number
            for number, version in enumerate(self.versions, start=1)
            if version.state == "approved" and self.enough(version)
        }


@dataclass
class World:
    database: object
    trail: BreakableTrail
    clock: ManualClock
    fake: FakeReviewers
    service: TemplateService
    rules: ApprovalRules
    governing: Governing


class History:
    """One history in a tenant of its own, told to the service and to the model."""

    def __init__(self, world: World, seed: int, seen: Counter) -> None:
        self.random = random.Random(seed)
        self.world = world
        self.tenant = f"t{seed}"
        self.seen = seen
        world.fake.links.clear()
        world.fake.roles = dict.fromkeys(PEOPLE, REVIEWER)
        self.model = Model(world.clock.now(), dict(world.fake.roles))

    async def run(self) -> None:
        await self.world.governing.seat(self.tenant)
        for _ in range(STEPS):
            step = self.random.choice(
                [
                    self.submit,
                    self.submit,
                    self.approve,
                    self.approve,
                    self.approve,
                    self.reject,
                    self.withdraw,
                    self.retire,
                    self.roles,
                    self.link,
                    self.rule,
                    self.wait,
                ]
            )
            before = [version.state for version in self.model.versions]
            crash = self.random.random() < 0.1
            if crash and step not in {self.roles, self.link, self.wait}:
                self.world.trail.broken |= set(AuditAction)
                frozen = [(v.state, dict(v.said)) for v in self.model.versions]
                await step(told=False)
                self.world.trail.broken.clear()
                assert frozen == [(v.state, dict(v.said)) for v in self.model.versions]
            else:
                await step(told=True)
            self.note(before)
            await self.agree()

    def note(self, before: list[str]) -> None:
        for number, version in enumerate(self.model.versions):
            was = before[number] if number < len(before) else "draft"
            self.seen[(was, version.state)] += 1
            if was == "draft" and version.state == "approved":
                self.seen[("draft", "in_review")] += 1

    async def agree(self) -> None:
        """The states are the same, and exactly what the model dispatches is dispatched."""
        wanted = self.model.dispatchable()
        asker = grant(Permission.TRACEPOINT_REQUEST, by="zoe", tenant=self.tenant)
        for number in range(1, len(self.model.versions) + 1):
            async with self.world.database.transaction("acme") as session:
                try:
                    found = (await self.world.service.approved(session, asker, "money-sum", number)).version
                except ProbegateError:
                    found = None
            assert (found == number) == (number in wanted), (number, self.model.versions[number - 1])

    def pick(self) -> tuple[int, Version] | None:
        if not self.model.versions:
            return None
        number = self.random.randint(max(1, len(self.model.versions) - 2), len(self.model.versions))
        return number, self.model.versions[number - 1]

    async def submit(self, told: bool) -> None:
        who, text, draft = self.random.choice(PEOPLE[:3]), self.random.randrange(len(TEXTS)), self.random.random() < 0.2
        with suppress(ProbegateError):
            asker = grant(Permission.TEMPLATE_SUBMIT, by=who, tenant=self.tenant)
            await self.world.service.submit(asker, TEXTS[text], draft=draft)
        if told:
            self.model.submit(text, who, draft=draft)

    async def approve(self, told: bool) -> None:
        if (picked := self.pick()) is None:
            return
        number, version = picked
        who, wrong = self.random.choice(PEOPLE), self.random.random() < 0.1
        asker = grant(Permission.TEMPLATE_REVIEW, by=who, tenant=self.tenant)
        digest = await self.digest(number)
        with suppress(ProbegateError):
            await self.world.service.approve(asker, "money-sum", number, "sha256:" + "0" * 64 if wrong else digest)
        if told and not wrong:
            self.model.approve(who, version)

    async def reject(self, told: bool) -> None:
        if (picked := self.pick()) is None or self.random.random() < 0.5:
            return
        who, digest = self.random.choice(PEOPLE), await self.digest(picked[0])
        with suppress(ProbegateError):
            asker = grant(Permission.TEMPLATE_REVIEW, by=who, tenant=self.tenant)
            await self.world.service.reject(asker, "money-sum", picked[0], digest, "no")
        if told:
            self.model.reject(who, picked[1])

    async def withdraw(self, told: bool) -> None:
        if (picked := self.pick()) is None or (picked[1].state != "draft" and self.random.random() < 0.5):
            return
        who = picked[1].author if self.random.random() < 0.6 else self.random.choice(PEOPLE)
        with suppress(ProbegateError):
            asker = grant(Permission.TEMPLATE_SUBMIT, by=who, tenant=self.tenant)
            await self.world.service.withdraw(asker, "money-sum", picked[0])
        if told and picked[1].author == who and picked[1].state in {"draft", "in_review", "approved"}:
            picked[1].state = "withdrawn"

    async def retire(self, told: bool) -> None:
        if (picked := self.pick()) is None:
            return
        event = self.random.choice([Event.DEPRECATE, Event.REVOKE])
        act = self.world.service.deprecate if event is Event.DEPRECATE else self.world.service.revoke
        with suppress(ProbegateError):
            await act(grant(Permission.TEMPLATE_RETIRE, by="admin", tenant=self.tenant), "money-sum", picked[0], "old")
        reached = TRANSITIONS.get((State(picked[1].state), event))
        if told and reached is not None:
            picked[1].state = reached.value

    async def roles(self, told: bool) -> None:
        who = self.random.choice(PEOPLE)
        roles = self.random.choice([None, REVIEWER, REVIEWER | {"data-owner"}])
        for panel in (self.world.fake.roles, self.model.reviewers):
            panel.pop(who, None)
            if roles is not None:
                panel[who] = roles

    async def link(self, told: bool) -> None:
        if self.random.random() < 0.3:
            self.world.fake.links["alice-2"] = self.model.links["alice-2"] = "alice"

    async def rule(self, told: bool) -> None:
        admin = grant(Permission.POLICY_WRITE, by="admin", tenant=self.tenant)
        if self.random.random() < 0.5:
            with suppress(ProbegateError):
                await self.world.rules.put(admin, "strict", {"approvals": 2, "roles": ["data-owner"]})
            self.model.strict = self.model.strict or told
        else:
            with suppress(ProbegateError):
                await self.world.governing.agreed(await self.world.rules.delete(admin, "strict"), self.tenant)
            self.model.strict = self.model.strict and not told

    async def wait(self, told: bool) -> None:
        self.world.clock.advance(self.random.choice([timedelta(hours=1), 3 * DAY, 8 * DAY, 100 * DAY]))
        self.model.now = self.world.clock.now()
        if self.random.random() < 0.5:
            await self.world.service.lapse()
            for version in self.model.versions:
                if version.state == "in_review" and version.at + 7 * DAY <= self.model.now:
                    version.state = "lapsed"

    async def digest(self, number: int) -> str:
        reader = grant(Permission.TEMPLATE_READ, tenant=self.tenant)
        from control_plane.templates.reading import TemplateReading

        try:
            return (await TemplateReading(self.world.database).show(reader, "money-sum", number)).digest
        except ProbegateError:
            return "sha256:" + "1" * 64


@pytest.mark.long
async def test_no_history_dispatches_what_was_not_approved(tmp_path) -> None:
    seen: Counter = Counter()
    async with sqlite_database(tmp_path) as database:
        await unsafe_fast(database)
        clock = ManualClock(datetime(2026, 11, 24, 12, tzinfo=UTC))
        trail, fake = BreakableTrail(database, clock), FakeReviewers()
        service = TemplateService(database, trail, clock, review(fake))
        governed = await governing(database, trail, clock)
        rules = ApprovalRules(database, clock, read_roles(), governed.proposals)
        world = World(database, trail, clock, fake, service, rules, governed)
        for seed in range(HISTORIES):
            try:
                await History(world, seed, seen).run()
            except AssertionError as error:
                raise AssertionError(f"history {seed}") from error
            await asyncio.sleep(0)
    # Every transition of the table happened at least once, where it changes the state.
    moved = {pair for pair, count in seen.items() if count and pair[0] != pair[1]}
    wanted = {(state.value, reached.value) for (state, _), reached in TRANSITIONS.items() if state != reached}
    assert wanted - moved == set()


async def unsafe_fast(database) -> None:
    """A test's database may be lost with the machine."""
    from sqlalchemy import event

    @event.listens_for(database.engine.sync_engine, "connect")
    def _fast(connection, _):
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=OFF")
        cursor.close()

    await database.engine.dispose()
