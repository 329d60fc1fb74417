"""The steps around a tracepoint, built: requests and their reviews, starts, roll-outs, locks, and the loops beside them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from control_plane.bootstrap.core import Core
from control_plane.delivery.ports import SpecStore
from control_plane.delivery.service import Fleet
from control_plane.masking.key_wrapping import KeyWrapper
from control_plane.masking.service import MaskingService
from control_plane.policy.quotas import Quotas
from control_plane.policy.roles import read_roles
from control_plane.policy.service import PolicyService
from control_plane.signing.service import Signer
from control_plane.templates.requirements import read_approvals
from control_plane.templates.reviewers import MemberReviewers
from control_plane.templates.service import TemplateService
from control_plane.tracepoints.break_glass import BreakingGlass
from control_plane.tracepoints.deciding import Requesters
from control_plane.tracepoints.dry_runs import DryRuns, Parts
from control_plane.tracepoints.enforcement import Enforcement
from control_plane.tracepoints.notices import NoticeReading
from control_plane.tracepoints.reading import TracepointReading
from control_plane.tracepoints.reminders import Reminders
from control_plane.tracepoints.requests import RequestReviews
from control_plane.tracepoints.rollouts import Rollouts
from control_plane.tracepoints.run_policy import RunPolicies
from control_plane.tracepoints.sealing import Path, Sealing
from control_plane.tracepoints.service import Deciders, TracepointService
from control_plane.tracepoints.starting import Starting
from control_plane.tracepoints.stopping import Stopping
from control_plane.tracepoints.upkeep import Upkeep

Work = tuple[str, Callable[[], Coroutine[Any, Any, None]]]


def add_tracepoints(core: Core, signer: Signer, store: SpecStore, wrapper: KeyWrapper) -> list[Work]:
    """After templates, masking and the fleet. What runs beside the requests comes back, by name."""
    database, clock, audit = core.database, core.clock, core.audit
    book, approvals = read_roles(), read_approvals(core.settings.approvals)
    path = Path(
        templates=core.provision.get(TemplateService),
        masking=core.provision.get(MaskingService),
        fleet=core.provision.get(Fleet),
        signer=signer,
        store=store,
        wrapper=wrapper,
        book=book,
        quotas=core.provision.get(Quotas),
    )
    sealing = Sealing(database, audit, clock, path)
    reviewers = MemberReviewers(book, clock)
    policies = RunPolicies(database, audit, clock, approvals.fleet_guard)
    glass = BreakingGlass(database, sealing, clock, reviewers)
    deciding = Requesters(core.provision.get(PolicyService))
    stopping = Stopping(reviewers, deciding)
    deciders = Deciders(policies, reviewers, glass, stopping, approvals.request_lapses)

    service = TracepointService(database, clock, sealing, deciders, core.settings.max_ttl)
    core.provision.add(TracepointService, service)
    core.provision.add(RequestReviews, RequestReviews(sealing, clock, reviewers, policies))
    core.provision.add(RunPolicies, policies)
    parts = Parts(path.templates, path.masking, signer, core.provision.get(Fleet), policies)
    core.provision.add(DryRuns, DryRuns(database, audit, clock, parts))
    core.provision.add(BreakingGlass, glass)
    core.provision.add(NoticeReading, NoticeReading(database))
    core.provision.add(TracepointReading, TracepointReading(database))
    return [
        ("tracepoints", Upkeep(database, audit, clock, store, signer, wrapper).keep_up),
        ("locks", Enforcement(database, audit, clock, store, book).keep_up),
        ("starts", Starting(database, clock, sealing, deciding, reviewers, policies, stopping).keep_up),
        ("reminders", Reminders(database, audit, clock).keep_up),
        ("roll-outs", Rollouts(database, clock, sealing, deciding).keep_up),
    ]
