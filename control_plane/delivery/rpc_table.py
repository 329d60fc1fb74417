"""Every RPC, at which door it is served, and who may call it. Start-up compares it with the service's descriptor.

An RPC that stands in gateway.proto and not here stops the server: nothing is served that nobody decided about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import grpc
from google.protobuf.message_factory import GetMessageClass
from wire.v1 import gateway_pb2

_SERVICE: Final = gateway_pb2.DESCRIPTOR.services_by_name["Gateway"]


class Door(StrEnum):
    """Which of the two TLS servers offers it (`doorway`)."""

    ENROLL = "enroll"  # no client certificate is asked for
    GATEWAY = "gateway"  # a certificate of our CA is demanded


class Caller(StrEnum):
    INVITED = "whoever holds a join token that is neither expired nor used up"
    AGENT = "the agent that the certificate names, while it is enrolled and not revoked"


@dataclass(frozen=True)
class Rpc:
    door: Door
    caller: Caller


RPCS: Final[Mapping[str, Rpc]] = {
    "Enroll": Rpc(Door.ENROLL, Caller.INVITED),
    "Renew": Rpc(Door.GATEWAY, Caller.AGENT),
    "Sync": Rpc(Door.GATEWAY, Caller.AGENT),
    "Upload": Rpc(Door.GATEWAY, Caller.AGENT),
}


class UnlistedRpc(Exception):
    """The table and the service do not name the same RPCs."""


def check_table(table: Mapping[str, Rpc] = RPCS) -> None:
    """Raises UnlistedRpc."""
    served = {method.name for method in _SERVICE.methods}
    if served != set(table):
        raise UnlistedRpc(
            f"{_SERVICE.full_name} offers {sorted(served)}, the table of RPCs says who may call {sorted(table)}: "
            "list every RPC in control_plane/delivery/rpc_table.py"
        )


def handlers(door: Door, servicer: object) -> grpc.GenericRpcHandler:
    """The servicer's methods that are served at this door, and no others. Raises UnlistedRpc."""
    check_table()
    offered = {
        method.name: _handler(method, getattr(servicer, method.name))
        for method in _SERVICE.methods
        if RPCS[method.name].door is door
    }
    return grpc.method_handlers_generic_handler(_SERVICE.full_name, offered)


def _handler(method: Any, behaviour: Callable[..., Any]) -> grpc.RpcMethodHandler[Any, Any]:
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[method.client_streaming, method.server_streaming]
    return make(
        behaviour,
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=GetMessageClass(method.output_type).SerializeToString,
    )
