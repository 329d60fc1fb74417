"""What a change of masking would mean for the templates that are approved now: column by column, hidden more or less.

Pure: the same decision is made twice, with the rules before and after, and the outcomes are told apart for people. Next:
`changing` asks for a second person where anything would be hidden less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from language.errors import TemplateError
from language.masking_rules import BoundRule
from language.model import Template

Judged = Callable[[Template], tuple[BoundRule, ...]]


@dataclass(frozen=True)
class Difference:
    """`before` and `after` say what happens to the column, or to what lies inside it; `less` is what needs a second person."""

    template: str
    column: str
    before: str
    after: str
    less: bool

    def __str__(self) -> str:
        return f"{self.template}: {self.column} {self.before} -> {self.after}, hides {'less' if self.less else 'more'}"


def differences(templates: Iterable[Template], before: Judged, after: Judged) -> tuple[Difference, ...]:
    return tuple(each for template in templates for each in _of(template, before, after))


def _of(template: Template, before: Judged, after: Judged) -> Iterator[Difference]:
    old, new = _judged(template, before), _judged(template, after)
    if isinstance(old, str) or isinstance(new, str):
        if isinstance(old, str) != isinstance(new, str):
            yield Difference(template.name, "*", _words(old), _words(new), less=isinstance(old, str))
        return
    for was, becomes in zip(old, new, strict=True):
        if was.treatment != becomes.treatment:
            less = becomes.treatment.strictness < was.treatment.strictness
            yield Difference(template.name, was.column, _rule(was), _rule(becomes), less)
        gone, come = (set(_inside(one)) - set(_inside(other)) for one, other in ((was, becomes), (becomes, was)))
        if was.treatment.strictness <= becomes.treatment.strictness:
            gone -= {each for each in gone if was.treatment != becomes.treatment}  # what surrounds it hides it as well
        for each in sorted(gone):
            yield Difference(template.name, f"{was.column} inside", each, "as its column", less=True)
        for each in sorted(come):
            yield Difference(template.name, f"{was.column} inside", "as its column", each, less=False)


def _judged(template: Template, judge: Judged) -> tuple[BoundRule, ...] | str:
    try:
        return judge(template)
    except TemplateError as error:
        return str(error)


def _words(outcome: tuple[BoundRule, ...] | str) -> str:
    return f"refused ({outcome})" if isinstance(outcome, str) else "allowed to run"


def _rule(bound: BoundRule) -> str:
    return f"{bound.treatment} ({bound.rule})"


def _inside(bound: BoundRule) -> Iterator[str]:
    for each in bound.paths:
        yield f"{each.treatment} of {each.path or each.type}"
    for pattern in bound.patterns:
        yield f"<{pattern.word}> for values like /{pattern.regex}/"
