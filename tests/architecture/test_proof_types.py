"""Each proof type is minted in one module: a check that could be bypassed elsewhere would prove nothing."""

from __future__ import annotations

import pytest
from sources import calls, modules

MINTED_BY = {
    "Principal": "control_plane/identity/service.py",
    "Grant": "control_plane/policy/service.py",
    "ApprovedTemplate": "control_plane/templates/service.py",
    "MaskedPlan": "control_plane/masking/service.py",
    "SealedSpec": "control_plane/signing/service.py",
    "SealedDryRun": "control_plane/signing/service.py",
    "AdmittedSpec": "agents/admission/service.py",
    "AdmittedDryRun": "agents/admission/service.py",
    "ResolvedProbe": "agents/binaries/service.py",
    "BpfProgram": "agents/compiler/service.py",
    "RecordBatch": "agents/decoding/service.py",
    "MaskedBatch": "agents/masking/service.py",
}


@pytest.mark.parametrize(("proof", "module"), MINTED_BY.items())
def test_a_proof_type_is_minted_in_its_one_module(proof, module):
    minting = {path for path, tree in modules().items() if proof in set(calls(tree))}
    assert minting == {module}
