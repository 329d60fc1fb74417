"""One look at /proc serves all probes: what is new is read, what is known is not, and nobody is missed for long."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.processes.proc import ProcFs
from agents.processes.table import FRESH_SECONDS, WHOLE_SECONDS, YOUNG_SECONDS, ProcessTable
from tests.unit.agents.processes.test_processes import write_process


class CountingProcFs(ProcFs):
    """How many processes were read in full."""

    read = 0

    def find(self, pid):
        self.read += 1
        return super().find(pid)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def proc(tmp_path) -> CountingProcFs:
    write_process(tmp_path, 10, "/srv/shop")
    write_process(tmp_path, 11, "/srv/cart")
    return CountingProcFs(tmp_path)


def pids(table: ProcessTable) -> list[int]:
    return sorted(process.pid for process in table.all())


def test_what_is_known_is_not_read_again(proc, clock):
    table = ProcessTable(proc, clock)
    before = table.changes()
    for _ in range(10):
        clock.now += WHOLE_SECONDS
        assert pids(table) == [10, 11]
    assert table.changes() == before
    assert proc.read == 2


def test_probes_that_ask_at_the_same_moment_share_one_look(proc, clock, tmp_path):
    table = ProcessTable(proc, clock)
    assert pids(table) == [10, 11]
    write_process(tmp_path, 12)
    clock.now += FRESH_SECONDS / 2
    assert pids(table) == [10, 11]
    clock.now += FRESH_SECONDS
    assert pids(table) == [10, 11, 12]


def test_a_process_that_came_and_one_that_went_are_changes(proc, clock, tmp_path):
    table = ProcessTable(proc, clock)
    seen = [table.changes()]
    write_process(tmp_path, 12)
    clock.now += 1
    seen.append(table.changes())
    (tmp_path / "12" / "stat").rename(tmp_path / "stat")
    (tmp_path / "12").rename(tmp_path / "gone")
    clock.now += 1
    seen.append(table.changes())
    assert len(set(seen)) == 3
    assert pids(table) == [10, 11]


def test_a_number_that_belongs_to_another_process_now_is_seen(proc, clock, tmp_path):
    table = ProcessTable(proc, clock)
    assert pids(table) == [10, 11]
    clock.now += YOUNG_SECONDS
    (tmp_path / "10").rename(tmp_path / "gone")
    write_process(tmp_path, 10, "/srv/other", start=500)
    clock.now += WHOLE_SECONDS
    assert {process.exe for process in table.all()} == {"/srv/other", "/srv/cart"}


def test_a_child_that_executes_another_program_is_that_program_at_the_next_look():
    """On the real /proc: fork, look, execve, look."""
    reads, writes = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-c", f"import os; os.read({reads}, 1); os.execv('/bin/sleep', ['sleep', '60'])"],
        pass_fds=(reads,),
    )
    try:
        clock = Clock()
        table = ProcessTable(clock=clock)
        assert _exe(table, child.pid) != Path("/bin/sleep").resolve()
        os.write(writes, b"x")
        end = time.monotonic() + 10
        while _exe(table, child.pid) != Path("/bin/sleep").resolve():
            clock.now += 1
            assert time.monotonic() < end
    finally:
        child.kill()
        child.wait()
        os.close(reads)
        os.close(writes)


def _exe(table: ProcessTable, pid: int) -> Path | None:
    return next((Path(process.exe).resolve() for process in table.all() if process.pid == pid), None)
