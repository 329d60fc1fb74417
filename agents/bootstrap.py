"""Build the agent's parts from its settings. Adapters are made here and nowhere else.

The kernel is tried once: what it can do decides how probes are compiled and attached. Next: `agents.cli` uses the parts
for one command, `agents.supervisor` for as long as the host runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from agents.admission.host_rules import HostRules
from agents.admission.model import HostPolicy
from agents.admission.seen_versions import SeenVersions
from agents.admission.service import Admission, Identity
from agents.binaries.model import BinaryIdentity, ResolvedProbe
from agents.binaries.service import Binaries
from agents.compiler.layout import RecordLayout
from agents.compiler.model import BpfProgram, CompileRequest
from agents.compiler.service import compile_probe
from agents.decoding.model import RecordBatch
from agents.decoding.service import decode
from agents.masking.scanning import scanner
from agents.masking.service import mask
from agents.processes.model import Process
from agents.processes.table import ProcessTable
from agents.runtime.calibration import TrapCosts, measure
from agents.runtime.features import probe_kernel
from agents.runtime.model import ArmedProbe, ArmRequest, KernelFeatures
from agents.runtime.service import arm
from agents.settings import BadSettings, Settings, read_settings
from agents.stages.binding import BoundFile
from agents.stages.probe import Stages
from agents.stages.service import Prober
from agents.stages.symbols import StackSymbols
from agents.supervisor.host_budget import HostBudget
from agents.supervisor.ledger import FileLedger
from agents.supervisor.loading import Loading
from agents.supervisor.owner_socket import CannotDo, OwnerSocket
from agents.supervisor.service import Supervisor
from agents.uplink.channel import Server
from agents.uplink.identity import AgentIdentity, IdentityStore
from agents.uplink.service import Uplink

SEEN_FILE: Final = "seen.json"  # in the state directory
LOADING_FILE: Final = "loading.json"  # there too


@dataclass(frozen=True)
class Reading:
    """What needs no kernel: processes and the files they run. For `functions` and `explain`."""

    source: ProcessTable
    binaries: Binaries


def build_reading(settings: Settings) -> Reading:
    return Reading(ProcessTable(), Binaries(settings.cache))


def compile_any(resolved: ResolvedProbe, request: CompileRequest) -> BpfProgram:
    """As for a kernel that can do everything: `explain` may run where nothing can be armed."""
    return compile_probe(resolved, request, sleepable=True)


def build_prober(settings: Settings) -> tuple[Prober, KernelFeatures]:
    """Tries the kernel and measures what a trap costs here (0.1 s): a CPU budget is judged by it."""
    reading = build_reading(settings)
    scanner().kept_in(settings.cache)
    kernel = probe_kernel()

    def compile_for_this_kernel(resolved: ResolvedProbe, request: CompileRequest) -> BpfProgram:
        return compile_probe(resolved, request, sleepable=kernel.sleepable)

    def arm_on_this_kernel(
        program: BpfProgram,
        processes: Sequence[tuple[Process, int]],
        request: ArmRequest,
        file: str,
        identity: BinaryIdentity,
    ) -> ArmedProbe:
        return arm(program, processes, request, file, kernel, identity)

    prober = Prober(
        source=reading.source,
        resolver=reading.binaries,
        compile_probe=compile_for_this_kernel,
        stages=Stages(arm=arm_on_this_kernel, decode=_decode, mask=mask),
        host=HostRules(settings.host),
        traps=measure() if kernel.bpf else TrapCosts(),
    )
    return prober, kernel


@dataclass(frozen=True)
class Agent:
    """Everything `probegate-agent run` keeps running."""

    supervisor: Supervisor
    uplink: Uplink
    kernel: KernelFeatures
    owner: OwnerSocket


async def build_agent(
    settings: Settings, identify: Callable[[IdentityStore], Awaitable[AgentIdentity]], server: Server
) -> Agent:
    """Raises what `identify` raises, BadIdentity, StateUnusable.

    The scanner is ready before anything can be armed: no probe's first rows wait for it, and no budget is judged meanwhile.
    """
    prober, kernel = await asyncio.to_thread(build_prober, settings)  # alone: it measures time
    scanning = asyncio.ensure_future(asyncio.to_thread(scanner().prepare))
    store = IdentityStore(settings.state)
    try:
        identity = await identify(store)
    finally:
        await scanning
    seen = SeenVersions(settings.state / SEEN_FILE)
    admission = Admission(Identity(identity.tenant, identity.spiffe_id), identity.spec_keys, prober.host, seen)
    uplink = Uplink(server, identity, store, settings.state)
    loading = Loading(settings.state / LOADING_FILE)
    budget = HostBudget(settings.host.limits.host_cpu, FileLedger(settings.shared, prober.stages.boot_ns))
    supervisor = Supervisor(admission, prober, build_reading(settings).binaries, uplink, loading, budget)
    owner = OwnerSocket(supervisor, _policy_again, {"agent": identity.agent_id, "tenant": identity.tenant})
    return Agent(supervisor, uplink, kernel, owner)


def _policy_again() -> HostPolicy:
    """Raises CannotDo: a file that cannot be read leaves what holds now."""
    try:
        return read_settings().host
    except BadSettings as error:
        raise CannotDo(f"the rules of before hold on: {error}") from error


def _decode(layout: RecordLayout, records: npt.NDArray[np.uint8], file: BoundFile) -> RecordBatch:
    offset = time.clock_gettime_ns(time.CLOCK_REALTIME) - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return decode(layout, records, offset, StackSymbols(file), beyond=True)
