"""`probegate-agent try` shows what the program really did: every row is compared with what the shop itself printed."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agents.runtime import inventory
from tests.builders.agent_program import (
    PACKAGE,
    SUM,
    agent,
    agent_command,
    agent_environment,
    calls,
    loaded_by,
    run_agent,
    shop,
)

pytestmark = [pytest.mark.host, pytest.mark.xdist_group("host")]

TEMPLATE = f"""\
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {{name: checkout-money-sum, description: Sums in the checkout service, labels: {{team: payments}}}}
spec:
  parameters:
    minUnits: {{type: int, min: 0, max: 1000000, default: 0}}
  target: {{service: checkoutservice, language: go}}
  probe:
    function: {SUM}
    at: entry+return
    where: l.Units >= params.minUnits and l.CurrencyCode == "USD"
    capture:
      currency: l.CurrencyCode
      lUnits: l.Units
      lNanos: l.Nanos
      rUnits: r.Units
      rNanos: r.Nanos
      retUnits: ret(0).Units
      retNanos: ret(0).Nanos
      error: ret(1)
      latency: latency()
      stack: stack()
  table: checkout_tracer_table
  limits: {{ttl: 10m, maxEventsPerSecond: 1000, cpu: 50%}}
"""
COLUMNS = ("lUnits", "lNanos", "rUnits", "rNanos", "retUnits", "retNanos", "currency")

CHARGE = f"""\
apiVersion: probegate/v1
kind: ProbeTemplate
metadata: {{name: charge, description: What is charged}}
spec:
  target: {{service: checkoutservice}}
  probe:
    function: {PACKAGE}/orders.Charge
    at: entry
    capture:
      id: o.ID
      order: o
      email: o.Email
      items: o.Items[:2]
      note: note
  table: charges
  masking: {{email: hash}}
  limits: {{cpu: 50%}}
"""


@pytest.fixture
def template(tmp_path) -> Path:
    file = tmp_path / "sum.yaml"
    file.write_text(TEMPLATE)
    return file


def values(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[column] for column in COLUMNS)


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def last(text: str) -> dict[str, Any]:
    return json.loads(text.splitlines()[-1])["accounting"]


def assert_adds_up(accounting: dict[str, Any]) -> None:
    parts = [accounting[part] for part in ("delivered", "filtered", "sampled_out", "throttled", "expired")]
    assert accounting["hits"] == sum(parts) + sum(accounting["lost"].values()), accounting


def test_every_row_is_what_the_shop_printed_for_the_same_call(template):
    with shop() as program:
        done = run_agent("try", str(template), "--pid", str(program.pid), "--hits", "120", "-o", "jsonl")
        assert done.returncode == 0, done.stderr
        shown = rows(done.stdout)
        program.until(lambda: calls(program)[-1]["lUnits"] > shown[-1]["lUnits"])
        printed = [tuple(call[column] for column in COLUMNS) for call in calls(program)]
        errors = {values(call): call.get("error") for call in calls(program)}
    assert len(shown) == 120
    start = printed.index(values(shown[0]))
    assert [values(row) for row in shown] == printed[start : start + 120]
    for row in shown:
        assert row["pid"] == program.pid
        assert 0 < row["latency"] < 1_000_000_000
        assert row["stack"][0].startswith(f"{PACKAGE}/money.Sum")
        assert any(frame.startswith("main.main") for frame in row["stack"])
        assert (row["error"] is None) == (errors[values(row)] is None)
    times = [row["time_"] for row in shown]
    assert times == sorted(times)
    assert any(row["error"] is not None for row in shown), "the shop mixes currencies every 50 orders"


def test_a_returned_error_is_shown_with_its_type_and_its_value(template):
    with shop("-every", "2ms") as program:
        done = run_agent("try", str(template), "--pid", str(program.pid), "--hits", "60")
    failed = [row["error"] for row in rows(done.stdout) if row["error"] is not None]
    assert failed
    assert {error["type"] for error in failed} == {"*errors.errorString"}
    assert "currencies differ" in json.dumps(failed[0]["value"])


def test_it_says_that_it_is_armed_and_accounts_for_every_hit(template):
    with shop() as program:
        done = run_agent("try", str(template), "--pid", str(program.pid), "--hits", "30")
    talk = [json.loads(line) for line in done.stderr.splitlines()]
    assert talk[0] == {"armed": True, "sites": 4}
    accounting = talk[-1]["accounting"]
    assert accounting["delivered"] == 30
    assert_adds_up(accounting)


def test_a_predicate_with_a_parameter_decides_in_the_kernel(template):
    with shop() as program:
        done = run_agent("try", str(template), "--pid", str(program.pid), "-p", "minUnits=1000000", "--for", "2s")
    assert done.stdout == ""
    accounting = last(done.stderr)
    assert accounting["filtered"] > 10
    assert_adds_up(accounting)


def test_the_same_through_a_pxl_script_from_stdin():
    script = f"""
import pxtrace
import px

@pxtrace.probe('{SUM}')
def probe_func():
    return [{{'lUnits': pxtrace.ArgExpr('l.Units')}}, {{'retUnits': pxtrace.RetExpr('$0.Units')}}]

pxtrace.UpsertTracepoint('t', 'sums', probe_func, pxtrace.PodProcess('shop/checkoutservice'), '10m')
px.display(px.DataFrame('sums'))
"""
    with shop() as program:
        done = run_agent("try", "-", "--pid", str(program.pid), "--hits", "10", text=script)
        assert done.returncode == 0, done.stderr
        shown = [(row["lUnits"], row["retUnits"]) for row in rows(done.stdout)]
        program.until(lambda: calls(program)[-1]["lUnits"] > shown[-1][0])
        printed = {(call["lUnits"], call["retUnits"]) for call in calls(program)}
    assert len(shown) == 10
    assert set(shown) <= printed


def test_people_and_cards_are_masked_unless_the_host_lets_them_be_seen(tmp_path):
    file = tmp_path / "charge.yaml"
    file.write_text(CHARGE)
    with shop() as program:
        masked = run_agent("try", str(file), "--pid", str(program.pid), "--hits", "6")
        bare = run_agent("try", str(file), "--pid", str(program.pid), "--hits", "6", "--unmasked")
    assert masked.returncode == bare.returncode == 0, masked.stderr + bare.stderr
    for secret in ("@example", "4111", "5500-0000", "340000000000009"):
        assert secret not in masked.stdout
    assert "@example" in bare.stdout
    assert "Cvv" not in masked.stdout or '"Cvv":null' in masked.stdout
    assert any("unmasked" in json.loads(line).get("warning", "") for line in bare.stderr.splitlines())
    assert [row["id"][:2] for row in rows(masked.stdout)] == ["o-"] * 6
    assert all(1 <= len(row["items"]) <= 2 for row in rows(masked.stdout))


def test_an_address_that_the_limit_cuts_is_seen_whole_and_nothing_past_the_limit_is_shown(tmp_path):
    file = tmp_path / "charge.yaml"
    short = CHARGE.replace("limits: {", "limits: {maxString: 14, ").replace("  masking: {email: hash}\n", "")
    file.write_text(short)
    with shop() as program:
        done = run_agent("try", str(file), "--pid", str(program.pid), "--hits", "6")
        bare = run_agent("try", str(file), "--pid", str(program.pid), "--hits", "6", "--unmasked")
    assert done.returncode == bare.returncode == 0, done.stderr + bare.stderr
    for row in rows(done.stdout):
        assert (row["note"], row["email"], row["order"]["Email"]) == ("receipt to <EMAIL>", "<EMAIL>", "<EMAIL>")
        assert row["_cut"]["note"] > 14
    assert {len(row["note"]) for row in rows(bare.stdout)} == {14}


def test_hashes_of_one_run_join(tmp_path):
    file = tmp_path / "charge.yaml"
    file.write_text(CHARGE)
    with shop() as program:
        done = run_agent("try", str(file), "--pid", str(program.pid), "--hits", "9")
    assert len({row["email"] for row in rows(done.stdout)}) == 3, "the shop has three customers"


def test_other_processes_of_the_same_file_are_not_seen(template):
    with shop() as program, shop("-every", "5ms") as neighbour:
        done = run_agent("try", str(template), "--pid", str(program.pid), "--for", "2s")
        assert done.returncode == 0, done.stderr
        assert {row["pid"] for row in rows(done.stdout)} == {program.pid}
        assert neighbour.child.poll() is None


def test_an_executable_means_all_its_processes(template):
    with shop() as one, shop() as two:
        exe = one.child.args[0]
        done = run_agent("try", str(template), "--exe", exe, "--hits", "60")
        assert {row["pid"] for row in rows(done.stdout)} >= {one.pid, two.pid}  # and those of tests beside this one


# --- ends ----------------------------------------------------------------------------------------------------------


def test_ctrl_c_ends_it_cleanly_and_leaves_nothing_in_the_kernel(template):
    with shop() as program, agent("try", str(template), "--pid", str(program.pid)) as tracer:
        tracer.until(lambda: len(tracer.out) > 5)
        loaded = loaded_by(tracer.pid)
        assert loaded
        tracer.stop(signal.SIGINT)
        assert tracer.ended() == 0
        assert_adds_up(last("".join(tracer.err)))
        assert last("".join(tracer.err))["delivered"] == len(tracer.out)
        assert not inventory.remaining(loaded)
        before = len(program.out)
        program.until(lambda: len(program.out) > before + 5)


def test_sigkill_leaves_nothing_in_the_kernel(template):
    with shop() as program, agent("try", str(template), "--pid", str(program.pid)) as tracer:
        tracer.until(lambda: tracer.out)
        loaded = loaded_by(tracer.pid)
        assert loaded
        tracer.stop(signal.SIGKILL)
        tracer.ended()
        tracer.until(lambda: not inventory.remaining(loaded), 5)
        before = len(program.out)
        program.until(lambda: len(program.out) > before + 5)


def test_it_ends_when_the_program_ends(template):
    with shop("-every", "20ms", "-orders", "300") as program:
        done = run_agent("try", str(template), "--pid", str(program.pid))
    assert done.returncode == 0, done.stderr
    assert {"ended": "target_exited"} in [json.loads(line) for line in done.stderr.splitlines()]
    assert_adds_up(last(done.stderr))


def test_it_ends_when_nobody_reads_any_more(template):
    with shop() as program:
        pipe = subprocess.Popen(
            ["sh", "-c", f"{' '.join(agent_command('try', str(template), '--pid', str(program.pid)))} | head -n 3"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=agent_environment(),
        )
        out, err = pipe.communicate(timeout=60)
    assert len(out.splitlines()) == 3
    assert "Traceback" not in err
    assert_adds_up(last(err))


def test_a_probe_over_its_cpu_budget_takes_itself_away(tmp_path):
    file = tmp_path / "hot.yaml"
    file.write_text(TEMPLATE.replace("cpu: 50%", "cpu: 0.01%").replace('"USD"', '"never"'))
    with shop("-every", "1ms") as program:
        done = run_agent("try", str(file), "--pid", str(program.pid), "--for", "30s")
    assert {"ended": "budget"} in [json.loads(line) for line in done.stderr.splitlines()]
    assert_adds_up(last(done.stderr))
