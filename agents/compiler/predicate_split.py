"""A typed test of a probe with entry and return -> what the entry decides, what its return does, what is kept between.

Conjuncts that need only the entry are decided there, before anything is stashed. Of one that needs both, the entry works
out its own parts and keeps them: a number or a bool each, and whether it could be read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agents.compiler.model import CannotCompile, Refusal
from agents.compiler.predicate import (
    All,
    AnyOf,
    Combined,
    Compared,
    Inverted,
    IsNil,
    Kept,
    Loaded,
    Measured,
    Sensed,
    Stashed,
    Term,
    Test,
    TextIs,
    TextsEqual,
    unsigned_wide,
)


@dataclass(frozen=True)
class Split:
    """`entry` decides before the call, `returned` after it; `kept` is worked out at the entry for `returned`."""

    entry: Test
    returned: Test
    kept: tuple[Term | Test, ...] = ()


def split(test: Test) -> Split:
    """For a probe with entry and return: what needs only the entry is decided there."""
    entry: list[Test] = []
    returned: list[Test] = []
    kept: list[Term | Test] = []
    for each in test.tests if isinstance(test, All) else (test,):
        if not needs_return(each):
            entry.append(each)
        else:
            returned.append(_keeping(each, kept))
    return Split(All(tuple(entry)), All(tuple(returned)), tuple(kept))


def needs_return(what: Test | Term) -> bool:
    match what:
        case Loaded(access=access) | Measured(access=access) | IsNil(access=access) | TextIs(text=access):
            return access.is_result
        case TextsEqual(left, right):
            return left.is_result or right.is_result
        case Sensed(name):
            return name == "latency"
        case Combined(left=left, right=right) | Compared(left=left, right=right):
            return needs_return(left) or needs_return(right)
        case Inverted(inner):
            return needs_return(inner)
        case All(tests) | AnyOf(tests):
            return any(map(needs_return, tests))
        case _:
            return False


def needs_entry(what: Test | Term) -> bool:
    """Whether it needs something that is gone at the return: an argument, or the time of the entry."""
    match what:
        case Loaded(access=access) | Measured(access=access) | IsNil(access=access) | TextIs(text=access):
            return not access.is_result
        case TextsEqual(left, right):
            return not (left.is_result and right.is_result)
        case Sensed(name):
            return name == "latency"
        case Combined(left=left, right=right) | Compared(left=left, right=right):
            return needs_entry(left) or needs_entry(right)
        case Inverted(inner):
            return needs_entry(inner)
        case All(tests) | AnyOf(tests):
            return any(map(needs_entry, tests))
        case _:
            return False


def _keeping(test: Test, kept: list[Term | Test]) -> Test:
    """The same test, with each part that only the entry knows replaced by what the entry keeps of it."""
    if not needs_return(test) and needs_entry(test):
        kept.append(test)
        return Kept(len(kept) - 1)
    match test:
        case Compared():
            return replace(test, left=_kept_term(test.left, kept), right=_kept_term(test.right, kept))
        case TextsEqual() if needs_entry(test):
            raise CannotCompile(
                Refusal.WRONG_TYPE, "a text of the entry cannot be compared with a result: the entry keeps numbers only"
            )
        case Inverted(inner):
            return Inverted(_keeping(inner, kept))
        case All(tests):
            return All(tuple(_keeping(each, kept) for each in tests))
        case AnyOf(tests):
            return AnyOf(tuple(_keeping(each, kept) for each in tests))
        case _:
            return test


def _kept_term(term: Term, kept: list[Term | Test]) -> Term:
    if not needs_return(term) and needs_entry(term):
        if unsigned_wide(term):
            raise CannotCompile(Refusal.WRONG_TYPE, "an unsigned 64-bit argument cannot be compared with a result")
        kept.append(term)
        return Stashed(len(kept) - 1)
    if isinstance(term, Combined):
        return replace(term, left=_kept_term(term.left, kept), right=_kept_term(term.right, kept))
    return term
