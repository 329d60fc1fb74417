"""Accounting and states as the gateway's messages spell them. Used by `life`."""

from __future__ import annotations

from typing import Final

from wire.v1 import gateway_pb2, records_pb2

from agents.stages.accounting import Accounting
from agents.supervisor.lifecycle import State

WIRE_STATES: Final = {
    State.ADMITTED: gateway_pb2.STATE_ADMITTED,
    State.ARMED: gateway_pb2.STATE_ARMED,
    State.ENDED: gateway_pb2.STATE_ENDED,
    State.FAILED: gateway_pb2.STATE_FAILED,
}


def accounting_message(accounting: Accounting) -> records_pb2.Accounting:
    return records_pb2.Accounting(
        hits=accounting.hits,
        delivered=accounting.delivered,
        filtered=accounting.filtered,
        sampled_out=accounting.sampled_out,
        throttled=accounting.throttled,
        expired=accounting.expired,
        lost=accounting.lost,
    )
