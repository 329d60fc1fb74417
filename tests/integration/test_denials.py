"""No is said with a reason that a newcomer can act on, and with the exit status that scripts rely on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import ADA, DORA, GRACE, VERA
from tests.integration.test_one_probe import OUR_SCRIPT, approve

pytestmark = [pytest.mark.host, pytest.mark.peer]

OK, ERROR, USAGE, DENIED, WAITING, CONFLICT = 0, 1, 2, 3, 5, 6

TEMPLATE = """\
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {{name: {name}, description: Sums above a bound}}
spec:
  parameters:
    minUnits: {{type: int, min: 0, max: 1000, default: 0}}
  target: {{service: checkoutservice, language: go}}
  probe:
    function: {function}
    at: entry+return
    where: l.Units >= params.minUnits
    capture:
      units: {capture}
  table: {name}_table
  limits: {{ttl: 10m}}
"""
SUM = "github.com/GoogleCloudPlatform/microservices-demo/src/checkoutservice/money.Sum"


def write(tmp_path: Path, name: str, function: str = SUM, capture: str = "l.Units") -> Path:
    file = tmp_path / f"{name}.yaml"
    file.write_text(TEMPLATE.format(name=name, function=function, capture=capture))
    return file


def refused(stack, person, *arguments: str, status: int, words: tuple[str, ...]) -> str:
    done = stack.run(person, *arguments)
    assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
    for word in words:
        assert word in done.stderr, done.stderr
    return done.stderr


def test_a_viewer_may_not_submit(stack):
    refused(
        stack,
        VERA,
        "template",
        "submit",
        str(OUR_SCRIPT),
        status=DENIED,
        words=("viewer", "template:submit", "developer"),
    )


def test_an_author_may_not_approve_their_own_template(stack, tmp_path):
    submitted = stack.json(DORA, "template", "submit", str(write(tmp_path, "own")))[0]
    refused(
        stack, DORA, "template", "approve", "own", "--digest", submitted["digest"],
        status=DENIED, words=("you submitted", "somebody else"),
    )  # fmt: skip


def test_a_digest_that_was_not_shown_approves_nothing(stack, tmp_path):
    stack.json(ADA, "template", "submit", str(write(tmp_path, "digest")))
    refused(
        stack,
        GRACE,
        "template",
        "approve",
        "digest",
        "--digest",
        "sha256:" + "0" * 64,
        status=CONFLICT,
        words=("digest",),
    )


def test_a_parameter_out_of_bounds_is_refused(stack, tmp_path):
    file = write(tmp_path, "bounds")
    approve(stack, file)
    refused(stack, ADA, "run", str(file), "-p", "minUnits=1001", status=USAGE, words=("minUnits", "1001", "1000"))
    refused(stack, ADA, "run", str(file), "-p", "nosuch=1", status=USAGE, words=("nosuch", "minUnits"))


def test_a_ttl_over_the_cap_is_refused(stack, tmp_path):
    file = write(tmp_path, "ttl")
    approve(stack, file)
    refused(stack, ADA, "run", str(file), "--ttl", "3h", status=USAGE, words=("3h", "10m"))


def test_an_edited_template_waits_for_its_own_approval(stack, tmp_path):
    file = write(tmp_path, "edited")
    approve(stack, file)
    file.write_text(file.read_text().replace("max: 1000", "max: 2000"))
    refused(stack, ADA, "run", str(file), status=WAITING, words=("not approved", "template review edited"))


def test_a_template_changed_behind_the_approval_is_refused(stack, tmp_path):
    """Somebody with the database in hand widens an approved template: the stored bytes are not what was approved."""
    import sqlite3

    file = write(tmp_path, "behind")
    approve(stack, file)
    with sqlite3.connect(stack.state / "probegate.db") as database:
        changed = database.execute(
            "update template_versions set canonical = cast(replace(cast(canonical as text), 'l.Units', 'r.Units') as blob)"
            " where name = 'behind'"
        )
        assert changed.rowcount == 1
    refused(stack, ADA, "run", "behind", status=CONFLICT, words=("changed after",))


def test_an_unknown_field_is_named_with_those_there_are(stack, tmp_path):
    file = write(tmp_path, "field", capture="l.Unit")
    approve(stack, file)
    refused(stack, ADA, "run", str(file), status=ERROR, words=("Unit", "Units", "CurrencyCode"))


def test_a_function_that_does_not_exist_is_answered_with_near_ones(stack, tmp_path):
    file = write(tmp_path, "function", function=SUM.replace("Sum", "Summ"))
    approve(stack, file)
    refused(stack, ADA, "run", str(file), status=ERROR, words=("Summ", "money.Sum"))


def test_an_unknown_pxl_name_is_refused_with_its_place_and_the_nearest(stack, tmp_path):
    script = tmp_path / "typo.pxl"
    script.write_text(OUR_SCRIPT.read_text().replace("pxtrace.ArgExpr('l.Nanos')", "pxtrace.ArgExp('l.Nanos')"))
    refused(stack, ADA, "template", "lint", str(script), status=USAGE, words=("line", "column", "ArgExp", "ArgExpr"))


def test_another_tenant_answers_as_an_absent_one(stack):
    stack.server_command("tenant", "create", "other", "--admin", "admin")
    theirs = stack.run(ADA, "--tenant", "other", "template", "ls")
    absent = stack.run(ADA, "--tenant", "absent", "template", "ls")
    assert theirs.returncode == absent.returncode != OK
    assert theirs.stderr.replace("other", "absent") == absent.stderr


def test_somebody_who_is_not_signed_in_is_told_how(stack, tmp_path):
    from dataclasses import replace

    refused(stack, replace(ADA, name="nobody"), "template", "ls", status=4, words=("probegate login",))
