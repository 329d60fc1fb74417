"""Which function a name means, and what is said when it means none or many."""

import pytest

from agents.binaries.function_names import NamedFunction, find
from agents.binaries.model import Unresolved, UnresolvedReason

NAMES = [
    "example.com/shop/money.Sum",
    "example.com/shop/money.(*Wallet).Pay",
    "example.com/shop/orders.Charge",
    "example.com/admin/orders.Charge",
    "gopkg.in/yaml%2ev3.Unmarshal",
    "main.pick[go.shape.int]",
    "main.pick[go.shape.string]",
    "main.only[go.shape.int]",
    "main.main",
]
FUNCTIONS = [NamedFunction(name, 0x1000 + 16 * index, 16) for index, name in enumerate(NAMES)]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("main.main", "main.main"),
        ("money.Sum", "example.com/shop/money.Sum"),
        ("shop/orders.Charge", "example.com/shop/orders.Charge"),
        ("(*Wallet).Pay", "example.com/shop/money.(*Wallet).Pay"),
        ("gopkg.in/yaml.v3.Unmarshal", "gopkg.in/yaml%2ev3.Unmarshal"),
        ("main.only", "main.only[go.shape.int]"),
        ("main.pick[string]", "main.pick[go.shape.string]"),
    ],
)
def test_a_name_means_one_function(asked, name):
    assert find(FUNCTIONS, asked, "shop").name == name


def test_part_of_a_word_is_no_name():
    with pytest.raises(Unresolved) as refused:
        find(FUNCTIONS, "oney.Sum", "shop")

    assert refused.value.reason is UnresolvedReason.NO_FUNCTION


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(Unresolved, match=r"the nearest names are example.com/shop/money.Sum"):
        find(FUNCTIONS, "money.Sun", "shop")


@pytest.mark.parametrize("asked", ["orders.Charge", "main.pick"])
def test_a_name_that_means_several_lists_them(asked):
    with pytest.raises(Unresolved, match=r"2 functions of shop; name one of them in full") as refused:
        find(FUNCTIONS, asked, "shop")

    assert refused.value.reason is UnresolvedReason.AMBIGUOUS


@pytest.mark.parametrize("asked", ["", "x" * 1001])
def test_a_name_without_sense_is_refused(asked):
    with pytest.raises(Unresolved):
        find(FUNCTIONS, asked, "shop")
