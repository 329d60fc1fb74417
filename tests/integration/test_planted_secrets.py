"""A real program passes cards and addresses around; a probe captures all of it; on disk and on screen there is none."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from pyarrow import ipc, parquet

from deploy.local_stack import LocalStack
from tests.builders.planted import Secret
from tests.integration.conftest import ADA, GRACE
from tests.integration.test_one_probe import approve, rows_of

pytestmark = [pytest.mark.host, pytest.mark.peer]

SHOPS_OWN = ("shop", "checkoutservice")  # the program's own output and executable: there they are meant to be
SECRETS = [
    Secret("ada@example.com"),
    Secret("grace@example.org"),
    Secret("linus@example.net"),
    Secret("4111 1111 1111 1111", 4111111111111111),
    Secret("5500-0000-0000-0004", 5500000000000004),
    Secret("340000000000009", 340000000000009),
]
EVERYTHING = """\
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {name: everything, description: All that is charged}
spec:
  target: {service: checkoutservice, language: go}
  probe:
    function: github.com/GoogleCloudPlatform/microservices-demo/src/checkoutservice/orders.Charge
    at: entry+return
    capture:
      order: o
      email: o.Email
      hashed: o.Email[:40]
      card: o.Card
      total: total
      note: note
      receipt: ret(0)
      error: ret(1)
      stack: stack()
  table: everything
  masking: {hashed: redact}
"""


def found(*where: bytes) -> list[bytes]:
    return [needle for each in SECRETS for needle in each.needles if any(needle in one for one in where)]


def pages(stack: LocalStack) -> bytes:
    """Every page of the console that shows rows, templates or the log, as Grace's browser gets them."""
    with httpx.Client(base_url=stack.url, timeout=20.0) as browser:
        begun = browser.get("/console/sign-in")
        login = browser.get(begun.headers["location"])
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', login.text))
        hidden = {name: value.replace("&amp;", "&").replace("&#34;", '"') for name, value in hidden.items()}
        answer = browser.post("/oauth/authorize", data={**hidden, "name": GRACE.name, "password": GRACE.password})
        browser.get(answer.headers["location"])
        read = []
        for page in ("templates", "templates/everything", "tracepoints", "tables", "tables/everything", "audit"):
            shown = browser.get(f"/console/acme/{page}")
            assert shown.status_code in {200, 403, 404}, (page, shown.status_code)
            read.append(shown.content)
        assert b"everything" in read[0]
        return b"".join(read)


def test_nothing_of_what_was_captured_is_in_files_logs_exports_or_pages(stack: LocalStack, tmp_path: Path):
    template = tmp_path / "everything.yaml"
    template.write_text(EVERYTHING)
    approve(stack, template)
    done = stack.run(ADA, "run", str(template), "--rows", "30", "-o", "jsonl")
    assert done.returncode == 0, done.stderr
    rows = rows_of(done.stdout)
    assert {row["email"] for row in rows} == {"<EMAIL>"}
    assert all("Number" in row["card"] and row["card"]["Number"].startswith("****") for row in rows)

    outputs = [done.stdout.encode(), done.stderr.encode()]
    for form in ("csv", "jsonl", "parquet", "arrow"):
        file = tmp_path / f"rows.{form}"
        exported = stack.run(ADA, "export", "everything", str(file), "--format", form)
        assert exported.returncode == 0, exported.stderr
        outputs.append(file.read_bytes())
    outputs.append(str(parquet.read_table(tmp_path / "rows.parquet").to_pylist()).encode())
    outputs.append(str(ipc.open_stream(tmp_path / "rows.arrow").read_all().to_pylist()).encode())
    log = tmp_path / "audit.jsonl"
    assert stack.run(GRACE, "audit", "export", str(log)).returncode == 0
    outputs += [log.read_bytes(), pages(stack)]
    assert not found(*outputs)

    files = [path for path in stack.directory.rglob("*") if path.is_file() and not path.name.startswith(SHOPS_OWN)]
    leaking = {str(path): found(path.read_bytes()) for path in files}
    assert any(path.suffix == ".db" for path in files)
    assert not {path: needles for path, needles in leaking.items() if needles}
