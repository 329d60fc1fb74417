"""Rule file text -> RuleSet: YAML, strict, with the rules' own cases run before anything uses them.

apiVersion: probegate/v1
kind: MaskingRules
metadata: {name: platform, description: ...}
spec:
  defaults: {string: detect, integer: detect, latency: allow}
  rules:
    - name: card-verification
      words: [cvv, cvc, card verification]      # or  path: "o.Card.*"   or  type: "*.Card"
      action: drop                               # or partial(0,4), bucket(100): see language.masking
      cases: {matches: [o.Card.CVV2], ignores: [o.Curve]}
    - name: employee-number                      # a tenant's own detector: what it finds in values becomes its name
      regex: '\bEMP-[0-9]{6}\b'                  # RE2: see language.masking_patterns
      action: redact
      cases: {matches: ['by EMP-123456'], ignores: [TEMP-123456]}
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

import yaml

from language.masking import Action, BadAction, Treatment, parse_treatment
from language.masking_model import Cases, Kind, MaskingRuleError, Rule, RuleSet, Scope
from language.masking_names import KIND_PREFIX, MAX_PATTERN, BadPattern, PathPattern, parse_pattern, words_pattern
from language.masking_patterns import MAX_PATTERNS, BadRegex, check_regex
from language.model import Position

MAX_FILE: Final = 256 * 1024  # bytes: a long pack is 20 KiB
MAX_RULES: Final = 500  # every name rule travels with every column of a spec
MAX_CASES: Final = 200  # of one rule
_SUBJECTS: Final = ("words", "path", "type", "regex")
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")


def load_rules(text: str, scope: Scope = Scope.PLATFORM) -> RuleSet:
    """Read one file. Raises MaskingRuleError with the place, also when one of the file's own cases fails."""
    if len(text.encode()) > MAX_FILE:
        raise MaskingRuleError(f"a rule file has at most {MAX_FILE} bytes")
    document = _object(_yaml(text), "the file")
    _only(document, {"apiVersion", "kind", "metadata", "spec"}, "the file")
    if (document.get("apiVersion"), document.get("kind")) != ("probegate/v1", "MaskingRules"):
        raise MaskingRuleError("expected `apiVersion: probegate/v1` and `kind: MaskingRules`")
    spec = _object(document.get("spec"), "spec")
    _only(spec, {"rules", "defaults", "strict"}, "spec")
    listed = spec.get("rules", [])
    if not isinstance(listed, list) or len(listed) > MAX_RULES:
        raise MaskingRuleError(f"spec.rules: expected a list of at most {MAX_RULES} rules")
    rules = tuple(rule_from(_object(entry, f"spec.rules[{i}]")) for i, entry in enumerate(listed))
    names = [rule.name for rule in rules]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise MaskingRuleError(f"rule {repeated!r} stands there twice")
    refuse_too_many_patterns(rules)
    strict = spec.get("strict", False)
    if not isinstance(strict, bool):
        raise MaskingRuleError("spec.strict: expected true or false")
    return RuleSet(scope=scope, rules=rules, defaults=_defaults(spec.get("defaults", {})), strict=strict)


def rule_from(given: Mapping[str, object]) -> Rule:
    """One rule from its YAML or JSON form. Raises MaskingRuleError, also when one of its cases fails."""
    _only(given, {"name", *_SUBJECTS, "action", "cases", "description"}, "a rule")
    name = given.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise MaskingRuleError(f"rule name {name!r}: expected lower-case letters, digits and hyphens, like card-number")
    where = f"rule {name}"
    chosen = {key for key in _SUBJECTS if given.get(key)}
    if len(chosen) != 1:
        raise MaskingRuleError(
            f"{where}: expected exactly one of words, path, type and regex, got {sorted(chosen) or 'none'}"
        )
    try:
        path = _pattern(given, where)
    except BadPattern as error:
        raise MaskingRuleError(f"{where}: {error}") from error
    treatment = _treatment(given.get("action"), where)
    rule = Rule(
        name=name,
        action=treatment.action,
        argument=treatment.argument,
        path=path,
        type=_type(given.get("type"), where),
        cases=_cases(given.get("cases", {}), where),
        regex=_regex(given.get("regex"), treatment, where),
    )
    if rule.regex and not (rule.cases.matches and rule.cases.ignores):
        raise MaskingRuleError(
            f"{where}: a regex needs cases of both kinds: values that it matches, and that it ignores"
        )
    if failures := failing_cases(rule):
        raise MaskingRuleError(failures[0])
    return rule


def refuse_too_many_patterns(rules: Sequence[Rule]) -> None:
    """Raises MaskingRuleError when one host would have to look for more than one RE2 set holds."""
    if (own := sum(1 for rule in rules if rule.regex)) > MAX_PATTERNS:
        raise MaskingRuleError(
            f"a tenant has at most {MAX_PATTERNS} rules with a regex, these are {own}: join some with |"
        )


def failing_cases(rule: Rule) -> tuple[str, ...]:
    """One sentence for each of the rule's own cases that does not hold."""
    missed = (
        f"rule {rule.name} should match {case!r} and does not" for case in rule.cases.matches if not rule.means(case)
    )
    taken = (
        f"rule {rule.name} should leave {case!r} alone and matches it"
        for case in rule.cases.ignores
        if rule.means(case)
    )
    return (*missed, *taken)


def _pattern(given: Mapping[str, object], where: str) -> PathPattern | None:
    if "words" in given:
        return words_pattern(_texts(given["words"], f"{where}: words"))
    path = given.get("path")
    if path is None:
        return None
    if not isinstance(path, str):
        raise MaskingRuleError(f"{where}: path: expected text like o.Card.Number")
    return parse_pattern(path)


def _type(value: object, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > MAX_PATTERN or value.startswith(KIND_PREFIX):
        raise MaskingRuleError(f"{where}: type: expected a DWARF type name, `*` for any text, like *.Card")
    return value


def _regex(value: object, treatment: Treatment, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MaskingRuleError(f"{where}: regex: expected text, an RE2 pattern")
    if treatment != Treatment(Action.REDACT):
        raise MaskingRuleError(f"{where}: what a regex finds is replaced by the rule's name: its action is redact")
    try:
        check_regex(value)
    except BadRegex as error:
        raise MaskingRuleError(f"{where}: regex: {error}") from error
    return value


def _treatment(value: object, where: str) -> Treatment:
    try:
        return parse_treatment(value if isinstance(value, str) else repr(value))
    except BadAction as error:
        raise MaskingRuleError(f"{where}: action {value!r}: {error}") from None


def _default(value: object, where: str) -> Action:
    treatment = _treatment(value, where)
    if treatment.argument:
        raise MaskingRuleError(f"{where}: a default takes no argument: write a rule for what needs {treatment}")
    return treatment.action


def _cases(value: object, where: str) -> Cases:
    given = _object(value, f"{where}: cases")
    _only(given, {"matches", "ignores"}, f"{where}: cases")
    return Cases(*(_texts(given.get(key, []), f"{where}: cases.{key}") for key in ("matches", "ignores")))


def _defaults(value: object) -> Mapping[Kind, Action]:
    given = _object(value, "spec.defaults")
    _only(given, set(Kind), "spec.defaults")
    return {Kind(kind): _default(action, f"spec.defaults.{kind}") for kind, action in given.items()}


def _texts(value: object, where: str) -> tuple[str, ...]:
    if (
        not isinstance(value, list)
        or len(value) > MAX_CASES
        or not all(isinstance(item, str) and item for item in value)
    ):
        raise MaskingRuleError(f"{where}: expected a list of at most {MAX_CASES} texts")
    return tuple(value)


def _object(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise MaskingRuleError(f"{where}: expected an object, got {type(value).__name__}")
    return value


def _only(given: Mapping[str, object], known: set[str] | set[Kind], where: str) -> None:
    if unknown := sorted(set(given) - {str(key) for key in known}):
        raise MaskingRuleError(f"{where}: unknown {unknown[0]!r}; known are {', '.join(sorted(map(str, known)))}")


class _Loader(yaml.SafeLoader):
    """YAML without repeated keys (the last would win unseen) and without aliases (a small text could grow large)."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            raise MaskingRuleError("aliases (`*name`) are not supported in rule files; write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                mark = node.value[position][0].start_mark
                raise MaskingRuleError(f"{key!r} stands there twice", _position(mark))
        return super().construct_mapping(node, deep=deep)


def _yaml(text: str) -> object:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 -- _Loader is a SafeLoader
    except yaml.MarkedYAMLError as error:
        raise MaskingRuleError(f"not YAML: {error.problem}", _position(error.problem_mark)) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise MaskingRuleError(f"not YAML: {error}") from error


def _position(mark: Any) -> Position | None:
    return Position(mark.line + 1, mark.column + 1) if mark is not None else None
