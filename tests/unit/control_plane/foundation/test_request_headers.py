"""If-Match: the change goes on for whoever saw what stands there now."""

from __future__ import annotations

import pytest

from control_plane.foundation.errors import Stale
from control_plane.foundation.request_headers import ABSENT, check_match


@pytest.mark.parametrize("header", [None, "*", '"3"', "3", '"2", "3"', ' "3" '])
def test_the_etag_that_stands_there_lets_the_change_through(header):
    check_match("the rule", "3", header)


@pytest.mark.parametrize("header", ['"2"', "", 'W/"3"', '"3', "33", '"*"'])
def test_any_other_is_stale_and_hears_the_one_that_stands_there(header):
    with pytest.raises(Stale) as refused:
        check_match("the rule", "3", header)

    assert refused.value.extra == {"etag": "3"}


@pytest.mark.parametrize("header", ["*", "", '""', '"1"'])
def test_what_is_not_there_matches_nothing(header):
    with pytest.raises(Stale):
        check_match("the rule", ABSENT, header)
