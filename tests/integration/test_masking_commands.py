"""How masking is loosened, with the real command line: never by one person, and the log says what it meant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.local_stack import LocalStack, Person
from tests.builders.templates import SUM_YAML

pytestmark = pytest.mark.peer

OK, WAITING = 0, 5
ANN = Person("ann", "ann-test-password", ("tenant-admin",))
BEN = Person("ben", "ben-test-password", ("tenant-admin",))
IVY = Person("ivy", "ivy-test-password", ("auditor",))
ADA = Person("ada", "ada-test-password", ("developer",))
GRACE = Person("grace", "grace-test-password", ("reviewer",))
PACK = Path(__file__).parents[2] / "policies" / "masking" / "packs" / "pci.yaml"
RULE = "path: l.CurrencyCode\naction: redact\ncases: {matches: [l.CurrencyCode], ignores: [l.Units]}\n"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    people = (ANN, BEN, IVY, ADA, GRACE)
    with LocalStack(tmp_path_factory.mktemp("masking") / "stack") as running:
        running.start_server(people, administrator=ANN)
        running.sign_in_all(people)
        yield running


def agreed(stack: LocalStack, waiting: dict[str, str]) -> None:
    done = stack.run(BEN, "policy", "approve", waiting["id"], "--digest", waiting["digest"])
    assert done.returncode == OK, done.stderr


def test_tightening_holds_at_once_and_loosening_waits_for_a_second_person(stack: LocalStack, tmp_path: Path):
    template, rule = tmp_path / "sum.yaml", tmp_path / "rule.yaml"
    template.write_text(SUM_YAML)
    (submitted,) = stack.json(ADA, "template", "submit", str(template))
    done = stack.run(GRACE, "template", "approve", submitted["name"], "--digest", submitted["digest"])
    assert done.returncode == OK, done.stderr

    rule.write_text(RULE)
    told = stack.run(ANN, "masking", "diff", "currency", str(rule))
    assert "currency detect (platform:default.string) -> redact (tenant:currency), hides more" in told.stdout
    assert stack.run(ANN, "masking", "rules", "set", "currency", str(rule)).returncode == OK
    assert [found["name"] for found in stack.json(ADA, "masking", "rules")] == ["currency"]
    shown = stack.run(ADA, "masking", "preview", str(template))
    assert "tenant:currency" in shown.stdout, shown.stderr

    rule.write_text(RULE.replace("redact", "partial(0,4)"))
    asked = stack.run(ANN, "masking", "rules", "set", "currency", str(rule), "-o", "json")
    assert asked.returncode == WAITING
    waiting = json.loads(asked.stdout)
    assert any("money-sum: currency redact" in need for need in waiting["needs"])
    alone = stack.run(ANN, "policy", "approve", waiting["id"], "--digest", waiting["digest"])
    assert alone.returncode not in {OK, WAITING}
    agreed(stack, waiting)
    assert stack.json(ADA, "masking", "rules")[0]["action"] == "partial(0,4)"

    log = stack.run(IVY, "audit", "search", "--action", "masking.change", "-o", "json")
    assert "hides less" in log.stdout, log.stdout + log.stderr


def test_an_exception_and_a_new_key_need_two(stack: LocalStack):
    expires = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    asked = stack.run(
        ANN, "masking", "exceptions", "set", "mixed-up", "--template", "money-sum", "--field", "l.CurrencyCode",
        "--action", "allow", "--reason", "currencies are mixed up", "--expires", expires, "-o", "json",
    )  # fmt: skip
    assert asked.returncode == WAITING, asked.stderr
    assert stack.json(ADA, "masking", "exceptions") == []
    agreed(stack, json.loads(asked.stdout))
    (held,) = stack.json(ADA, "masking", "exceptions")
    assert (held["name"], held["author"] != held["approved_by"]) == ("mixed-up", True)
    assert stack.run(ANN, "masking", "exceptions", "rm", "mixed-up").returncode == OK

    rotated = stack.run(ANN, "masking", "rotate-key", "-m", "yearly", "-o", "json")
    assert rotated.returncode == WAITING, rotated.stderr
    agreed(stack, json.loads(rotated.stdout))
    assert [key["key_id"] for key in stack.json(ANN, "masking", "keys")] == ["e1"]


def test_a_whole_pack_becomes_rules_of_the_tenant(stack: LocalStack):
    done = stack.run(ANN, "masking", "rules", "apply", str(PACK))
    assert done.returncode == OK, done.stderr
    names = {found["name"] for found in stack.json(ADA, "masking", "rules")}
    assert {"pci-card-number", "pci-cardholder"} <= names
