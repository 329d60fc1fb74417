"""What the host's owner says now: a HostPolicy that can be replaced while probes run, as a whole.

`binding` and the gate ask at each admission, each bind and each new process; `agents.supervisor` replaces it when the
owner has the file read again, and ends what it does not allow any more.
"""

from __future__ import annotations

from agents.admission.model import HostPolicy


class HostRules:
    """Replaced from one thread, asked from any."""

    def __init__(self, policy: HostPolicy | None = None) -> None:
        self._now = policy or HostPolicy()

    @property
    def now(self) -> HostPolicy:
        return self._now

    def replace(self, policy: HostPolicy) -> None:
        self._now = policy
