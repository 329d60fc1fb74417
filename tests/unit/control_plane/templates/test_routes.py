from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from control_plane.foundation.clock import ManualClock
from control_plane.foundation.database import Database
from control_plane.foundation.idempotency import Idempotency
from control_plane.foundation.provision import Provision
from control_plane.templates.plan import plan
from control_plane.templates.reading import TemplateReading
from control_plane.templates.routes import router
from control_plane.templates.service import TemplateService
from language import yaml_front_end
from tests.builders.asking_app import asking
from tests.builders.templates import SUM_PXL, SUM_YAML

BOB = {"x-by": "bob"}


@pytest.fixture
async def client(
    service: TemplateService, reading: TemplateReading, database: Database, clock: ManualClock
) -> AsyncIterator[httpx.AsyncClient]:
    provision = Provision()
    provision.add(TemplateService, service)
    provision.add(TemplateReading, reading)
    provision.add(Idempotency, Idempotency(database, clock))
    async with asking(provision, router) as opened:
        yield opened


async def submitted(client: httpx.AsyncClient, source: str = SUM_YAML) -> dict[str, object]:
    answer = await client.post("/templates", json={"source": source, "message": "look"})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_submission_answers_with_version_digest_and_plan(client: httpx.AsyncClient) -> None:
    [template] = (await submitted(client))["templates"]
    assert (template["name"], template["version"], template["state"]) == ("money-sum", 1, "in_review")
    assert template["digest"].startswith("sha256:")
    assert any("shop/money.Sum" in line for line in template["plan"])


async def test_a_script_answers_with_what_it_asks_for(client: httpx.AsyncClient) -> None:
    answer = await submitted(client, SUM_PXL + "pxtrace.DeleteTracepoint('old')\n")
    [deployment] = answer["deployments"]
    assert deployment["template"] == "money-sum-px"
    assert (deployment["name"], deployment["ttl"]) == ("money_sum_px", "10m")
    assert deployment["target"] == {"pod": "shop/checkoutservice"}
    assert deployment["digest"] == answer["templates"][0]["digest"]
    assert answer["deletions"] == ["old"]
    assert answer["displays"][0]["table"] == "money_sum"


@pytest.mark.parametrize("where", ["body", "query"])
async def test_validate_only_keeps_nothing(client: httpx.AsyncClient, where: str) -> None:
    body = {"source": SUM_YAML} | ({"validate_only": True} if where == "body" else {})
    query = {"validate_only": "true"} if where == "query" else {}
    answer = await client.post("/templates", json=body, params=query)
    assert answer.status_code == 200
    assert answer.json()["templates"][0]["version"] is None
    assert (await client.get("/templates")).json() == {"items": [], "next": None}


async def test_a_mistake_is_a_problem_with_line_and_column(client: httpx.AsyncClient) -> None:
    answer = await client.post("/templates", json={"source": SUM_YAML.replace("  table:", "  tabel:")})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "invalid_template")
    assert (problem["line"], problem["column"]) == (17, 3)
    assert "did you mean 'table'?" in problem["detail"]


async def test_a_review_goes_from_show_to_approve_by_digest(client: httpx.AsyncClient) -> None:
    await submitted(client)
    shown = await client.get("/templates/money-sum", headers=BOB)
    found = shown.json()
    assert found["source"] == SUM_YAML
    assert found["message"] == "look"
    assert [line["version"] for line in found["versions"]] == [1]
    address = "/templates/money-sum/versions/1/approve"
    other = await client.post(address, json={"digest": "sha256:" + "0" * 64}, headers=BOB)
    assert (other.status_code, other.json()["code"]) == (409, "digest_mismatch")
    own = await client.post(address, json={"digest": found["digest"]})
    assert (own.status_code, own.json()["code"]) == (403, "separation_of_duties")
    stale = await client.post(address, json={"digest": found["digest"]}, headers=BOB | {"If-Match": '"old"'})
    assert stale.status_code == 412
    fresh = BOB | {"If-Match": shown.headers["etag"]}
    approved = await client.post(address, json={"digest": found["digest"], "comment": "fine"}, headers=fresh)
    assert (approved.status_code, approved.json()["state"]) == (200, "approved")
    assert approved.json()["reviews"][0]["comment"] == "fine"
    assert approved.headers["etag"] != shown.headers["etag"]


async def test_reject_and_withdraw(client: httpx.AsyncClient) -> None:
    digest = (await submitted(client))["templates"][0]["digest"]
    address = "/templates/money-sum/versions"
    without = await client.post(f"{address}/1/reject", json={"digest": digest, "reason": ""}, headers=BOB)
    assert without.status_code == 422
    rejected = await client.post(f"{address}/1/reject", json={"digest": digest, "reason": "why?"}, headers=BOB)
    assert rejected.json()["state"] == "rejected"
    await submitted(client)
    withdrawn = await client.post(f"{address}/2/withdraw", json={})
    assert withdrawn.json()["state"] == "withdrawn"


async def test_a_diff_says_what_changed(client: httpx.AsyncClient) -> None:
    await submitted(client)
    await submitted(client, SUM_YAML.replace("ttl: 10m", "ttl: 1h"))
    answer = (await client.get("/templates/money-sum/diff", params={"from": 1, "to": 2})).json()
    assert (answer["from"], answer["to"]) == (1, 2)
    assert answer["changes"] == [{"path": "limits.ttl", "before": "10m", "after": "1h"}]


async def test_what_is_not_there_is_a_404(client: httpx.AsyncClient) -> None:
    for address in ("/templates/none", "/templates/none/diff", "/templates/none/versions/1"):
        assert (await client.get(address)).status_code == 404
    assert (await client.get("/templates/none/versions/99999999999999999999")).status_code in {404, 422}


async def test_unknown_fields_are_refused(client: httpx.AsyncClient) -> None:
    assert (await client.post("/templates", json={"source": SUM_YAML, "approve": True})).status_code == 422


def test_the_plan_says_everything_that_is_approved() -> None:
    text = "\n".join(plan(yaml_front_end.load(SUM_YAML.replace("ttl: 10m", "ttl: 10m, sample: 1/5, maxString: 99"))))
    for part in (
        "Sums of the shop",
        "shop/money.Sum",
        "from every call to its return",
        "l.Units >= params.minUnits",
        "service checkoutservice, language go",
        "currency = l.CurrencyCode",
        "[author proposes masking: allow]",
        "table money_sum",
        "minUnits: a whole number from 0 to 1000, default 0",
        "after 10m at the latest, or 100000 hits",
        "one call in 5, at most 1000 events a second",
        "strings at 99 bytes",
        "above 1% of one core",
    ):
        assert part in text


async def test_a_retry_with_its_key_gets_the_same_answer(client: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "ci-run-4711"}
    first = await client.post("/templates", json={"source": SUM_YAML}, headers=headers)
    await client.post("/templates/money-sum/versions/1/withdraw", json={})
    again = await client.post("/templates", json={"source": SUM_YAML}, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    other = await client.post("/templates", json={"source": SUM_PXL}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_review_of_a_version_that_moved_on_is_412(client: httpx.AsyncClient) -> None:
    [template] = (await submitted(client))["templates"]
    shown = await client.get("/templates/money-sum/versions/1")
    body = {"digest": template["digest"]}
    stale = {**BOB, "if-match": '"0000"'}
    refused = await client.post("/templates/money-sum/versions/1/approve", json=body, headers=stale)
    assert (refused.status_code, refused.json()["code"]) == (412, "stale")
    fresh = {**BOB, "if-match": shown.headers["etag"]}
    assert (await client.post("/templates/money-sum/versions/1/approve", json=body, headers=fresh)).status_code == 200
