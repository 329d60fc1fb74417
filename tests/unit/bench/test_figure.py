"""What others read of a run of the bench: stable keys, and a ratio only where there is one."""

from __future__ import annotations

import io
import json

from rich.console import Console

from bench.figure import Figure, keep, show

CALL = Figure("probed_call_c", "us", 1.5, 20.0, "bpftrace", "lower is better")
LOST = Figure("events_lost", "events", 0, 0, "bpftrace", "lower is better")


def test_a_ratio_is_ours_over_the_peers():
    assert CALL.ratio == 0.075


def test_against_nothing_there_is_no_ratio():
    assert LOST.ratio is None


def test_results_are_a_list_with_stable_keys(tmp_path):
    keep([CALL, LOST], tmp_path / "out" / "results.json")
    kept = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [list(row) for row in kept] == [["name", "unit", "ours", "peer", "peer_name", "ratio", "note"]] * 2
    assert [row["ratio"] for row in kept] == [0.075, None]


def test_the_table_names_every_figure_and_its_note():
    shown = io.StringIO()
    show([CALL, LOST], Console(file=shown, width=100))
    assert all(word in shown.getvalue() for word in ("probed_call_c", "events_lost", "0.075", "lower is better"))
