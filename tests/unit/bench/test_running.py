"""One figure that cannot be measured costs no other one, and is not passed over in silence."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench import __main__ as running
from bench import bpftrace, figure
from bench.figure import Figure

FINE = Figure("fine_ms", "ms", 1, 2, "a peer", "lower is better")
STUBBORN = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print(flush=True); time.sleep(60)"


def broken() -> list[Figure]:
    raise TimeoutError("the peer did not stop")


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "keep", lambda figures: figure.keep(figures, tmp_path / "results.json"))
    monkeypatch.setattr(running, "SCRIPTS", {"broken": broken, "fine": lambda: [FINE]})
    return tmp_path / "results.json"


def test_a_script_that_fails_loses_no_figure_of_another_and_is_named(results, capsys):
    assert running.main([]) == 1
    assert [row["name"] for row in json.loads(results.read_text())] == ["fine_ms"]
    said = capsys.readouterr()
    assert "fine_ms" in said.out
    assert "no figures of broken (TimeoutError: the peer did not stop)" in said.err


def test_when_all_are_measured_the_status_is_zero(results):
    assert running.main(["fine"]) == 0
    assert not results.exists()


@pytest.fixture
def stubborn():
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child
        child.kill()


def test_a_peer_that_obeys_no_signal_is_killed_and_said_not_to_have_stopped(stubborn):
    assert bpftrace.stop(stubborn, 0.05) is None
    assert stubborn.returncode == -9
