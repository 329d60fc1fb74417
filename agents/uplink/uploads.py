"""One Upload stream: waiting batches out of the spool, acknowledgements back into it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agents.uplink.spool import Spool

if TYPE_CHECKING:
    from wire.v1.gateway_pb2_grpc import GatewayAsyncStub  # stands in the stub file only


async def upload(stub: GatewayAsyncStub, spool: Spool) -> None:
    """Until the stream ends; what was not acknowledged by then is sent again on the next one."""
    spool.rewind()
    call: Any = stub.Upload()

    async def send() -> None:
        while True:
            await call.write(await spool.next())

    try:
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(send())
            async for ack in call:
                spool.acknowledge(ack)
            sending.cancel()
    finally:
        call.cancel()
        spool.keep()
