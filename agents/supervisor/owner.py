"""What the host's owner has ended: lives and their rules -> which of them go, and why. Used by `service`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final, Protocol

from agents.admission.limits import refuse_over_limits
from agents.admission.model import AdmittedSpec, HostPolicy, Refused
from agents.processes.model import Process
from agents.stages.binding import refuse_denied
from agents.supervisor.lifecycle import State

STOP_SECONDS: Final = 10.0  # the last rows are masked and counted meanwhile; the kernel let go long before
DENIED: Final = "the host's rules were changed: "


class Living(Protocol):
    """A life, as far as its end is decided here."""

    spec: AdmittedSpec
    state: State

    @property
    def probed(self) -> tuple[Process, ...]: ...
    @property
    def cpu_share(self) -> float: ...


def chosen(lives: Iterable[Living], which: Collection[str] | None) -> list[str]:
    """The ids of what is meant by id or name; all for None."""
    return [
        life.spec.tracepoint_id
        for life in lives
        if which is None or life.spec.tracepoint_id in which or life.spec.name in which
    ]


def why_not(life: Living, policy: HostPolicy) -> str:
    """Why the host does not allow it (any more); empty: it may stay."""
    function = life.spec.template.probe.function
    if pattern := policy.denied_function(function):
        return f"{DENIED}functions like {pattern!r} are denied: {function}"
    try:
        refuse_over_limits(life.spec.limits, policy.limits)
        for process in life.probed:
            refuse_denied(policy, process)
    except Refused as refused:
        return DENIED + refused.detail
    return ""


def shown(life: Living) -> dict[str, Any]:
    return {
        "tracepoint": life.spec.tracepoint_id,
        "name": life.spec.name,
        "version": life.spec.version,
        "state": life.state.value,
        "function": life.spec.template.probe.function,
        "requested_by": life.spec.requested_by,
        "processes": [process.pid for process in life.probed],
        "cpu": round(life.cpu_share, 6),
    }
