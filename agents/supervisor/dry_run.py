"""A reviewer's look: arm what was admitted for it, take a few masked rows, detach. Nothing is stored or sent elsewhere.

Entered with an AdmittedDryRun, left with masked rows for whoever asked. It is no tracepoint: no life, no status, no table.
The bounds are its own and short; the lease does not matter for something that is over before it ends.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from agents.admission.model import AdmittedDryRun
from agents.masking.model import MaskedBatch
from agents.stages.order import order_for
from agents.stages.service import Prober
from agents.supervisor.wire_forms import accounting_message
from agents.uplink.model import DryRunRows

LOOK_SECONDS: Final = 10.0  # for the first row; a reviewer waits, and no call within it is an answer too
POLL_SECONDS: Final = 0.05
_LOG: Final = logging.getLogger(__name__)


def look(prober: Prober, admitted: AdmittedDryRun) -> DryRunRows:
    """Blocks for LOOK_SECONDS at most. Raises what arming raises."""
    spec = admitted.spec
    seconds = min(LOOK_SECONDS, spec.remaining.total_seconds())
    ends = prober.stages.boot_ns() + int(seconds * 1e9)
    with prober.prepare(order_for(spec), ends) as probe:
        probe.adopt()
        taken: list[MaskedBatch] = []
        while not probe.full and prober.stages.boot_ns() < ends and not probe.over_budget():
            found = probe.take()
            taken += found
            if not found:
                time.sleep(POLL_SECONDS)
        rest, accounting = probe.end()
    batches = [batch for batch in (*taken, *rest) if batch.columns.num_rows]
    _LOG.info("dry run %s ended: %d hits, %d delivered", spec.tracepoint_id, accounting.hits, accounting.delivered)
    return DryRunRows(batches[0] if batches else None, accounting_message(accounting))
