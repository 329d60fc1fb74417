"""A third party's names stay in the one adapter that is named after it: its errors and its `Any` stop there."""

from __future__ import annotations

import pytest
from sources import imports, modules

ADAPTERS = {
    "bcc": {"agents/runtime/bcc_perf_events.py"},
    "casbin": {"control_plane/policy/casbin_decider.py"},
    "capstone": {"agents/binaries/capstone_decoder.py", "agents/binaries/capstone_arm64.py"},
    "redis": {"control_plane/delivery/redis_store.py"},
}


@pytest.mark.parametrize(("name", "adapters"), ADAPTERS.items())
def test_a_third_party_is_imported_by_its_adapter_only(name, adapters):
    assert {path for path, tree in modules().items() if name in set(imports(tree))} == adapters
