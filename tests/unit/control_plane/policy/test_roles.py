"""roles.yaml is read strictly: a misspelt deny must not be a missing deny."""

from __future__ import annotations

import pytest

from control_plane.policy.roles import BadRoles, load_roles, read_roles


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "kind Roles"),
        ("{kind: Roles, roles: {abc: {dény: [template:read]}}}", "expected the keys"),
        ("{kind: Roles, roles: {abc: {Deny: [template:read]}}}", "expected the keys"),
        ("{kind: Roles, roles: {abc: {deny: [template:Read]}}}", "permissions are"),
        ("{kind: Roles, roles: {abc: {allow: ['template:*']}}}", "permissions are"),
        ("{kind: Roles, roles: {abc: {allow: template:read}}}", "must be a list"),
        ("{kind: Roles, roles: {abc: {includes: [xyz]}}}", "does not exist"),
        ("{kind: Roles, roles: {abc: {includes: [xyz]}, xyz: {includes: [abc]}}}", "circle"),
        ("{kind: Roles, roles: {'role:x': {}}}", "lower-case letters"),
    ],
)
def test_a_file_that_is_not_understood_is_refused(text, why):
    with pytest.raises(BadRoles, match=why):
        load_roles(text)


def test_the_file_of_this_version_is_understood():
    book = read_roles()

    assert book.roles["auditor"].excludes == ("tenant-admin",)
    assert [name for name, role in book.roles.items() if role.platform] == ["platform-admin"]
