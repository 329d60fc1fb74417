"""Every template of templates/go on a real Go program: it binds, rows come, and they say what the program does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.agent_program import Process, run_agent, running
from tests.builders.programs import PROGRAMS, ROOT, build_go

pytestmark = [pytest.mark.host, pytest.mark.xdist_group("library")]

LIBRARY = ROOT / "templates" / "go"


@pytest.fixture(scope="module")
def program() -> Iterator[Process]:
    with running([str(build_go(PROGRAMS / "stdlib"))], {"PROBEGATE_SERVICE": "stdlib-under-test"}) as process:
        process.until(lambda: process.out)
        yield process


GOCODE = Path("/usr/share/gocode")  # where Debian puts the sources of Go libraries


@pytest.fixture(scope="module")
def grpc_program() -> Iterator[Process]:
    """A health server and its client, built from Debian's golang-google-grpc-dev."""
    if not (GOCODE / "src" / "google.golang.org" / "grpc").is_dir():
        pytest.skip("golang-google-grpc-dev is not installed: deploy/setup.sh test")
    env = {"GO111MODULE": "off", "GOPATH": str(GOCODE), "GOFLAGS": ""}
    with running([str(build_go(PROGRAMS / "grpc_health", env=env))], {"PROBEGATE_SERVICE": "health"}) as process:
        process.until(lambda: process.out)
        yield process


def rows(program: Process, name: str, *more: str, hits: int = 8) -> list[dict[str, object]]:
    file = LIBRARY / f"{name}.yaml"
    done = run_agent(
        "try", str(file), "--pid", str(program.pid), "--hits", str(hits), "--for", "20s", *more, "-o", "jsonl"
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found, done.stderr
    assert all(row.get("latency", 1) > 0 for row in found)
    return found


def test_handled_requests_have_method_path_and_latency(program) -> None:
    found = rows(program, "http-requests")
    assert {(row["method"], row["path"]) for row in found} == {("GET", "/orders"), ("GET", "/missing")}


def test_finished_responses_have_their_status(program) -> None:
    found = rows(program, "http-responses")
    assert {(row["path"], row["status"]) for row in found} == {("/orders", 200), ("/missing", 404)}
    assert {row["status"] for row in rows(program, "http-responses", "-p", "minStatus=400", hits=3)} == {404}


def test_made_requests_have_host_and_error(program) -> None:
    found = rows(program, "http-client")
    assert {row["path"] for row in found} == {"/orders", "/missing"}
    assert all(str(row["host"]).startswith("<IPV4>:") and row["error"] is None for row in found)


@pytest.mark.peer
def test_unary_calls_have_method_and_error(grpc_program) -> None:
    found = rows(grpc_program, "grpc-unary", hits=10)
    assert {row["method"] for row in found} == {"/grpc.health.v1.Health/Check"}
    assert {row["error"] is None for row in found} == {True, False}


def test_queries_are_shown_without_what_is_personal_in_them(program) -> None:
    found = rows(program, "sql-queries")
    assert "ada@example.com" not in json.dumps(found)
    assert any(str(row["query"]).startswith("SELECT id FROM orders") and row["error"] is None for row in found)
    assert any(row["query"] == "SELECT broken" and row["error"] is not None for row in found)


def test_statements_have_their_text(program) -> None:
    assert {row["statement"] for row in rows(program, "sql-statements")} == {"UPDATE orders SET paid = true"}


def test_handshakes_of_both_sides_are_seen(program) -> None:
    found = rows(program, "tls-handshakes")
    assert {row["isClient"] for row in found} == {True, False}
    assert {row["serverName"] for row in found if row["isClient"]} == {"shop.example"}


def test_decoding_shows_sizes_and_errors_never_the_document(program) -> None:
    found = rows(program, "json-decoding")
    assert {row["error"] is None for row in found} == {True, False}
    assert "ada@example.com" not in json.dumps(found)


@pytest.mark.parametrize("name", ["gc-cycles", "stop-the-world"])
def test_the_runtimes_pauses_have_a_latency_and_who_asked(program, name) -> None:
    assert any("main.main" in str(row["stack"]) for row in rows(program, name, hits=4))


def test_errors_are_seen_where_they_are_made(program) -> None:
    found = rows(program, "errors-made", hits=1)
    assert {row["format"] for row in found} == {"work %d of %s went wrong"}
    assert "main.work" in str(found[0]["stack"])


def test_one_function_is_shown_whole(program) -> None:
    for row in rows(program, "one-function", hits=12):
        assert "ada@example.com" not in json.dumps(row)
        assert row["result"] == (0 if row["id"] % 10 == 0 else row["id"] * 2)
        assert (row["error"] is None) == (row["id"] % 10 != 0)


def test_every_template_of_the_library_is_in_the_readme_and_tried_here() -> None:
    readme, tests = (LIBRARY.parent / "README.md").read_text(), Path(__file__).read_text()
    names = sorted(file.stem for file in LIBRARY.glob("*.yaml"))
    assert len(names) >= 8
    assert [name for name in names if f"`go/{name}`" not in readme or f'"{name}"' not in tests] == []
