"""A real control plane process on SQLite: people sign in, submit, review; every no says why."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from client.sdk import login
from client.sdk.errors import SignInFailed
from deploy.local_stack import LocalStack, Person
from tests.builders import sign_in

ALICE = Person("alice", sign_in.PASSWORD, ())
PEOPLE = [
    ALICE,
    Person("dora", sign_in.PASSWORD, ("developer",)),
    Person("rob", sign_in.PASSWORD, ("reviewer", "auditor")),
    Person("vic", sign_in.PASSWORD, ("viewer",)),
]
TEMPLATE = """\
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {name: money-sum, description: Sums}
spec:
  target: {service: checkoutservice, language: go}
  probe:
    function: money.Sum
    at: entry
    capture: {units: l.Units}
  table: sums
"""

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("boots") / "stack") as stack:
        stack.start_server(PEOPLE, administrator=ALICE)
        yield stack


class Api:
    """Calls as one person."""

    def __init__(self, stack: LocalStack, token: str) -> None:
        self.tenant = f"{stack.url}/v1/tenants/acme"
        self.client = httpx.Client(headers={"authorization": f"Bearer {token}"}, timeout=20)

    def call(self, method: str, path: str, **body: object) -> httpx.Response:
        address = path if path.startswith("http") else self.tenant + path
        return self.client.request(method, address, json=body or None)


@pytest.fixture(scope="module")
def people(stack: LocalStack) -> dict[str, Api]:
    return {person.name: Api(stack, sign_in.by_device(stack.url, person.name).access_token) for person in PEOPLE}


def test_both_ways_to_sign_in_lead_to_the_same_person(stack, people):
    by_browser = Api(stack, sign_in.by_browser(stack.url, "dora").access_token)

    answers = [api.call("GET", f"{stack.url}/v1/me").json() for api in (people["dora"], by_browser)]

    assert answers[0] == answers[1]
    assert answers[0]["subject"] == f"{stack.url}|dora"
    assert answers[0]["tenants"][0]["roles"] == ["developer"]


def test_a_viewer_cannot_submit_and_hears_whom_to_ask(people):
    answer = people["vic"].call("POST", "/templates", source=TEMPLATE)

    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert "you hold viewer in tenant acme; template:submit needs developer" in answer.json()["detail"]


def test_a_template_is_submitted_by_one_and_approved_by_another(people):
    submitted = people["dora"].call("POST", "/templates", source=TEMPLATE)
    assert submitted.status_code == 201, submitted.text
    shown = people["rob"].call("GET", "/templates/money-sum").json()
    digest = shown["digest"]

    by_author = people["dora"].call("POST", "/templates/money-sum/versions/1/approve", digest=digest)
    assert by_author.status_code == 403
    assert "template:review needs reviewer" in by_author.json()["detail"]

    by_reviewer = people["rob"].call("POST", "/templates/money-sum/versions/1/approve", digest=digest)
    assert by_reviewer.status_code == 200, by_reviewer.text


def test_a_broken_template_is_refused_with_its_place(people):
    answer = people["dora"].call("POST", "/templates", source=TEMPLATE.replace("capture: {", "capture: {units: l.,"))

    assert answer.status_code == 422
    assert "line" in answer.json()["detail"]


def test_another_tenant_answers_as_an_absent_one(stack, people):
    stack.server_command("tenant", "create", "globex", "--admin", "vic")

    answers = [people["dora"].call("GET", f"{stack.url}/v1/tenants/{name}") for name in ("globex", "nowhere")]

    assert [answer.status_code for answer in answers] == [404, 404]
    texts = [{**answer.json(), "request_id": ""} for answer in answers]
    assert str(texts[0]).replace("globex", "nowhere") == str(texts[1])


def test_a_changed_role_holds_at_once(stack, people):
    before = people["vic"].call("POST", "/templates", source="no template")
    changed = people["alice"].call("PUT", "/members", subject="vic", roles=["viewer", "developer"])
    after = people["vic"].call("POST", "/templates", source="no template")
    people["alice"].call("PUT", "/members", subject="vic", roles=["viewer"])

    assert (before.status_code, changed.status_code, after.status_code) == (403, 200, 422)


def test_one_administrator_alone_makes_no_other_one(stack, people):
    asked = people["alice"].call("PUT", "/members", subject="vic", roles=["viewer", "tenant-admin"])
    shown = people["alice"].call("GET", asked.headers["location"].removeprefix("/v1/tenants/acme"))

    assert (asked.status_code, asked.json()["state"]) == (202, "proposed")
    assert shown.json()["id"] == asked.json()["id"]
    assert people["vic"].call("GET", "/members").status_code == 403


def test_every_step_is_in_the_log(people):
    entries = people["rob"].call("GET", "/audit?limit=1000").json()["items"]

    assert {"tenant.create", "member.change", "template.submit", "template.approve", "policy.allow", "policy.deny"} <= {
        entry["action"] for entry in entries
    }


def test_a_stranger_and_a_forged_token_get_401(stack):
    nobody = httpx.get(f"{stack.url}/v1/me")
    forged = httpx.get(f"{stack.url}/v1/me", headers={"authorization": "Bearer eyJhbGciOiJub25lIn0.e30."})

    assert [answer.status_code for answer in (nobody, forged)] == [401, 401]
    assert forged.json()["code"] == "unknown_issuer"


def test_a_service_account_signs_in_by_secret_and_cannot_review(stack, people):
    printed = stack.server_command(
        "service-account", "create", "acme", "ci", "developer", "reviewer", "--owner", "alice"
    )
    client_id, secret = printed.split()
    robot = Api(stack, login.by_secret(stack.url, "ci", "acme", client_id, secret).access_token)

    assert robot.call("GET", f"{stack.url}/v1/me").json()["kind"] == "service"
    refused = robot.call("POST", "/templates/money-sum/versions/1/approve", digest="sha256:" + "0" * 64)
    assert refused.status_code == 403
    assert "takes a person who signed in themselves" in refused.json()["detail"]


def test_a_wrong_password_gives_no_token(stack):
    with pytest.raises(SignInFailed, match="status_401"):
        sign_in.by_browser(stack.url, "alice", password="not the password")


def test_a_redirect_to_elsewhere_is_refused_without_redirecting(stack):
    query = {
        "response_type": "code",
        "client_id": "probegate-cli",
        "redirect_uri": "https://evil.example/callback",
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
    }

    answer = httpx.get(f"{stack.url}/oauth/authorize", params=query)

    assert answer.status_code == 400
    assert "location" not in answer.headers


def test_a_body_that_is_too_large_is_refused(people):
    assert people["dora"].call("POST", "/templates", source="x" * 2_000_000).status_code == 413


def test_the_openapi_document_names_every_path_parameter(stack):
    document = httpx.get(f"{stack.url}/openapi.json").json()

    assert document["openapi"].startswith("3.1")
    listed = document["paths"]["/v1/tenants/{tenant}/members"]["get"]["parameters"]
    assert "tenant" in {parameter["name"] for parameter in listed}


def test_it_ends_on_a_signal_in_time(tmp_path: Path):
    with LocalStack(tmp_path / "ends") as stack:
        stack.start_server([ALICE], administrator=ALICE)
        server = stack.started["server"]
        server.send_signal(signal.SIGTERM)

        assert server.wait(timeout=10) == 0
        assert (
            f"{stack.state}"
            not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        )


def test_production_refuses_the_embedded_issuer(tmp_path: Path):
    settings = {"PROBEGATE_PROFILE": "production", "PROBEGATE_EMBEDDED_ISSUER": "true"}
    stack = LocalStack(tmp_path / "production", settings=settings)

    done = subprocess.run(
        ["probegate-server", "serve"], env=stack.environment(), capture_output=True, text=True, timeout=30, check=False
    )

    assert done.returncode == 1
    assert "embedded issuer" in done.stderr
    assert not stack.state.exists()
