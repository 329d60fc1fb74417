"""Build-ids that are not to be probed from now on, as the gateway says: `binding` asks before anything is armed.

Only ever makes an agent do less, so nothing about it has to be signed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from agents.admission.model import RefusalReason, Refused

MAX_LOCKED: Final = 1000  # what one tenant and the platform may lock at once
MAX_BUILD_ID: Final = 128
EVERY: Final = "*"


class LockedBuilds:
    """Replaced as a whole, from one thread; asked from any."""

    def __init__(self) -> None:
        self._held: frozenset[str] = frozenset()

    def replace(self, build_ids: Collection[str]) -> None:
        """A list that is longer than it can be locks every build: what cannot be read is no reason for a yes."""
        over = len(build_ids) > MAX_LOCKED
        self._held = frozenset({EVERY}) if over else frozenset(each for each in build_ids if len(each) <= MAX_BUILD_ID)

    def holds(self, build_id: str) -> bool:
        return build_id in self._held or EVERY in self._held

    def refuse(self, build_id: str) -> None:
        """Raises Refused."""
        if self.holds(build_id):
            raise Refused(RefusalReason.LOCKED, f"the build {build_id} is locked: `probegate lock ls` says by whom")
