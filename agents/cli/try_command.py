"""`probegate-agent try`: run one template against local processes, with no control plane.

Rows on stdout, one JSON object a hit; on stderr one JSON object a line: warnings, {"armed": ..} once it is, and the
accounting at the end. It ends after --hits rows, --for a time, the template's TTL, the end of all processes, SIGINT, or
when the reader of stdout has gone; whichever way, what is in the kernel is detached, drained and counted.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from types import FrameType
from typing import Any, Final

import click

from agents.bootstrap import build_prober
from agents.cli.inputs import parameter_option, read_request, refuse_denied_function, target_of, target_options
from agents.cli.problems import Exit, Stop, reported
from agents.core_dumps import forbid_core_dumps
from agents.decoding.rows import to_rows
from agents.masking.model import MaskedBatch
from agents.processes.model import NoProcess
from agents.runtime.model import KernelFeatures
from agents.settings import read_settings
from agents.stages.order import ProbeOrder
from agents.stages.probe import RunningProbe
from language import durations

POLL_SECONDS: Final = 0.02  # a person sees a row at once, and a ring of some MiB does not fill up between
ADOPT_SECONDS: Final = 2.0  # how soon a process that starts later is probed
BUDGET_SECONDS: Final = 0.4  # a window of agents.stages.budget


@click.command("try")
@click.argument("template")
@target_options
@parameter_option
@click.option("--hits", type=click.IntRange(min=1), metavar="N", help="end after N rows")
@click.option("--for", "duration", metavar="5s", help="end after this long")
@click.option("--unmasked", is_flag=True, help="show values as they are; the host may deny it")
@click.option("-o", "--output", type=click.Choice(["jsonl"]), default="jsonl", show_default=True)
def try_command(
    template: str,
    pid: int | None,
    exe: str | None,
    given: tuple[str, ...],
    hits: int | None,
    duration: str | None,
    unmasked: bool,
    output: str,
) -> None:
    """Run TEMPLATE (YAML, PxL or -) on this host and print a row for each hit."""
    del output  # there is one so far
    with reported():
        forbid_core_dumps()
        target = target_of(pid, exe)
        settings = read_settings()
        if unmasked and not settings.host.allow_unmasked:
            raise Stop(Exit.NOT_PERMITTED, "denied_by_host", "this host's agent.yaml denies --unmasked")
        request = read_request(template, given, target, unmasked=unmasked)
        refuse_denied_function(settings.host, request.template)
        order, lifetime = _bounded(request.order, hits, duration)
        prober, kernel = build_prober(settings)
        refuse_without_bpf(kernel)
        if unmasked:
            talk({"warning": "values are shown unmasked; do not keep or pass on what this prints"})
        with prober.prepare(order, time.clock_gettime_ns(time.CLOCK_BOOTTIME) + lifetime) as probe:
            probe.adopt()
            talk({"armed": True, "sites": probe.sites})
            _run(probe)


def _run(probe: RunningProbe) -> None:
    """Until something ends it; then the rest of the rows and the accounting."""
    printer = _Printer()
    with _signals() as stopped:
        reason = _until_ended(probe, printer, stopped)
        batches, accounting = probe.end()
        printer.print(batches)
    talk({"ended": reason})
    talk({"accounting": asdict(accounting)})


def _until_ended(probe: RunningProbe, printer: _Printer, stopped: threading.Event) -> str:
    adopted = checked = time.monotonic()
    while True:
        batches = probe.take()
        printer.print(batches)
        now = time.monotonic()
        if now - adopted >= ADOPT_SECONDS:
            adopted = now
            _adopt(probe)
        if now - checked >= BUDGET_SECONDS:
            checked = now
            if probe.over_budget():
                talk({"warning": f"over its CPU budget: {probe.cpu_share:.1%} of a core (limits.cpu)"})
                return "budget"
        if stopped.is_set() or printer.closed:
            return "interrupted"
        if probe.full:
            return "max_hits"
        if probe.expired:
            return "ttl"
        if not probe.processes:
            return "target_exited"
        if not batches:
            stopped.wait(POLL_SECONDS)


def _adopt(probe: RunningProbe) -> None:
    """Processes that started later; what is wrong with one of them is said, and the others go on."""
    try:
        with reported():
            probe.adopt()
    except Stop as error:
        if not isinstance(error.__cause__, NoProcess):  # that all have ended is seen by `_until_ended`
            talk({"warning": error.message})


class _Printer:
    """Rows to stdout, flushed with every batch; notices when nobody reads any more."""

    def __init__(self) -> None:
        self.closed = False

    def print(self, batches: tuple[MaskedBatch, ...]) -> None:
        if not batches or self.closed:
            return
        try:
            for batch in batches:
                for row in to_rows(batch.columns):
                    sys.stdout.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            self.closed = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it exits


def talk(message: dict[str, Any]) -> None:
    click.echo(json.dumps(message, ensure_ascii=False), err=True)


def _bounded(order: ProbeOrder, hits: int | None, duration: str | None) -> tuple[ProbeOrder, int]:
    """The template's own limits, shortened by --hits and --for. The lifetime is in ns."""
    limits = order.limits
    lifetime: timedelta = limits.ttl
    if duration is not None:
        try:
            lifetime = min(lifetime, durations.parse(duration))
        except ValueError as error:
            raise click.UsageError(f"--for: {error}") from error
    if hits is not None:
        limits = replace(limits, max_hits=min(limits.max_hits, hits))
    return replace(order, request=replace(order.request, limits=limits)), int(
        lifetime / timedelta(microseconds=1)
    ) * 1000


def refuse_without_bpf(kernel: KernelFeatures) -> None:
    if not kernel.bpf:
        who = "" if os.geteuid() == 0 else f" (you are uid {os.geteuid()})"
        raise Stop(
            Exit.NOT_PERMITTED,
            "not_permitted",
            f"this process may not load BPF programs{who}: run it as root, or give it CAP_BPF and CAP_PERFMON;"
            " `probegate-agent doctor` shows what is missing",
        )


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """SIGINT and SIGTERM end the run instead of the process, so that the rest is drained and counted."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
