"""The project's own modules as syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("language", "proto/wire", "agents", "control_plane", "client")
LATE_IMPORTS = {"import_module", "spec_from_file_location"}


@cache
def modules(*packages: str) -> dict[str, ast.Module]:
    """Path from the root -> tree, generated code and migrations left out."""
    found = {}
    for package in packages or PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "_pb2" not in path.name and "migrations" not in path.parts:
                found[str(path.relative_to(ROOT))] = ast.parse(path.read_text())
    return found


def imports(tree: ast.Module) -> Iterator[str]:
    """The first part of every imported module's name, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LATE_IMPORTS:
            yield from (
                str(argument.value).split(".")[0] for argument in node.args if isinstance(argument, ast.Constant)
            )


def calls(tree: ast.Module) -> Iterator[str]:
    """The name of everything that is called: `Grant` for Grant(...), x.Grant(...) and Grant.__new__(...)."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        target = node.func
        if isinstance(target, ast.Name):
            yield target.id
        elif isinstance(target, ast.Attribute) and not (isinstance(target.value, ast.Name) and target.value.id == "pa"):
            yield target.attr
            if target.attr == "__new__" and isinstance(target.value, ast.Name):
                yield target.value.id


def attributes_of(tree: ast.Module, name: str) -> Iterator[str]:
    """`X` for every `name.X`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name:
            yield node.attr
