"""The outside answers in one voice, and does not start with a route that asks nobody."""

from __future__ import annotations

import httpx
import pytest
from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError

from control_plane.foundation import errors
from control_plane.foundation.bodies import Body
from control_plane.foundation.database import DATABASE_UNREACHABLE
from control_plane.foundation.provision import Provision
from control_plane.foundation.request_headers import IfMatch
from control_plane.http.app import create_app
from control_plane.http.asking_check import StartupError
from control_plane.http.middleware import MAX_BODY
from control_plane.policy.asking import Granted, SignedIn, authenticated, public, requires
from control_plane.policy.model import Permission


class Sized(Body):
    size: int
    text: str = ""


def client(router, **settings):
    app = create_app(Provision(), [router], https=False)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, **settings), base_url="http://test")


def raising(error):
    router = APIRouter()

    @router.get("/x")
    @public("a test")
    async def route() -> None:
        raise error

    return router


STATUS = {
    errors.StepUpRequired: 401,
    errors.Unauthenticated: 401,
    errors.Denied: 403,
    errors.NotFound: 404,
    errors.Invalid: 422,
    errors.InvalidTemplate: 422,
    errors.Conflict: 409,
    errors.Stale: 412,
    errors.TooMany: 429,
    errors.AuditUnavailable: 503,
    errors.DependencyUnavailable: 503,
}


@pytest.mark.parametrize("kind", STATUS)
async def test_each_domain_error_has_its_status(kind):
    async with client(raising(kind("why it is so", extra={"rule": "r", "status": 999}))) as browser:
        answer = await browser.get("/x")

    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["status"], problem["detail"], problem["rule"]) == (
        STATUS[kind],
        STATUS[kind],
        "why it is so",
        "r",
    )
    assert problem["type"] == f"urn:probegate:problem:{kind.code}"
    assert problem["request_id"] == answer.headers["x-request-id"]


def test_the_table_of_statuses_holds_every_error():
    kinds = {
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ProbegateError)
    }

    assert kinds - {errors.ProbegateError} == set(STATUS)


async def test_an_unexpected_error_tells_nothing_but_its_request_id():
    async with client(raising(RuntimeError("the password is swordfish"))) as browser:
        answer = await browser.get("/x")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "swordfish" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_a_database_that_is_away_is_a_503():
    async with client(raising(DATABASE_UNREACHABLE[0]("SELECT", {}, Exception("gone")))) as browser:
        answer = await browser.get("/x")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "SELECT" not in answer.text


def taking_body():
    router = APIRouter()

    @router.post("/x")
    @public("a test")
    async def route(body: Sized) -> int:
        return body.size

    return router


NUL, HALF = b'{"size": 1, "text": "a\\u0000"}', b'{"size": 1, "text": "\\ud800"}'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"size": "secret-value"}',
        b'{"size": NaN}',
        b'{"size": true}',
        b'{"size": 1, "more": 2}',
        b"[]",
        NUL,
        HALF,
    ],
)
async def test_a_body_that_cannot_be_read_is_a_problem_that_repeats_nothing(body):
    async with client(taking_body()) as browser:
        answer = await browser.post("/x", content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert "secret-value" not in answer.text
    assert answer.json()["errors"][0]["pointer"].startswith("/body")


@pytest.mark.parametrize(
    "body", [b'{"size": 1, "text": "\xff\xfe"}', b'{"size": ' + b"9" * 5000 + b"}", b"[" * 100_000, b"\xff\xfe\x00"]
)
async def test_a_body_that_is_no_sane_json_is_a_problem_too(body):
    async with client(taking_body()) as browser:
        answer = await browser.post("/x", content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.headers["content-type"]) in {
        (400, "application/problem+json"),
        (422, "application/problem+json"),
    }


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "x/y; json"])
async def test_a_body_of_another_type_is_a_415(kind):
    async with client(taking_body()) as browser:
        answer = await browser.post("/x", content=b'{"size": 1}', headers={"content-type": kind})

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("address", ["/x%00", "/healthz?a=%00", "/healthz?%00"])
async def test_an_address_with_nul_is_refused_before_anything_reads_it(address):
    async with client(taking_body()) as browser:
        answer = await browser.get(address)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_a_method_that_an_address_does_not_know_is_told_all_that_it_does():
    router = taking_body()

    @router.get("/x")
    @public("a test")
    async def also() -> None: ...

    async with client(router) as browser:
        answer = await browser.delete("/x")

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


async def test_two_changes_that_meet_in_the_database_are_a_conflict():
    async with client(raising(IntegrityError("INSERT", {}, Exception("duplicate key acme")))) as browser:
        answer = await browser.get("/x")

    assert (answer.status_code, answer.json()["code"]) == (409, "changed_at_once")
    assert "acme" not in answer.text


async def announced():
    yield b"x" * MAX_BODY
    yield b"x"


@pytest.mark.parametrize("content", [b"x" * (MAX_BODY + 1), announced])
async def test_a_body_over_the_limit_is_refused_announced_or_not(content):
    async with client(taking_body()) as browser:
        answer = await browser.post("/x", content=content() if callable(content) else content)

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/healthz", 405), ("GET", "/healthz/", 404)]
)
async def test_the_frameworks_own_answers_are_problems_too(method, path, status):
    async with client(APIRouter()) as browser:
        answer = await browser.request(method, path)

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize(
    ("sent", "kept"), [("my-request-1", True), ("short", False), ("a b c d e f g h", False), ("x" * 65, False)]
)
async def test_a_callers_request_id_is_kept_when_it_is_well_formed(sent, kept):
    async with client(APIRouter()) as browser:
        answer = await browser.get("/healthz", headers={"x-request-id": sent})

    assert (answer.headers["x-request-id"] == sent) is kept


async def test_every_answer_carries_the_security_headers():
    async with client(APIRouter()) as browser:
        for path in ("/healthz", "/nowhere"):
            headers = (await browser.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in headers["content-security-policy"]
            assert headers["cache-control"] == "no-store"


def nothing_declared(router):
    @router.get("/x")
    async def route() -> None: ...


def required_but_not_taken(router):
    @router.get("/v1/tenants/{tenant}/x")
    @requires(Permission.TEMPLATE_READ)
    async def route() -> None: ...


def name_not_in_the_path(router):
    @router.get("/v1/tenants/{tenant}/x")
    @requires(Permission.TEMPLATE_READ, name="template")
    async def route(grant: Granted) -> None: ...


class Anything(BaseModel):
    text: str


def a_body_without_bounds(router):
    @router.post("/x")
    @public("a test")
    async def route(body: Anything) -> None: ...


def signed_in_but_not_taken(router):
    @router.get("/x")
    @authenticated("a test")
    async def route() -> None: ...


@pytest.mark.parametrize(
    "wrong",
    [
        nothing_declared,
        required_but_not_taken,
        name_not_in_the_path,
        signed_in_but_not_taken,
        a_body_without_bounds,
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_route_that_does_not_ask_stops_the_start(wrong, nested):
    router, outer = APIRouter(), APIRouter(prefix="/outer")
    wrong(router)
    if nested:
        outer.include_router(router)

    with pytest.raises(StartupError, match="/x"):
        create_app(Provision(), [outer if nested else router], https=False)


def test_a_route_declares_once():
    with pytest.raises(TypeError, match="twice"):

        @public("one")
        @authenticated("two")
        async def route(principal: SignedIn) -> None: ...


def test_the_document_says_what_each_route_asks():
    router = APIRouter()

    @router.get("/v1/tenants/{tenant}/templates/{template}")
    @requires(Permission.TEMPLATE_READ, name="template")
    async def route(grant: Granted) -> None: ...

    paths = create_app(Provision(), [router], https=False).openapi()["paths"]
    operation = paths["/v1/tenants/{tenant}/templates/{template}"]["get"]

    assert operation["x-permission"] == "template:read"
    assert {parameter["name"] for parameter in operation["parameters"]} == {"tenant", "template"}
    assert operation["security"] == [{"bearer": []}]
    assert "security" not in paths["/healthz"]["get"]


def test_the_document_says_which_problems_each_route_can_answer():
    router = APIRouter()

    @router.put("/v1/tenants/{tenant}/templates/{template}")
    @requires(Permission.TEMPLATE_READ, name="template")
    async def route(grant: Granted, body: Sized, if_match: IfMatch = None) -> None: ...

    paths = create_app(Provision(), [router], https=False).openapi()["paths"]
    answers = set(paths["/v1/tenants/{tenant}/templates/{template}"]["put"]["responses"])

    assert answers == {"200", "400", "401", "403", "404", "409", "412", "413", "415", "422", "429", "503"}
    assert set(paths["/healthz"]["get"]["responses"]) == {"200", "503"}
