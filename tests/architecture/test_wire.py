"""The committed generated code is what the .proto files say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROTOS = ("spec", "records", "gateway")


def test_the_generated_code_is_what_the_proto_files_say(tmp_path):
    for name in PROTOS:
        target = tmp_path / "wire" / "v1" / f"{name}.proto"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "proto" / "wire" / "v1" / f"{name}.proto", target)
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        "-I.",
        "--python_out=.",
        "--grpc_python_out=.",
        "--mypy_out=.",
        "--mypy_grpc_out=.",
    ]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        [*command, *(f"wire/v1/{name}.proto" for name in PROTOS)],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        env={**os.environ, "PATH": path},
    )
    for made in sorted((tmp_path / "wire" / "v1").iterdir()):
        committed = ROOT / "proto" / "wire" / "v1" / made.name
        assert committed.read_text() == made.read_text(), f"{made.name} is stale: run `make wire`"


def test_pycasbin_is_installed_and_its_frozen_old_name_is_not():
    from importlib.metadata import distributions

    names = {(dist.metadata["Name"] or "").lower() for dist in distributions()}
    assert "pycasbin" in names
    assert "casbin" not in names, "PyPI's casbin is the frozen old name; both install the module `casbin`"
