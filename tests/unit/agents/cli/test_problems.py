"""What goes wrong on the command line ends with the documented status and says what to do; no kernel is needed for it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agents.cli.main import cli

GOOD = """\
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {name: sums, description: Sums}
spec:
  parameters:
    minUnits: {type: int, min: 0, max: 10}
  target: {service: shop}
  probe:
    function: shop/money.Sum
    at: entry
    where: l.Units >= params.minUnits
    capture: {units: l.Units}
  table: sums
"""


def run(*arguments: str, text: str | None = None, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli, list(arguments), input=text, env=env)


@pytest.fixture
def template(tmp_path) -> str:
    file = tmp_path / "sums.yaml"
    file.write_text(GOOD)
    return str(file)


@pytest.mark.parametrize("command", ["try", "explain"])
def test_a_process_must_be_named(command, template):
    done = run(command, template)
    assert done.exit_code == 2
    assert "--pid N or --exe PATH (neither came)" in done.stderr


def test_a_process_is_named_once(template):
    done = run("try", template, "--pid", "1", "--exe", "/bin/true")
    assert done.exit_code == 2
    assert "both came" in done.stderr


def test_an_unknown_option_is_named():
    done = run("functions", "--pib", "1")
    assert done.exit_code == 2
    assert "--pib" in done.stderr


def test_a_process_that_is_not_there_is_said(template):
    done = run("try", template, "--pid", "4194303", "-p", "minUnits=1")
    assert done.exit_code == 3
    assert "there is no process 4194303" in done.stderr


def test_an_executable_that_is_not_there_is_said(template):
    done = run("explain", template, "--exe", "/nowhere/at/all", "-p", "minUnits=1")
    assert done.exit_code == 3
    assert "/nowhere/at/all" in done.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("capture: {units: l.Units}", "capture: {units: l.}"), ("line 12",)),
        (("kind: ProbeTemplate", "kind: Other"), ("line 2",)),
        (("at: entry", "at: noon"), ("line 10",)),
        (("function: shop/money.Sum", "funktion: x"), ("funktion",)),
    ],
)
def test_a_bad_template_is_refused_with_its_place(tmp_path, change, words):
    file = tmp_path / "bad.yaml"
    file.write_text(GOOD.replace(*change))
    done = run("try", str(file), "--pid", "1", "-p", "minUnits=1")
    assert done.exit_code == 2
    for word in words:
        assert word in done.stderr


def test_a_bad_template_is_said_as_json_too():
    done = run("explain", "-", "--pid", "1", "-o", "json", text=GOOD.replace("at: entry", "at: noon"))
    assert done.exit_code == 2
    document = json.loads(done.stdout)
    assert (document["binds"], document["reason"], document["line"]) == (False, "bad_template", 10)
    assert document["problem"]


def test_an_unknown_pxl_name_is_refused_with_the_nearest():
    done = run("try", "-", "--pid", "1", text="import pxtrace\nimport px\npxtrace.UpsertTracepont('a')\n")
    assert done.exit_code == 2
    assert "line 3" in done.stderr
    assert "UpsertTracepoint" in done.stderr


@pytest.mark.parametrize("text", ["", "\0\0", "hello"])
def test_what_is_no_template_is_refused(text):
    done = run("try", "-", "--pid", "1", text=text)
    assert done.exit_code == 2
    assert "bad template" in done.stderr


def test_a_file_that_is_not_text_or_not_there_is_refused(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in run("try", str(tmp_path / "binary"), "--pid", "1").stderr
    done = run("try", str(tmp_path / "absent.yaml"), "--pid", "1")
    assert done.exit_code == 2
    assert "absent.yaml cannot be read" in done.stderr


def test_a_huge_file_is_not_read(tmp_path):
    (tmp_path / "huge").write_text("#" * (1 << 21))
    assert "bigger than" in run("try", str(tmp_path / "huge"), "--pid", "1").stderr


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("-p", "minUnits=11"), "10"),
        (("-p", "minUnits=x"), "minUnits"),
        (("-p", "nope=1"), "nope"),
        (("-p", "minUnits"), "name=value"),
        ((), "minUnits"),
    ],
)
def test_a_parameter_outside_its_bounds_is_refused(template, given, words):
    done = run("try", template, "--pid", "1", *given)
    assert done.exit_code == 2
    assert words in done.stderr


def test_a_predicate_on_a_hidden_value_is_refused():
    asks = GOOD.replace("l.Units >= params.minUnits", 'l.Password == "x"').replace(
        "  parameters:\n    minUnits: {type: int, min: 0, max: 10}\n", ""
    )
    done = run("try", "-", "--pid", "1", text=asks)
    assert done.exit_code == 2
    assert "l.Password" in done.stderr


def test_a_duration_that_is_none_is_refused(template):
    done = run("try", template, "--pid", str(os.getpid()), "-p", "minUnits=1", "--for", "5 parsecs")
    assert done.exit_code == 2
    assert "parsecs" in done.stderr


def config(tmp_path: Path, text: str) -> dict[str, str]:
    file = tmp_path / "agent.yaml"
    file.write_text(text)
    return {"PROBEGATE_AGENT_CONFIG": str(file)}


@pytest.mark.parametrize("command", ["try", "explain"])
def test_a_function_that_the_host_denies_is_refused(tmp_path, template, command):
    env = config(tmp_path, "deny: {functions: ['shop/*']}")
    done = run(command, template, "--pid", str(os.getpid()), "-p", "minUnits=1", env=env)
    assert done.exit_code == 4
    assert "denies functions like 'shop/*'" in done.stderr


def test_an_executable_that_the_host_denies_is_refused(tmp_path, template):
    env = config(tmp_path, "deny: {paths: ['*/python*']}")
    for command in (("explain", template, "-p", "minUnits=1"), ("functions",)):
        done = run(*command, "--pid", str(os.getpid()), env=env)
        assert done.exit_code == 4
        assert "denies executables" in done.stderr


def test_unmasked_values_can_be_denied_by_the_host(tmp_path, template):
    env = config(tmp_path, "allowUnmasked: false")
    done = run("try", template, "--pid", str(os.getpid()), "-p", "minUnits=1", "--unmasked", env=env)
    assert done.exit_code == 4
    assert "--unmasked" in done.stderr


def test_a_misspelt_host_rule_is_not_taken_for_no_rule(tmp_path, template):
    done = run("explain", template, "--pid", "1", env=config(tmp_path, "dent: {}"))
    assert done.exit_code == 4
    assert "dent" in done.stderr


def test_an_agent_without_identity_or_token_says_what_it_needs(tmp_path):
    done = run("run", "--server", "localhost:1", "--state", str(tmp_path))
    assert done.exit_code == 4
    assert "--join-token" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--server", "localhost"), "HOST:PORT"),
        (("--server", "localhost:1", "--join-token", "abc"), "pgj_"),
        ((), "--server"),
    ],
)
def test_run_says_what_its_arguments_should_look_like(arguments, words):
    done = run("run", *arguments)
    assert done.exit_code == 2
    assert words in done.stderr


def test_a_bad_join_token_is_not_repeated():
    assert "abcdef" not in run("run", "--server", "localhost:1", "--join-token", "abcdef").stderr


@pytest.mark.parametrize("command", ["run", "functions", "explain", "try", "doctor"])
def test_every_command_explains_itself(command):
    done = run(command, "-h")
    assert done.exit_code == 0
    assert "Usage:" in done.stdout
