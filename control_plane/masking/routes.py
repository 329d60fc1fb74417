"""Masking over HTTP: what holds in a tenant, and what it would do to a template. Changes are `changing_routes`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from control_plane.foundation.bodies import Body
from control_plane.foundation.provision import provided
from control_plane.foundation.request_headers import quoted
from control_plane.masking.exceptions import ApprovedException
from control_plane.masking.model import Preview, TenantRule
from control_plane.masking.rules import settings_etag
from control_plane.masking.service import MaskingService
from control_plane.policy.asking import Granted, requires
from control_plane.policy.model import Permission
from language.masking import Action
from language.masking_patterns import MAX_REGEX
from language.masking_rules import BoundRule, Rule

MAX_SOURCE = 65_536  # characters, as the front ends have it
MAX_WORDS = 100

router = APIRouter(tags=["masking"])
Service = Annotated[MaskingService, Depends(provided(MaskingService))]
_Text = Annotated[str, Field(min_length=1, max_length=200)]


class CasesIn(Body):
    """The rule is refused while one of these does not hold: field paths; type names for a type rule, values for a regex."""

    matches: list[_Text] = Field(default=[], max_length=50)
    ignores: list[_Text] = Field(default=[], max_length=50)


class PutRule(Body):
    """Exactly one of `words`, `path`, `type` and `regex`."""

    words: list[_Text] | None = Field(default=None, max_length=MAX_WORDS, description="Of the field's name.")
    path: str | None = Field(default=None, max_length=512, description="Like o.Card.*; ** is any number of names.")
    type: str | None = Field(default=None, max_length=512, description="A DWARF type name, * for any text.")
    regex: str | None = Field(
        default=None, max_length=MAX_REGEX, description="RE2; what it finds in values becomes the rule's name."
    )
    action: str = Field(max_length=60, description="From allow to drop: detect, partial(0,4), bucket(100), token, ...")
    cases: CasesIn = CasesIn()
    description: str = Field(default="", max_length=500)


class RuleOut(BaseModel):
    name: str
    scope: Literal["platform", "tenant"]
    pattern: str
    type: str
    regex: str
    action: str
    matches: list[str]
    ignores: list[str]
    revision: int | None = None
    changed_by: str | None = None
    changed_at: datetime | None = None

    @classmethod
    def of_platform(cls, rule: Rule) -> RuleOut:
        return cls(
            name=rule.name,
            scope="platform",
            pattern=rule.path.text() if rule.path else "",
            type=rule.type,
            regex=rule.regex,
            action=str(rule.treatment),
            matches=list(rule.cases.matches),
            ignores=list(rule.cases.ignores),
        )

    @classmethod
    def of(cls, found: TenantRule) -> RuleOut:
        return cls.of_platform(found.rule).model_copy(
            update={
                "scope": "tenant",
                "revision": found.revision,
                "changed_by": found.changed_by,
                "changed_at": found.changed_at,
            }
        )


class RulesOut(BaseModel):
    items: list[RuleOut]
    next: None = None


class PlatformOut(BaseModel):
    items: list[RuleOut]
    defaults: dict[str, Action]


class SettingsBody(Body):
    strict: bool = Field(description="No default: a field that no rule of the tenant or platform names is refused.")


class PreviewIn(Body):
    source: str = Field(max_length=MAX_SOURCE, description="The text of a YAML template or a PxL script.")


class InsideOut(BaseModel):
    """Holds for what lies inside the value, where a name or type matches."""

    pattern: str
    type: str
    action: str
    rule: str


class ColumnOut(BaseModel):
    column: str
    action: str
    rule: str
    inside: list[InsideOut]

    @classmethod
    def of(cls, bound: BoundRule) -> ColumnOut:
        inside = [InsideOut(pattern=p.path, type=p.type, action=str(p.treatment), rule=p.rule) for p in bound.paths]
        return cls(column=bound.column, action=str(bound.treatment), rule=bound.rule, inside=inside)


class PreviewOut(BaseModel):
    """`refusal` is why a request for this template would be refused; empty when it would not."""

    template: str
    columns: list[ColumnOut]
    refusal: str

    @classmethod
    def of(cls, preview: Preview) -> PreviewOut:
        columns = [ColumnOut.of(bound) for bound in preview.columns]
        return cls(template=preview.template, columns=columns, refusal=preview.refusal)


class PreviewsOut(BaseModel):
    items: list[PreviewOut]


class ExceptionOut(BaseModel):
    name: str
    exception: dict[str, Any]
    revision: int
    author: str
    approved_by: str
    approved_at: datetime

    @classmethod
    def of(cls, found: ApprovedException) -> ExceptionOut:
        return cls(
            name=found.exception.name,
            exception=found.document,
            revision=found.revision,
            author=found.author,
            approved_by=found.approved_by,
            approved_at=found.approved_at,
        )


class ExceptionsOut(BaseModel):
    items: list[ExceptionOut]
    next: None = None


class KeyOut(BaseModel):
    key_id: str
    created_at: datetime


class KeysOut(BaseModel):
    items: list[KeyOut]
    next: None = None


@router.get("/v1/tenants/{tenant}/masking/rules")
@requires(Permission.MASKING_READ)
async def list_rules(grant: Granted, service: Service) -> RulesOut:
    """The tenant's own rules; they hold besides the platform's."""
    return RulesOut(items=[RuleOut.of(found) for found in await service.rules(grant)])


@router.get("/v1/tenants/{tenant}/masking/platform")
@requires(Permission.MASKING_READ)
async def platform_rules(_grant: Granted, service: Service) -> PlatformOut:
    """The platform's rules and defaults, which hold for every tenant."""
    pack = service.platform
    return PlatformOut(
        items=[RuleOut.of_platform(rule) for rule in pack.rules],
        defaults={str(kind): action for kind, action in pack.defaults.items()},
    )


@router.get("/v1/tenants/{tenant}/masking/settings")
@requires(Permission.MASKING_READ)
async def settings(grant: Granted, service: Service, response: Response) -> SettingsBody:
    strict = await service.strict(grant)
    response.headers["ETag"] = quoted(settings_etag(strict=strict))
    return SettingsBody(strict=strict)


@router.get("/v1/tenants/{tenant}/masking/exceptions")
@requires(Permission.MASKING_READ)
async def list_exceptions(grant: Granted, service: Service) -> ExceptionsOut:
    """What two people agreed to show of one template for a time; those that are over as well."""
    return ExceptionsOut(items=[ExceptionOut.of(found) for found in await service.exceptions(grant)])


@router.get("/v1/tenants/{tenant}/masking/keys")
@requires(Permission.MASKING_READ)
async def list_keys(grant: Granted, service: Service) -> KeysOut:
    """The epochs of the tenant's key: tokens of one join with each other, those of two never do."""
    return KeysOut(items=[KeyOut(key_id=f"e{epoch}", created_at=begun) for epoch, begun in await service.epochs(grant)])


@router.post("/v1/tenants/{tenant}/masking/preview")
@requires(Permission.MASKING_READ)
async def preview(grant: Granted, body: PreviewIn, service: Service) -> PreviewsOut:
    """What masking would do to each column of a template, and by which rule, before anybody approves or arms it."""
    return PreviewsOut(items=[PreviewOut.of(found) for found in await service.preview(grant, body.source)])
