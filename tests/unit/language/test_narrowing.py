from __future__ import annotations

import pytest

from language.errors import TemplateError
from language.model import TargetSpec
from language.narrowing import narrow

T = TargetSpec


@pytest.mark.parametrize(
    ("approved", "asked", "used"),
    [
        (T(service="a", language="go"), T(), T(service="a", language="go")),
        (T(service="a"), T(pids=(7,)), T(service="a", pids=(7,))),
        (T(service="a"), T(service="a", exe="/x"), T(service="a", exe="/x")),
        (T(pids=(1, 2)), T(pids=(2,)), T(pids=(2,))),
        (T(pids=(1, 2)), T(), T(pids=(1, 2))),
        (T(pod="ns/a"), T(pod="ns/a-b"), T(pod="ns/a-b")),
        (T(pod="/a"), T(pod="ns/a"), T(pod="ns/a")),
        (T(labels=(("b", "1"),)), T(labels=(("a", "2"),)), T(labels=(("a", "2"), ("b", "1")))),
        (T(), T(service="a"), T(service="a")),
    ],
)
def test_a_request_narrows_the_target(approved: TargetSpec, asked: TargetSpec, used: TargetSpec) -> None:
    assert narrow(approved, asked) == used


@pytest.mark.parametrize(
    ("approved", "asked"),
    [
        (T(service="a"), T(service="b")),
        (T(exe="/a"), T(exe="/b")),
        (T(pids=(1, 2)), T(pids=(2, 3))),
        (T(service="a", language="go"), T(language="c")),
        (T(pod="ns/a"), T(pod="ns/ab")),
        (T(pod="ns/a"), T(pod="other/a")),
        (T(pod="ns/a-b"), T(pod="ns/a")),
        (T(pod="ns/a"), T(pod="/a")),
        (T(labels=(("a", "1"),)), T(labels=(("a", "2"),))),
    ],
)
def test_a_request_that_would_widen_is_refused(approved: TargetSpec, asked: TargetSpec) -> None:
    with pytest.raises(TemplateError, match="was approved for"):
        narrow(approved, asked)


def test_a_target_that_names_nobody_is_refused() -> None:
    with pytest.raises(TemplateError, match="names no process"):
        narrow(T(language="go"), T())
