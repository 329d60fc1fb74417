"""Every RPC is listed, with who may call it; one that is not stops the server."""

from __future__ import annotations

import pytest
from wire.v1 import gateway_pb2

from control_plane.delivery.gateway import Gateway
from control_plane.delivery.rpc_table import RPCS, Caller, Door, Rpc, UnlistedRpc, check_table

METHODS = [method.name for method in gateway_pb2.DESCRIPTOR.services_by_name["Gateway"].methods]


def test_the_table_lists_every_rpc() -> None:
    check_table()
    assert sorted(RPCS) == sorted(METHODS)


def test_an_rpc_that_nobody_decided_about_stops_the_server() -> None:
    missing = {name: rpc for name, rpc in RPCS.items() if name != "Upload"}
    extra = {**RPCS, "Shutdown": Rpc(Door.GATEWAY, Caller.AGENT)}
    for table in (missing, extra, {}):
        with pytest.raises(UnlistedRpc, match="list every RPC"):
            check_table(table)


def test_only_enroll_is_open_to_who_has_no_certificate() -> None:
    assert [name for name, rpc in RPCS.items() if rpc.door is Door.ENROLL] == ["Enroll"]
    assert {rpc.caller for rpc in RPCS.values() if rpc.door is Door.GATEWAY} == {Caller.AGENT}


def test_the_gateway_has_a_method_for_every_rpc() -> None:
    assert all(callable(getattr(Gateway, name)) for name in METHODS)
