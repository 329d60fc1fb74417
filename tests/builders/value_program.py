"""The Go program of tests/programs/values, waiting for commands, and probes on it: what it says against what is seen."""

from __future__ import annotations

import contextlib
import json
import math
import struct
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from agents.binaries.model import ResolvedProbe
from agents.binaries.service import Binaries
from agents.compiler.model import BpfProgram, CaptureRequest, CompileRequest
from agents.compiler.service import compile_probe
from agents.decoding.rows import to_rows
from agents.decoding.service import decode
from agents.processes.proc import ProcFs
from agents.runtime.features import probe_kernel
from agents.runtime.model import ArmedProbe, ArmRequest
from agents.runtime.service import arm
from language.expressions import parse
from language.model import At, LimitSpec
from tests.builders.programs import CACHE, PROGRAMS, build_go

SECOND_NS = 1_000_000_000
PLENTY = 2_000_000_000  # events a second: no interval between two
SETTLE_SECONDS = 5
CLOSING = 16  # probes at once


@dataclass(frozen=True)
class Seen:
    rows: list[dict]
    counters: dict[str, int]
    in_flight: int
    told: list[dict]  # what the program itself printed


class ValueProgram:
    """One running process of a program with scenarios: the Go one of tests/programs/values, or `binary`."""

    def __init__(self, *flags: str, binary: Path | None = None) -> None:
        self.binary = binary or build_go(PROGRAMS / "values", *flags)
        self._is_go = binary is None
        self._child = subprocess.Popen([str(self.binary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._child.stdout.readline() == "ready\n"
        self._aside = ThreadPoolExecutor(CLOSING)
        self._closing: list[Future[None]] = []

    @property
    def pid(self) -> int:
        return self._child.pid

    def run(self, scenario: str) -> list[dict]:
        self._child.stdin.write(f"run {scenario}\n")
        self._child.stdin.flush()
        told = []
        for line in self._child.stdout:
            if (said := json.loads(line)) == "done":
                return told
            assert isinstance(said, dict), said
            told.append(said)
        raise AssertionError(f"the program ended with status {self._child.wait()}")

    def _named(self, scenario: str) -> str:
        return f"main.{scenario}" if self._is_go else scenario

    def resolve(self, function: str, at: At = At.ENTRY_AND_RETURN) -> ResolvedProbe:
        return Binaries(CACHE / "binaries").resolve(str(self.binary), function, at, None)

    def trace(
        self,
        scenario: str,
        captures: dict[str, str],
        *,
        at: At = At.ENTRY_AND_RETURN,
        where: str | None = None,
        limits: LimitSpec | None = None,
        function: str | None = None,
        sleepable: bool = True,
        max_hits: int = 1 << 40,
        rate: int = PLENTY,
        runs: int = 1,
    ) -> Seen:
        """Arm, let the program run the scenario, take everything out."""
        resolved = self.resolve(function or self._named(scenario), at)
        request = CompileRequest(
            at,
            None if where is None else parse(where),
            tuple(CaptureRequest(column, parse(text)) for column, text in captures.items()),
            limits or LimitSpec(max_string=2000),
        )
        wanted = ArmRequest(time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 60 * SECOND_NS, max_hits, rate)
        (seen,) = self.trace_all(scenario, [(resolved, request)], wanted, sleepable=sleepable, runs=runs)
        return seen

    def trace_all(
        self,
        scenario: str,
        probes: Sequence[tuple[ResolvedProbe, CompileRequest]],
        wanted: ArmRequest | None = None,
        *,
        sleepable: bool = True,
        runs: int = 1,
    ) -> list[Seen]:
        """Several probes on the very same calls."""
        wanted = wanted or ArmRequest(time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 60 * SECOND_NS, 1 << 40, PLENTY)
        programs = [compile_probe(resolved, request, sleepable=sleepable) for resolved, request in probes]
        processes = ProcFs()
        process = processes.find(self._child.pid)
        biases = [processes.load_bias(process) if each.position_independent else 0 for each, _ in probes]
        kernel = probe_kernel()
        with contextlib.ExitStack() as armed:
            held = list(
                self._aside.map(
                    lambda program, bias: arm(program, [(process, bias)], wanted, str(self.binary), kernel),
                    programs,
                    biases,
                )
            )
            for each in held:
                armed.callback(self._close_aside, each)
            told = [each for _ in range(runs) for each in self.run(scenario)]
            return [_seen(program, probe, told) for program, probe in zip(programs, held, strict=True)]

    def _close_aside(self, probe: ArmedProbe) -> None:
        """The kernel waits long until nobody is in a probe any more: meanwhile the next one is armed."""
        probe.switch(enabled=False)
        self._closing.append(self._aside.submit(probe.close))

    def close(self) -> None:
        self._aside.shutdown()
        for closed in self._closing:
            closed.result()
        self._child.stdin.close()
        self._child.wait(SETTLE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _seen(program: BpfProgram, armed: ArmedProbe, told: list[dict]) -> Seen:
    records = armed.drain(1 << 20)
    counters = {counter.name: value for counter, value in armed.counters().items()}
    rows = list(to_rows(decode(program.layout, records, 0).columns))
    return Seen(rows, counters, armed.in_flight(), told)


def told_value(value: object) -> object:
    """What the program printed, as a row would show it."""
    match value:
        case {"$s": raw}:
            return bytes.fromhex(raw).decode("utf-8", "replace")
        case {"$f": bits}:
            number = struct.unpack(">d" if len(bits) == 16 else ">f", bytes.fromhex(bits))[0]
            return (
                number
                if math.isfinite(number)
                else ("NaN" if math.isnan(number) else f"{number}".capitalize() + "inity")
            )
        case {"$deep": True}:
            return None
        case dict():
            return {key: told_value(each) for key, each in value.items()}
        case list():
            return [told_value(each) for each in value]
        case _:
            return value


def balance(seen: Seen) -> bool:
    """Every hit has one outcome, or its call is still under way."""
    counters = dict(seen.counters)
    hits = counters.pop("HITS")
    counters.pop("UNPAIRED_RETURN")
    return hits == sum(counters.values()) + seen.in_flight


def expected(told: Sequence[dict], captures: dict[str, str]) -> list[dict]:
    """The rows that these captures should give: names are arguments, ret(i) results."""
    rows = []
    for call in told:
        row = {}
        for column, text in captures.items():
            if text.startswith("ret("):
                row[column] = told_value(call["results"][int(text[4:-1])])
            else:
                row[column] = told_value(call["arguments"][text])
        rows.append(row)
    return rows
