"""What makes probes out of orders: the steps of this agent, put together once.

Built by `agents.bootstrap`; used by `probegate-agent try` for one probe and by `agents.supervisor` for many.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.admission.host_rules import HostRules
from agents.processes.service import ProcessesWatched
from agents.runtime.calibration import TrapCosts
from agents.stages.binding import Binder, Compile, Resolver
from agents.stages.locked_builds import LockedBuilds
from agents.stages.order import ProbeOrder
from agents.stages.probe import RunningProbe, Stages


@dataclass(frozen=True)
class Prober:
    source: ProcessesWatched
    resolver: Resolver
    compile_probe: Compile
    stages: Stages
    host: HostRules
    traps: TrapCosts
    locked: LockedBuilds = field(default_factory=LockedBuilds)

    def prepare(self, order: ProbeOrder, deadline_boot_ns: int) -> RunningProbe:
        """Not armed yet: `adopt` does that, and says why when it cannot."""
        binder = Binder(order, self.source, self.resolver, self.compile_probe, self.host, self.locked)
        return RunningProbe(order, binder, self.stages, deadline_boot_ns, self.traps)
