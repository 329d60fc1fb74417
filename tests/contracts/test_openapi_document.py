"""Schemathesis asks every operation of the document what nobody would ask, as each role: what comes back is documented.

A real control plane over real HTTP, signed-in people with real tokens. One person who holds nearly all roles gets the
boundary values and made-up requests of every operation; each single role gets a few of each. The names of what exists
(a tenant, templates, a rule) are mixed in, so that the questions get past "there is no such thing". Same requests
every time: a failure repeats, and its text holds the curl command.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from control_plane.policy.roles import read_roles
from tests.builders.real_server import RealServer, real_server
from tests.builders.templates import SUM_YAML

pytestmark = pytest.mark.peer  # its redis-server

TENANT = "acme"
ROLES = tuple(name for name, role in read_roles().roles.items() if not role.platform)
CONFLICTING = "auditor"  # takes away what others give
MANY, FEW = 4, 1  # made-up requests an operation
# What a valid request is refused for is not in the document (a template's text, a digest, a state), so Schemathesis
# cannot know which to expect; that a wrong one is refused it can.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method,ignored_auth"
)
REFUSALS = [400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 429]
MAX_LINE = 300  # of the report: a curl command may hold megabytes
POLICY = "apiVersion: probegate/v1\nkind: Policy\nrules: []\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    with real_server(tmp_path_factory.mktemp("openapi") / "state") as server:
        server.create_tenant(TENANT, "root")
        server.add_member(TENANT, "everybody", *(role for role in ROLES if role != CONFLICTING))
        for role in ROLES:
            server.add_member(TENANT, role, role)
        server.create_tenant("globex", "other")
        furnish(server)
        yield server


@pytest.fixture(scope="module")
def words(server: RealServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return configuration(server, tmp_path_factory.mktemp("words"))


def furnish(server: RealServer) -> None:
    """What exists before anybody asks: two versions of a template, a masking rule, a lock."""
    base = f"{server.url}/v1/tenants/{TENANT}"
    with httpx.Client(headers={"authorization": f"Bearer {server.token('everybody')}"}) as client:
        for source in (SUM_YAML, SUM_YAML.replace("description: ", "description: Again ")):
            client.post(f"{base}/templates", json={"source": source}).raise_for_status()
        client.put(f"{base}/masking/rules/a", json={"words": ["a"], "action": "drop"}).raise_for_status()
        client.post(f"{base}/locks", json={"kind": "template", "value": "a", "reason": "r"}).raise_for_status()


def configuration(server: RealServer, directory: Path) -> Path:
    """Schemathesis' file: which words to mix in, and how often."""
    base = f"{server.url}/v1/tenants/{TENANT}"
    headers = {"authorization": f"Bearer {server.token('everybody')}"}
    template = httpx.get(f"{base}/templates", headers=headers).json()["items"][0]["name"]
    lock = httpx.get(f"{base}/locks", headers=headers).json()["items"][0]["id"]
    digest = httpx.get(f"{base}/templates/{template}", headers=headers).json()["digest"]
    words: dict[str, list[str | int]] = {
        "path.tenant": [TENANT],
        "path.template": [template],
        "path.rule": ["a", "b"],
        "path.lock": [lock],
        "path.version": [1, 2],
        "body.source": [SUM_YAML, POLICY],
        "body.digest": [digest],
        "body.template": [template],
        "body.subject": ["viewer", "somebody"],
    }
    often = {"path.tenant": 0.97}
    text = ["continue-on-failure = true"]
    text.append(f"[checks.negative_data_rejection]\nexpected-statuses = {REFUSALS}")
    for number, values in enumerate(words.values()):
        text.append(f"[dictionaries.words{number}]\nvalues = {json.dumps(values)}")
    text.append("[parameters]")
    for number, place in enumerate(words):
        text.append(f'"{place}" = {{ dictionary = "words{number}", probability = {often.get(place, 0.6)} }}')
    file = directory / "schemathesis.toml"
    file.write_text("\n".join(text))
    return file


def ask(server: RealServer, words: Path, person: str, phases: str, examples: int) -> None:
    """Run the command as this person; fails with its report."""
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        "--config-file", str(words),
        "run", f"{server.url}/openapi.json",
        "--header", f"Authorization: Bearer {server.token(person)}",
        "--checks", CHECKS, "--phases", phases, "--max-examples", str(examples),
        "--generation-deterministic", "--no-color", "--warnings", "off", "--no-shrink",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=words.parent, capture_output=True, text=True, timeout=300, check=False)
    report = "\n".join(line[:MAX_LINE] for line in (done.stdout + done.stderr).splitlines())
    assert done.returncode == 0, f"as {person}:\n{report}"


def test_every_operation_answers_as_documented_whatever_it_is_asked(server, words):
    ask(server, words, "everybody", "coverage,fuzzing", MANY)


@pytest.mark.parametrize("role", ROLES)
def test_every_operation_answers_each_role_as_documented(server, words, role):
    ask(server, words, role, "fuzzing", FEW)
