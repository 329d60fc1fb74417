"""The id of the request that is being served, so that log lines, audit entries and problems can be brought together.

`control_plane.http` sets it for every request; background work has none.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

current_request_id: Final[ContextVar[str]] = ContextVar("current_request_id", default="")
