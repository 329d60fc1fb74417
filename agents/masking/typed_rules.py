"""Rules by type -> rules by name, once the binary is known: Arrow columns do not say which type a field had.

`*.Card: redact` on a captured order becomes "every field whose type is a Card, by its name, wherever it is inside". A
field of the same name and another type is hidden too, if there is one: too much rather than too little. What a Go
interface holds is known row by row only, so for those the rule stays, as a type rule with the path `**`.

Before: `agents.stages` has resolved the function. After: `service.mask` with these rules. Rules whose action is `drop`
are the compiler's as well, which never reads the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agents.binaries import model as binary
from agents.binaries.model import ResolvedProbe, TypeId, TypeTable
from agents.compiler.access import Access
from agents.compiler.model import CompileRequest
from agents.compiler.service import bind_captures
from agents.masking.applying import DYNAMIC_ONLY, Decision, stricter
from agents.masking.model import FieldRule, PathRule
from language.masking_names import KIND_PREFIX, BadPattern, parse_pattern, type_matches

MAX_TYPES: Final = (
    20_000  # looked at below one captured value; above it the whole column is hidden as its type rules say
)


@dataclass(frozen=True)
class _Member:
    name: str
    types: frozenset[str]  # its own, and those of what it points to or holds


def typed_rules(rules: Sequence[FieldRule], resolved: ResolvedProbe, request: CompileRequest) -> tuple[FieldRule, ...]:
    """The same rules with each type rule bound to this binary. Raises CannotCompile for what compiling refuses too."""
    if not any(_type_rules(rule) for rule in rules):
        return tuple(rules)
    values = dict(zip((capture.column for capture in request.captures), bind_captures(resolved, request), strict=True))
    return tuple(
        _bound(rule, value, resolved.types) if isinstance(value := values.get(rule.column), Access) else rule
        for rule in rules
    )


def _bound(rule: FieldRule, access: Access, types: TypeTable) -> FieldRule:
    by_type = _type_rules(rule)
    if not by_type:
        return rule
    outer = Decision(rule.action, rule.rule, rule.argument)
    around = {*access.type_names, *_names(types, access.type)}
    for path in by_type:
        if any(type_matches(path.type, name) for name in around):
            outer = stricter(outer, Decision(path.action, path.rule, path.argument))
    reachable = _reachable(types, access.type)
    if len(reachable) > MAX_TYPES:
        for path in by_type:
            outer = stricter(outer, Decision(path.action, path.rule, path.argument))
    found = dict.fromkeys(
        PathRule(f"**.{_segment(member.name)}", "", path.action, path.rule, path.argument)
        for member in _members(types, reachable)
        for path in by_type
        if any(type_matches(path.type, name) for name in member.types)
    )
    kept = tuple(path for path in rule.paths if path not in by_type)
    dynamic = tuple(replace(path, path=DYNAMIC_ONLY) for path in by_type)
    return replace(rule, action=outer.action, argument=outer.argument, rule=outer.rule, paths=(*kept, *dynamic, *found))


def _type_rules(rule: FieldRule) -> tuple[PathRule, ...]:
    return tuple(path for path in rule.paths if path.type and not path.path and not path.type.startswith(KIND_PREFIX))


def _reachable(types: TypeTable, root: TypeId) -> set[TypeId]:
    found: set[TypeId] = set()
    waiting = [root]
    while waiting and len(found) <= MAX_TYPES:
        current = waiting.pop()
        if current not in found and current in types:
            found.add(current)
            waiting.extend(_parts(types[current]))
            if isinstance(held := types[current], binary.Struct):
                waiting.extend(member.type for member in held.members)
    return found


def _members(types: TypeTable, reachable: set[TypeId]) -> Iterator[_Member]:
    for each in sorted(reachable):
        if isinstance(held := types[each], binary.Struct):
            for member in held.members:
                if member.name:
                    yield _Member(member.name, frozenset(_names(types, member.type)))


def _names(types: TypeTable, root: TypeId) -> set[str]:
    """The names of a type, and of what it points to, is a list of, or maps to."""
    found: set[TypeId] = set()
    waiting = [root]
    while waiting:
        current = waiting.pop()
        if current not in found and current in types:
            found.add(current)
            if not isinstance(types[current], binary.Interface):
                waiting.extend(_parts(types[current]))
    return {types[each].name for each in found}


def _parts(held: binary.Type) -> tuple[TypeId, ...]:
    """What a value of this type leads to without a name."""
    match held:
        case binary.Pointer(target=target):
            return () if target is None else (target,)
        case binary.Slice(element=element) | binary.Array(element=element):
            return (element,)
        case binary.Map(key=key, value=value):
            return (key, value)
        case binary.VariantPart(variants=variants):
            return tuple(variant.type for variant in variants)
        case binary.Interface(implementations=implementations):
            return tuple(each.type for each in implementations if each.type is not None)
        case _:
            return ()


def _segment(name: str) -> str:
    """A member's name as a pattern; one that cannot stand in a pattern becomes `*`, which means more."""
    if "*" in name or "." in name:
        return "*"
    try:
        parse_pattern(name)
    except BadPattern:
        return "*"
    return name
