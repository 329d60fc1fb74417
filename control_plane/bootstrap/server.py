"""A core -> a built server: the steps after policy, in the order of the path, and what runs beside the requests."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from fastapi import APIRouter, FastAPI

from control_plane.accounts import routes as accounts_routes
from control_plane.audit import routes as audit_routes
from control_plane.bootstrap.core import Core, opened
from control_plane.bootstrap.tracepoints import add_tracepoints
from control_plane.console import pages, sign_in
from control_plane.delivery import routes as delivery_routes
from control_plane.delivery import sample_routes
from control_plane.delivery.deliveries import Deliveries
from control_plane.delivery.embedded_redis import EmbeddedRedis
from control_plane.delivery.enrolment import Enrolment
from control_plane.delivery.feed import Feeds
from control_plane.delivery.gateway import Gateway
from control_plane.delivery.identification import Identification
from control_plane.delivery.pulse import Pulse
from control_plane.delivery.redis_store import RedisStore
from control_plane.delivery.sample_rows import SamplePreviews
from control_plane.delivery.server import GatewayServer
from control_plane.delivery.service import Fleet
from control_plane.delivery.session import Exchange
from control_plane.delivery.switchboard import Switchboard
from control_plane.foundation.idempotency import Idempotency
from control_plane.http.app import create_app
from control_plane.http.operations import check_operations, read_operations
from control_plane.identity import routes as identity_routes
from control_plane.identity.issuer import routes as issuer_routes
from control_plane.identity.step_up import StepUp
from control_plane.masking import changing_routes as changing_masking_routes
from control_plane.masking import routes as masking_routes
from control_plane.masking.bound import PackMasks
from control_plane.masking.changing import MaskingChanges
from control_plane.masking.key_wrapping import KeyWrapper, load_or_make_wrapping_key
from control_plane.masking.service import MaskingService
from control_plane.policy import change_routes, lock_routes, person_routes, proposal_routes, tenant_routes
from control_plane.policy import routes as policy_routes
from control_plane.policy.locks import LockService
from control_plane.policy.proposals import Proposals
from control_plane.policy.quotas import Quotas
from control_plane.policy.roles import read_roles
from control_plane.policy.tenants import TenantService
from control_plane.records import canary_routes, coverage_routes, dry_run_routes
from control_plane.records import routes as records_routes
from control_plane.records.arrivals import Arrivals
from control_plane.records.canaries import Canaries
from control_plane.records.coverage import MaskingCoverage
from control_plane.records.exports import RecordExports
from control_plane.records.intake import RecordIntake
from control_plane.records.live import LiveRecords
from control_plane.records.service import RecordService
from control_plane.records.tracepoint_directory import TracepointTables
from control_plane.settings import Settings
from control_plane.signing.key_file import KeyFile
from control_plane.signing.service import Signer
from control_plane.templates import governing_routes
from control_plane.templates import routes as templates_routes
from control_plane.templates.dossier import Review
from control_plane.templates.governing import ApprovalRules
from control_plane.templates.reading import TemplateReading
from control_plane.templates.requirements import read_approvals
from control_plane.templates.reviewers import MemberReviewers
from control_plane.templates.service import TemplateService
from control_plane.templates.upkeep import keep_lapsing
from control_plane.tracepoints import break_glass_routes, request_routes, reviewing_routes, run_policy_routes
from control_plane.tracepoints import routes as tracepoints_routes
from control_plane.tracepoints.canary_alarm import CanaryAlarm
from control_plane.tracepoints.enforcement import LockedAgents
from control_plane.tracepoints.reports import AgentReports
from control_plane.tracepoints.reviewing import Reviewing
from language.masking_rules import load_rules

Work = tuple[str, Callable[[], Coroutine[Any, Any, None]]]
SPEC_KEY: Final = "spec-ed25519.key"
LEASE_MARGIN: Final = timedelta(seconds=2)  # for the last renewal that was on its way, and for detaching
WRAPPING_KEY: Final = "masking-wrap.key"
PLATFORM_RULES: Final = pathlib.Path(__file__).resolve().parents[2] / "policies" / "masking" / "platform.yaml"


@dataclass(frozen=True)
class Server:
    """`work` are the loops beside the requests, by name; they are started by `serving`."""

    settings: Settings
    app: FastAPI
    gateway: GatewayServer
    work: tuple[Work, ...]


@asynccontextmanager
async def built(settings: Settings) -> AsyncIterator[Server]:
    """Everything, built and open; closed in reverse order when the block ends.

    Raises StartupError and what `opened` raises; DependencyUnavailable when Redis cannot be started.
    """
    async with opened(settings) as core, AsyncExitStack() as stack:
        wrapper = KeyWrapper(load_or_make_wrapping_key(settings.keys / WRAPPING_KEY))
        signer = Signer(KeyFile(settings.keys / SPEC_KEY).load_or_create())
        work: list[Work] = [("audit checkpoints", core.audit.keep_signing)]

        redis_url = settings.redis_url
        if redis_url is None:
            redis = EmbeddedRedis(settings.state / "redis", settings.lease + LEASE_MARGIN)
            await redis.start()
            stack.push_async_callback(redis.stop)
            work.append(("embedded redis", redis.run))
            redis_url = redis.url
        store = RedisStore(redis_url, core.clock)
        stack.push_async_callback(store.close)

        switchboard = Switchboard()
        identification = Identification(core.database, core.clock)
        _add_templates(core)
        _add_masking(core, wrapper)
        _add_fleet(core, switchboard, identification)
        work += add_tracepoints(core, signer, store, wrapper)
        _add_reviewing(core)
        intake = _add_records(core)

        exchange = Exchange(
            feeds=Feeds(store, signer.public_keys, core.clock, LockedAgents(core.database, core.clock)),
            pulse=Pulse(core.database, store),
            deliveries=Deliveries(core.database, core.audit, core.clock),
            switchboard=switchboard,
            identification=identification,
            statuses=AgentReports(core.database, core.audit, core.clock, store),
            clock=core.clock,
            lease=settings.lease,
            verification_keys=tuple(signer.verification_keys()),
        )
        gateway = Gateway(exchange, core.provision.get(Enrolment), identification, core.authority, intake, core.clock)
        grpc = GatewayServer(gateway, exchange.feeds, core.authority, core.clock, (settings.grpc_listen.host,))
        work.append(("agents' gateway", grpc.run))
        work.append(("reviews", lambda: keep_lapsing(core.provision.get(TemplateService))))
        work.append(("tenants", core.provision.get(TenantService).keep_up))
        work.append(("proposals", lambda: keep_lapsing(core.provision.get(Proposals))))

        app = create_app(core.provision, _routers(settings), https=settings.https)
        check_operations(app, read_operations())
        yield Server(settings, app, grpc, tuple(work))


def _routers(settings: Settings) -> list[APIRouter]:
    routers = [
        policy_routes.router,
        tenant_routes.router,
        change_routes.router,
        lock_routes.router,
        accounts_routes.router,
        person_routes.router,
        proposal_routes.router,
        governing_routes.router,
        templates_routes.router,
        masking_routes.router,
        changing_masking_routes.router,
        delivery_routes.router,
        sample_routes.router,
        tracepoints_routes.router,
        request_routes.router,
        break_glass_routes.router,
        run_policy_routes.router,
        reviewing_routes.router,
        dry_run_routes.router,
        records_routes.router,
        coverage_routes.router,
        canary_routes.router,
        audit_routes.router,
    ]
    routers.append(issuer_routes.programs)
    if settings.embedded_issuer:
        routers.append(issuer_routes.router)
    routers += [identity_routes.router, sign_in.router, pages.router]
    return routers


def _add_templates(core: Core) -> None:
    platform = load_rules(PLATFORM_RULES.read_text(encoding="utf-8"))
    book = read_roles()
    step_up = StepUp(core.settings.step_up_age, core.settings.step_up_acr)
    review = Review(
        read_approvals(core.settings.approvals), MemberReviewers(book, core.clock), PackMasks(platform), step_up
    )
    service = TemplateService(core.database, core.audit, core.clock, review, core.provision.get(Quotas))
    core.provision.add(TemplateService, service)
    core.provision.add(Idempotency, Idempotency(core.database, core.clock))
    rules = ApprovalRules(core.database, core.clock, book, core.provision.get(Proposals))
    core.provision.add(ApprovalRules, rules)
    core.provision.add(LockService, LockService(core.database, core.audit, core.clock))
    core.provision.add(TemplateReading, TemplateReading(core.database))


def _add_masking(core: Core, wrapper: KeyWrapper) -> None:
    platform = load_rules(PLATFORM_RULES.read_text(encoding="utf-8"))
    core.provision.add(MaskingService, MaskingService(core.database, core.clock, platform, wrapper))
    changes = MaskingChanges(core.database, core.clock, platform, wrapper, core.provision.get(Proposals))
    core.provision.add(MaskingChanges, changes)


def _add_fleet(core: Core, switchboard: Switchboard, identification: Identification) -> None:
    fleet = Fleet(core.database, core.audit, core.clock, switchboard, identification)
    core.provision.add(Fleet, fleet)
    core.provision.add(SamplePreviews, SamplePreviews(core.provision.get(MaskingService), fleet))


def _add_reviewing(core: Core) -> None:
    masks = PackMasks(load_rules(PLATFORM_RULES.read_text(encoding="utf-8")))
    core.provision.add(Reviewing, Reviewing(core.database, masks, core.provision.get(Fleet), read_roles()))


def _add_records(core: Core) -> RecordIntake:
    tracepoints, arrivals = TracepointTables(), Arrivals()
    records = RecordService(core.database, core.audit, tracepoints, core.clock)
    core.provision.add(RecordService, records)
    core.provision.add(LiveRecords, LiveRecords(records, arrivals, core.clock))
    core.provision.add(RecordExports, RecordExports(core.database, records))
    platform = core.provision.get(MaskingService).platform
    core.provision.add(MaskingCoverage, MaskingCoverage(core.database, core.audit, core.clock, platform))
    canaries = Canaries(core.database, core.clock, CanaryAlarm(core.audit, core.clock))
    core.provision.add(Canaries, canaries)
    return RecordIntake(core.database, core.clock, tracepoints, arrivals, canaries, core.provision.get(Quotas))
