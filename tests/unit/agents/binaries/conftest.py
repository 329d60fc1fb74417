"""Traced programs, compiled once and shared by the tests of this folder."""

from pathlib import Path

import pytest

from agents.binaries.service import Binaries
from tests.builders.programs import PROGRAMS, build_c, build_go, build_rust

NATIVE = PROGRAMS / "native"


@pytest.fixture
def binaries(tmp_path) -> Binaries:
    return Binaries(tmp_path / "cache")


@pytest.fixture(scope="session")
def shop() -> Path:
    return build_go(PROGRAMS / "shop")


@pytest.fixture(scope="session")
def go_shapes() -> Path:
    return build_go(PROGRAMS / "go_shapes")


@pytest.fixture(scope="session")
def c_shapes() -> Path:
    return build_c(NATIVE / "shapes.c", "-O2")


@pytest.fixture(scope="session")
def cpp_shapes() -> Path:
    return build_c(NATIVE / "shapes.cpp", "-O2")


@pytest.fixture(scope="session")
def rust_shapes() -> Path:
    return build_rust(NATIVE / "shapes.rs")
