"""`explain`, `functions` and `doctor` say beforehand what a probe will see; only the shop's file is needed for the first two."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.builders.agent_program import PACKAGE, SUM, run_agent, shop
from tests.builders.programs import PROGRAMS, build_go

TEMPLATE = """\
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {{name: sums, description: Sums}}
spec:
  target: {{service: checkoutservice, language: go}}
  probe:
    function: {function}
    at: entry+return
    capture:
      units: l.Units
      sum: ret(0).{field}
      latency: latency()
  table: sums
  masking: {{units: drop}}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of its own: nobody runs it, whatever other tests run."""
    return Path(shutil.copy2(build_go(PROGRAMS / "shop"), tmp_path_factory.mktemp("explained") / "checkoutservice"))


def explained(program: Path, status: int, function: str = SUM, field: str = "Units") -> dict[str, Any]:
    text = TEMPLATE.format(function=function, field=field)
    done = run_agent("explain", "-", "--exe", str(program), "-o", "json", text=text)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def test_a_template_that_binds_shows_sites_captures_masking_and_forecast(program):
    said = explained(program, 0)
    assert said["binds"] is True
    assert [site["role"] for site in said["sites"]].count("entry") == 1
    assert {site["instruction"] for site in said["sites"] if site["role"] == "return"} == {"ret"}
    assert set(said["sites"][0]) >= {"address", "offset", "trap_class", "instruction", "inlined", "line"}
    captures = {capture["column"]: capture for capture in said["captures"]}
    assert (captures["sum"]["type"], captures["sum"]["readable"]) == ("int64", True)
    assert captures["latency"]["masking"] == {"action": "allow", "rule": "platform:default.latency"}
    assert (captures["units"]["readable"], captures["units"]["reason"]) == (False, "dropped")
    assert said["forecast"]["sites"] == len(said["sites"])
    assert said["forecast"]["processes"] == 0


def test_a_function_that_is_not_there_is_answered_with_the_nearest(program):
    said = explained(program, 3, f"{PACKAGE}/money.Som")
    assert (said["binds"], said["reason"]) == (False, "no_function")
    assert SUM in said["detail"]


def test_a_field_that_is_not_there_is_answered_with_those_that_are(program):
    said = explained(program, 3, field="Unitz")
    assert (said["binds"], said["reason"], said["column"]) == (False, "unknown_field", "sum")
    assert "Units" in said["detail"]
    captures = {capture["column"]: capture for capture in said["captures"]}
    assert captures["latency"]["readable"] is True


def test_a_stripped_binary_is_answered_with_what_to_do(program, tmp_path):
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", "-o", str(stripped), str(program)], check=True)
    said = explained(stripped, 3)
    assert (said["binds"], said["reason"]) == (False, "no_debug_info")
    assert "strip" in said["detail"]


def test_what_is_no_executable_is_answered(tmp_path):
    file = tmp_path / "text"
    file.write_text("hello")
    assert explained(file, 3)["reason"] == "not_elf"


def test_the_plan_can_be_read_after_each_pass(program):
    text = TEMPLATE.format(function=SUM, field="Units")
    done = run_agent("explain", "-", "--exe", str(program), "--dump", text=text)
    assert done.returncode == 0, done.stderr
    for heading in ("== bind", "== predicate", "== layout", "== instructions of return"):
        assert heading in done.stdout


def test_functions_are_listed_with_their_types(program):
    done = run_agent("functions", "--exe", str(program), "money.Sum", "-o", "json")
    (function,) = json.loads(done.stdout)
    assert function["name"] == SUM
    assert [argument["name"] for argument in function["arguments"]] == ["l", "r"]
    assert function["arguments"][0]["type"].endswith("genproto.Money")
    assert function["file"].endswith("money.go")
    assert function["language"] == "go"


def test_functions_of_a_running_process_are_those_of_its_file(program):
    with shop() as running:
        by_pid = run_agent("functions", "--pid", str(running.pid), "money", "-o", "json")
    by_file = run_agent("functions", "--exe", str(program), "money", "-o", "json")
    assert json.loads(by_pid.stdout) == json.loads(by_file.stdout) != []


def test_names_are_not_cut_where_the_output_is_read_by_a_program(program):
    assert SUM in run_agent("functions", "--exe", str(program), "money").stdout


@pytest.mark.host
def test_doctor_says_what_this_host_can_do():
    done = run_agent("doctor", "-o", "json")
    assert done.returncode == 0, done.stdout
    said = json.loads(done.stdout)
    assert said["able"] is True
    assert {"bpf", "sleepable", "uprobe_multi", "CAP_BPF"} <= {feature["name"] for feature in said["features"]}
    assert all(feature["cost"] for feature in said["features"] if not feature["ok"])
