"""A process is known by pid and start time, and its end is noticed."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from agents.processes.model import Process
from agents.processes.proc import ProcFs
from agents.runtime.watch import ProcessWatch


@pytest.fixture
def child():
    running = subprocess.Popen(["sleep", "60"])
    yield running
    running.kill()
    running.wait()


@pytest.fixture
def process(child) -> Process:
    found = ProcFs().find(child.pid)
    assert found is not None
    return found


def test_a_running_process_is_watched(process):
    watch = ProcessWatch([process])
    assert watch.alive == (process.pid,)
    assert watch.ended() == ()
    watch.close()


def test_the_end_of_a_process_is_told_once(child, process):
    watch = ProcessWatch([process])
    child.kill()
    child.wait()
    assert watch.ended() == (process.pid,)
    assert watch.ended() == ()
    assert watch.alive == ()


def test_a_process_that_has_ended_and_was_not_waited_for_counts_as_ended(child, process):
    watch = ProcessWatch([process])
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert watch.ended() == (process.pid,)


def test_a_pid_with_another_start_time_is_not_watched(process):
    watch = ProcessWatch([dataclasses.replace(process, start_ticks=process.start_ticks + 1)])
    assert watch.alive == ()


def test_a_pid_without_a_process_is_not_watched(child, process):
    child.kill()
    child.wait()
    assert ProcessWatch([process]).alive == ()


def test_closing_leaves_no_descriptor(process):
    before = len(list(Path("/proc/self/fd").iterdir()))
    ProcessWatch([process]).close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
