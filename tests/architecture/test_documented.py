"""What the operations guide must say is in it: every audited action, every setting, every RPC and who may call it."""

from __future__ import annotations

import ast
import re

import pytest
from sources import ROOT, attributes_of, modules

from control_plane.foundation.audit_trail import AuditAction

GUIDE = (ROOT / "docs" / "operations.md").read_text()


def settings_read(path: str) -> set[str]:
    """Every PROBEGATE_… string in a settings module."""
    strings = (node.value for node in ast.walk(modules()[path]) if isinstance(node, ast.Constant))
    return {found for text in strings if isinstance(text, str) for found in re.findall(r"PROBEGATE_[A-Z_]+[A-Z]", text)}


@pytest.mark.parametrize("action", AuditAction)
def test_every_audited_action_is_documented(action):
    assert f"`{action}`" in GUIDE


def test_every_audited_action_is_written_somewhere():
    written = {name for tree in modules("control_plane").values() for name in attributes_of(tree, "AuditAction")}
    assert {action.name for action in AuditAction} - written == set()


@pytest.mark.parametrize("module", ["control_plane/settings.py", "agents/settings.py"])
def test_every_setting_is_documented(module):
    assert {name for name in settings_read(module) if f"`{name}`" not in GUIDE} == set()


def test_the_environment_is_read_in_the_settings_modules_only():
    allowed = {"control_plane/settings.py", "agents/settings.py", "client/sdk/credentials.py", "client/cli/session.py"}
    reading = {path for path, tree in modules().items() if {"environ", "getenv"} & set(attributes_of(tree, "os"))}
    assert reading <= allowed
