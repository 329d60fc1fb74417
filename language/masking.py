"""The words of masking that templates, the control plane and the agent share."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class Action(StrEnum):
    """What happens to a captured value before it leaves the host, from loosest to strictest."""

    ALLOW = "allow"  # as it is
    DETECT = "detect"  # found entities inside are replaced
    LAST4 = "last4"  # all but the last four characters hidden
    HASH = "hash"  # HMAC with the tenant's key: joins, but does not show
    REDACT = "redact"  # replaced by a fixed word
    DROP = "drop"  # never read from the target


_STRICTNESS: Final = {action: rank for rank, action in enumerate(Action)}


def strictest(actions: Iterable[Action]) -> Action:
    """The strictest of several actions. Raises ValueError when there is none: empty means no."""
    return max(actions, key=_STRICTNESS.__getitem__)
