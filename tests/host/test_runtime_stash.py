"""Calls that never return do not fill the stash for ever: before it is full the oldest of them expire, and are counted."""

from __future__ import annotations

import dataclasses
import time

import pytest

from agents.compiler.model import CaptureRequest, CompileRequest, MapName
from agents.compiler.service import compile_probe
from agents.decoding.rows import to_rows
from agents.decoding.service import decode
from agents.processes.proc import ProcFs
from agents.runtime import service
from agents.runtime.features import probe_kernel
from agents.runtime.model import ArmRequest
from language.expressions import parse
from language.model import At, LimitSpec
from tests.builders.programs import PROGRAMS, build_c
from tests.builders.value_program import PLENTY, SECOND_NS, Seen, ValueProgram, balance

pytestmark = pytest.mark.host

ROOM = 64  # calls under way
BETWEEN = 5  # runs between two looks at the stash: 15 calls without a return, and a quarter of the room is left then
RUNS = 40  # three threads a run end themselves within the call


def test_entries_without_a_return_expire_and_leave_room():
    with ValueProgram(binary=build_c(PROGRAMS / "native" / "unwinds.c", "-O2", "-pthread")) as program:
        resolved = program.resolve("leaves", At.ENTRY_AND_RETURN)
        captures = tuple(CaptureRequest(name, parse(text)) for name, text in (("n", "n"), ("result", "ret(0)")))
        compiled = compile_probe(resolved, CompileRequest(At.ENTRY_AND_RETURN, None, captures, LimitSpec()))
        small = tuple(
            dataclasses.replace(spec, max_entries=ROOM) if spec.name is MapName.STASH else spec
            for spec in compiled.maps
        )
        compiled = dataclasses.replace(compiled, maps=small)
        process = ProcFs().find(program.pid)
        bias = ProcFs().load_bias(process) if resolved.position_independent else 0
        wanted = ArmRequest(time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 60 * SECOND_NS, 1 << 40, PLENTY)
        rows, filled, told = [], 0, []
        with service.arm(compiled, [(process, bias)], wanted, str(program.binary), probe_kernel()) as armed:
            for number in range(RUNS):
                if number % BETWEEN == 0:
                    time.sleep(service.RELIEVE_SECONDS)  # what an agent does a thousand times meanwhile: nothing
                told += program.run("leaves")
                rows += to_rows(decode(compiled.layout, armed.drain(1 << 20), 0).columns)
                filled = max(filled, armed.in_flight())
            counters = {counter.name: value for counter, value in armed.counters().items()}
            left = armed.in_flight()
    assert [(row["n"], row["result"]) for row in rows] == [(n, n * 10 + 1) for n in (0, 2, 4)] * RUNS
    assert counters["LOST_STASH_FULL"] == 0
    assert counters["LOST_NO_RETURN"] + left == 3 * RUNS
    assert filled < ROOM
    assert balance(Seen(rows, counters, left, told))
