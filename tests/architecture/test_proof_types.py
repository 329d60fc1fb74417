"""Each proof type is minted in one module: a check that could be bypassed elsewhere would prove nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MINTED_BY = {
    "Principal": "control_plane/identity/service.py",
    "Grant": "control_plane/policy/service.py",
    "ApprovedTemplate": "control_plane/templates/service.py",
    "MaskedPlan": "control_plane/masking/service.py",
    "SealedSpec": "control_plane/signing/service.py",
    "AdmittedSpec": "agents/admission/service.py",
    "ResolvedProbe": "agents/binaries/service.py",
    "BpfProgram": "agents/compiler/service.py",
    "RecordBatch": "agents/decoding/service.py",
    "MaskedBatch": "agents/masking/service.py",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for top in ("agents", "control_plane", "client", "language"):
        for path in (ROOT / top).rglob("*.py"):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def constructions(tree: ast.Module) -> Iterator[str]:
    """Names that are called directly, or through a module that is not pyarrow (`pa.RecordBatch` is another class)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            target = node.func
            if isinstance(target, ast.Name):
                yield target.id
            elif isinstance(target, ast.Attribute) and not (isinstance(target.value, ast.Name) and target.value.id == "pa"):
                yield target.attr
            # dataclasses.replace(grant, ...) and Grant.__new__ are ways around a constructor, too
            if isinstance(target, ast.Attribute) and target.attr == "__new__" and isinstance(target.value, ast.Name):
                yield target.value.id


@pytest.mark.parametrize(("proof", "module"), MINTED_BY.items())
def test_a_proof_type_is_minted_in_its_one_module(proof, module):
    minting = {path for path, tree in sources() if proof in set(constructions(tree))}
    assert minting == {module}
