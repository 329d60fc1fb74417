"""`probegate-agent doctor`: what this kernel and this process can do, and what each missing thing costs."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict

import click

from agents.cli.output import table_of, wide_console
from agents.cli.problems import Exit, reported
from agents.runtime.calibration import measure
from agents.runtime.features import Finding, doctor_report, probe_kernel
from agents.settings import read_settings


@click.command("doctor")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def doctor_command(context: click.Context, output: str) -> None:
    """Check this host. Exit status 4 when nothing can be traced."""
    with reported():
        host = read_settings().host
    features = probe_kernel(thorough=True)
    traps = measure() if features.bpf else None
    findings = doctor_report(features)
    able = features.bpf and (features.uprobe_multi or features.perf_event)
    if output == "json":
        document = {
            "able": able,
            "kernel": platform.release(),
            "machine": platform.machine(),
            "uid": os.geteuid(),
            "features": [asdict(finding) for finding in findings],
            "trap_costs_ns": asdict(traps) if traps is not None else None,
            "host_denies": {
                "functions": list(host.deny_functions),
                "paths": list(host.deny_paths),
                "unmasked": not host.allow_unmasked,
            },
        }
        click.echo(json.dumps(document, indent=2, default=sorted))
    else:
        _text(findings, able)
        if traps is not None and traps.measured:
            costs = f"emulated {traps.emulated_ns}, single-stepped {traps.stepped_ns}, with return {traps.returned_ns}"
            click.echo(f"a hit costs here, in ns: {costs}")
    if not able:
        context.exit(Exit.NOT_PERMITTED)


def _text(findings: list[Finding], able: bool) -> None:
    table = table_of("", "feature", "found", "what is missing costs")
    for finding in findings:
        table.add_row("ok" if finding.ok else "--", finding.name, finding.detail, finding.cost)
    console = wide_console()
    console.print(table)
    verdict = "this host can be traced" if able else "nothing can be traced here: see the first line that is not ok"
    console.print(f"kernel {platform.release()}, {platform.machine()}: {verdict}")
