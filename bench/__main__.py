"""Run every figure, print the table, write bench/out/results.json. `python -m bench [NAME...]` runs some of them.

A script that fails loses its own figures and no others: it is named on stderr, and the exit status is 1.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Console

from bench import (
    agent_idle,
    arm_time,
    attach_time,
    authz,
    budget_time,
    events,
    mask_quality,
    mask_speed,
    probed_call,
    resolve_time,
    server_cost,
    whole_path,
)
from bench.figure import Figure, keep, show

SCRIPTS: Final[dict[str, Callable[[], list[Figure]]]] = {
    "probed_call_c": probed_call.measure_c,
    "probed_call_go": probed_call.measure_go,
    "events": events.measure,
    "arm": arm_time.measure,
    "attach": attach_time.measure,
    "resolve": resolve_time.measure,
    "whole_path": whole_path.measure,
    "agent_idle": agent_idle.measure,
    "server_cost": server_cost.measure,
    "budget": budget_time.measure,
    "mask_quality": mask_quality.measure,
    "mask_speed": mask_speed.measure,
    "authz": authz.measure,
}


def main(wanted: Sequence[str]) -> int:
    talk = Console(stderr=True)
    unknown = [name for name in wanted if name not in SCRIPTS]
    if unknown:
        talk.print(f"no figure is called {', '.join(unknown)}; there are {', '.join(SCRIPTS)}")
        return 2
    figures: list[Figure] = []
    failed: list[str] = []
    for name in wanted or SCRIPTS:
        start = time.monotonic()
        try:
            figures += SCRIPTS[name]()
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with one peer, the other figures are wanted
            traceback.print_exception(error)
            failed.append(f"{name} ({type(error).__name__}: {error})")
        talk.print(f"{name}: {time.monotonic() - start:.0f} s")
    show(figures, Console())
    if not wanted:
        keep(figures)
    for one in failed:
        talk.print(f"no figures of {one}", style="red", markup=False, soft_wrap=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
