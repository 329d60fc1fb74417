"""What every template must obey, however it was written: names, bounds, and expressions that can be where they stand.

Both front ends and `canonical.from_bytes` end here, so a template that exists has passed. `locate` maps a path such as
("probe", "capture", "sum") to a place in the source, for the error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import timedelta
from fractions import Fraction
from typing import Final

from language import expressions
from language.durations import render as render_duration
from language.errors import ExpressionError, TemplateError
from language.masking import BadAction, parse_treatment
from language.model import (
    At,
    Capture,
    LimitSpec,
    ParameterSpec,
    ParameterType,
    Position,
    ProbeSpec,
    TargetSpec,
    Template,
)
from language.syntax import Builtin, Expression, Name, Ret

MAX_CAPTURES: Final = 64  # columns of one table that a reviewer reads
MAX_PARAMETERS: Final = 32
MAX_CHOICES: Final = 64
MAX_LABELS: Final = 32
MAX_LABEL: Final = 253  # the longest Kubernetes label key with its prefix
MAX_DESCRIPTION: Final = 2000
MAX_FUNCTION: Final = 1024  # C++ template instances get long
MAX_PATH: Final = 4096  # PATH_MAX
MAX_PIDS: Final = 64  # as many processes as an agent probes at once
MAX_PID: Final = 4_194_304  # the kernel's PID_MAX_LIMIT on 64 bits
MAX_LINE: Final = 10_000_000
MAX_PARAMETER_LENGTH: Final = 256  # bytes of a literal the kernel program compares with
MIN_TTL: Final = timedelta(seconds=1)
MAX_TTL: Final = timedelta(hours=24)  # a forgotten probe must not outlive the day it was asked for
MAX_EVENTS_PER_SECOND: Final = 1_000_000  # above what one ring drains without loss
MAX_SAMPLE: Final = 1_000_000  # 1/N
MAX_HITS: Final = 1_000_000_000
MAX_STRING: Final = 4096  # bytes: one page, one read
MAX_ITEMS: Final = 256
MAX_DEPTH: Final = 8  # pointers followed below a value
MAX_CPU: Final = 1.0  # of one core
CPU_STEPS: Final = 1_000_000  # of one core: the finest step that is kept, so that no float drifts
INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1

RESERVED_COLUMNS: Final = frozenset({"time_", "pid", "tid", "goid"})  # every row has them already
LANGUAGES: Final = ("go", "c", "c++", "rust")
SLUG: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
IDENTIFIER: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}", re.ASCII)

Path = tuple[str, ...]
Locate = Callable[[Path], Position | None]


def nowhere(_path: Path) -> None:
    """For a template without a source text."""


def checked(template: Template, locate: Locate = nowhere) -> Template:
    """The template itself, if it obeys every rule. Raises TemplateError at the place of the first it breaks."""
    rules = _Rules(locate)
    rules.metadata(template)
    rules.parameters(template.parameters)
    rules.target(template.target)
    rules.probe(template.probe, tuple(parameter.name for parameter in template.parameters))
    rules.masking(template)
    rules.limits(template.limits)
    return template


def checked_target(target: TargetSpec) -> TargetSpec:
    """A target that somebody asked for, if it obeys the rules of one. Raises TemplateError."""
    _Rules(nowhere).target(target)
    return target


def needed_at(parsed: Iterable[Expression]) -> At:
    """Where a probe has to fire so that all of these can be read: what a template means that does not say."""
    nodes = [root for expression in parsed for root in expressions.roots(expression)]
    if Builtin("latency") in nodes:
        return At.ENTRY_AND_RETURN
    if not any(isinstance(node, Ret) for node in nodes):
        return At.ENTRY
    return At.ENTRY_AND_RETURN if any(isinstance(node, Name) for node in nodes) else At.RETURN


class _Rules:
    def __init__(self, locate: Locate) -> None:
        self._locate = locate

    def metadata(self, template: Template) -> None:
        if not SLUG.fullmatch(template.name):
            self._refuse(
                ("metadata", "name"),
                f"a template's name is 1 to 63 of a-z, 0-9 and inner hyphens, {template.name[:80]!r} came",
            )
        text = template.description
        self._text(("metadata", "description"), text.replace("\n", " "), MAX_DESCRIPTION, empty=True)
        self._labels(("metadata", "labels"), template.labels)
        if not IDENTIFIER.fullmatch(template.table):
            self._refuse(("table",), _identifier("a table", template.table))

    def parameters(self, parameters: Sequence[ParameterSpec]) -> None:
        if len(parameters) > MAX_PARAMETERS:
            self._refuse(("parameters",), f"a template has at most {MAX_PARAMETERS} parameters")
        self._unique(("parameters",), [parameter.name for parameter in parameters], "parameter")
        for parameter in parameters:
            path = ("parameters", parameter.name)
            if not IDENTIFIER.fullmatch(parameter.name):
                self._refuse(path, _identifier("a parameter", parameter.name))
            self._bounds(path, parameter)
            if parameter.default is not None:
                try:
                    fits(parameter, parameter.default)
                except ValueError as error:
                    self._refuse((*path, "default"), f"the default of {parameter.name}: {error}")

    def target(self, target: TargetSpec) -> None:
        for field in ("service", "exe", "pod", "shared_object"):
            value = getattr(target, field)
            if value is not None:
                self._text(("target", field), value, MAX_PATH)
        if target.exe is not None and not target.exe.startswith("/"):
            self._refuse(("target", "exe"), f"exe is an absolute path, {target.exe!r} came")
        if target.pod is not None and (target.pod.count("/") != 1 or not target.pod.split("/")[1]):
            self._refuse(("target", "pod"), f"a pod is namespace/prefix, {target.pod!r} came")
        if target.language is not None and target.language not in LANGUAGES:
            self._refuse(
                ("target", "language"), f"a language is one of {', '.join(LANGUAGES)}, {target.language!r} came"
            )
        if len(target.pids) > MAX_PIDS or list(target.pids) != sorted(set(target.pids)):
            self._refuse(("target", "pids"), f"pids are at most {MAX_PIDS} different numbers in rising order")
        for pid in target.pids:
            self._whole(("target", "pids"), "a pid", pid, 1, MAX_PID)
        self._labels(("target", "labels"), target.labels)

    def probe(self, probe: ProbeSpec, parameters: Collection[str]) -> None:
        self._text(("probe", "function"), probe.function, MAX_FUNCTION)
        if (probe.at is At.LINE) != (probe.line is not None):
            self._refuse(("probe", "at"), "a line probe, and only that, names file and line: at: line:file.go:42")
        if probe.line is not None:
            self._text(("probe", "at"), probe.line[0], MAX_PATH)
            self._whole(("probe", "at"), "a line", probe.line[1], 1, MAX_LINE)
        self._captures(probe, parameters)
        if probe.where is not None:
            path = ("probe", "where")
            where = self._expression(path, probe.where, parameters)
            self._in_place(path, where, probe.at)
            if any(isinstance(node, Builtin) and node.name == "stack" for node in expressions.walk(where)):
                self._refuse(path, "stack() can be captured, not asked for in a predicate")

    def _captures(self, probe: ProbeSpec, parameters: Collection[str]) -> None:
        path = ("probe", "capture")
        if not 1 <= len(probe.captures) <= MAX_CAPTURES:
            self._refuse(path, f"a template captures 1 to {MAX_CAPTURES} columns, {len(probe.captures)} came")
        # Query languages fold case: `Sum` and `sum` would be one column there.
        folded = [capture.column.lower() for capture in probe.captures]
        for number, capture in enumerate(probe.captures):
            if folded[number] in folded[:number]:
                self._refuse(
                    (*path, capture.column), f"there is a column {capture.column!r} already (case does not count)"
                )
        for capture in probe.captures:
            self._capture((*path, capture.column), capture, probe.at, parameters)

    def _capture(self, path: Path, capture: Capture, at: At, parameters: Collection[str]) -> None:
        if capture.column.lower() in RESERVED_COLUMNS:
            self._refuse(path, f"every row has a column {capture.column!r} already: choose another name")
        if not IDENTIFIER.fullmatch(capture.column):
            self._refuse(path, _identifier("a column", capture.column))
        expression = self._expression(path, capture.expression, parameters)
        self._in_place(path, expression, at)

    def _expression(self, path: Path, text: str, parameters: Collection[str]) -> Expression:
        try:
            return expressions.parse(text, parameters)
        except ExpressionError as error:
            position = self._locate(path) or error.position
            raise ExpressionError(f"{'.'.join(path)}: {error.problem}", position) from error

    def _in_place(self, path: Path, expression: Expression, at: At) -> None:
        for root in expressions.roots(expression):
            match root:
                case Ret() if at in {At.ENTRY, At.LINE}:
                    self._refuse(path, "ret() is known at the return only: at: return or at: entry+return")
                case Builtin("latency") if at is not At.ENTRY_AND_RETURN:
                    self._refuse(path, "latency() needs both ends of the call: at: entry+return")
                case _:
                    pass

    def masking(self, template: Template) -> None:
        path = ("masking",)
        columns = [capture.column for capture in template.probe.captures]
        self._sorted(path, [column for column, _ in template.masking])
        for column, action in template.masking:
            if column not in columns:
                self._refuse((*path, column), f"masking names the column {column!r}, which is not captured")
            try:
                parse_treatment(action)
            except BadAction as error:
                self._refuse((*path, column), f"masking of {column}: {error}")

    def limits(self, limits: LimitSpec) -> None:
        if not MIN_TTL <= limits.ttl <= MAX_TTL or limits.ttl.microseconds % 1000:
            self._refuse(
                ("limits", "ttl"),
                f"a template's ttl is {render_duration(MIN_TTL)} to {render_duration(MAX_TTL)}, {render_duration(limits.ttl)} came",
            )
        whole = (
            ("maxEventsPerSecond", limits.max_events_per_second, MAX_EVENTS_PER_SECOND),
            ("maxHits", limits.max_hits, MAX_HITS),
            ("maxString", limits.max_string, MAX_STRING),
            ("maxItems", limits.max_items, MAX_ITEMS),
            ("maxDepth", limits.max_depth, MAX_DEPTH),
        )
        for name, value, most in whole:
            self._whole(("limits", name), name, value, 1, most)
        sample = limits.sample
        if not isinstance(sample, Fraction) or sample.numerator != 1 or sample.denominator > MAX_SAMPLE:
            self._refuse(("limits", "sample"), f"sample is 1/N with N from 1 to {MAX_SAMPLE}, {sample} came")
        if not 0 < limits.cpu <= MAX_CPU or round(limits.cpu * CPU_STEPS) / CPU_STEPS != limits.cpu:
            self._refuse(("limits", "cpu"), f"cpu is a share of one core above 0% up to 100%, {limits.cpu:%} came")

    def _bounds(self, path: Path, parameter: ParameterSpec) -> None:
        low, high, length = parameter.min, parameter.max, parameter.max_length
        match parameter.type:
            case ParameterType.INT:
                if low is None or high is None or not INT_MIN <= low <= high <= INT_MAX:
                    self._refuse(path, f"{parameter.name} is an int with min <= max, both within 64 bits")
                if length is not None or parameter.choices:
                    self._refuse(path, f"{parameter.name} is an int: it has min and max, no maxLength or choices")
            case ParameterType.STRING:
                self._choices(path, parameter)
                if (low, high) != (None, None):
                    self._refuse(path, f"{parameter.name} is a string: it has maxLength or choices, no min or max")
                if length is None or not 1 <= length <= MAX_PARAMETER_LENGTH:
                    self._refuse(path, f"maxLength of {parameter.name} is 1 to {MAX_PARAMETER_LENGTH} bytes")
            case ParameterType.BOOL:
                if (low, high, length) != (None, None, None) or parameter.choices:
                    self._refuse(path, f"{parameter.name} is a bool: it has no bounds")

    def _choices(self, path: Path, parameter: ParameterSpec) -> None:
        if len(parameter.choices) > MAX_CHOICES:
            self._refuse((*path, "choices"), f"{parameter.name} has at most {MAX_CHOICES} choices")
        self._unique((*path, "choices"), parameter.choices, "choice")
        for choice in parameter.choices:
            self._text((*path, "choices"), choice, MAX_PARAMETER_LENGTH, empty=True)
            if parameter.max_length is not None and len(choice.encode()) > parameter.max_length:
                self._refuse((*path, "choices"), f"the choice {choice!r} is longer than maxLength")

    def _labels(self, path: Path, labels: tuple[tuple[str, str], ...]) -> None:
        if len(labels) > MAX_LABELS:
            self._refuse(path, f"there are at most {MAX_LABELS} labels")
        self._sorted(path, [key for key, _ in labels])
        for key, value in labels:
            self._text((*path, key), key, MAX_LABEL)
            self._text((*path, key), value, MAX_LABEL, empty=True)

    def _text(self, path: Path, text: str, most: int, *, empty: bool = False) -> None:
        what = ".".join(path)
        if not text.strip() and not empty:
            self._refuse(path, f"{what} is empty")
        if len(text) > most:
            self._refuse(path, f"{what} has at most {most} characters, {len(text)} came")
        if not text.isprintable():
            self._refuse(path, f"{what} holds printable characters only")

    def _whole(self, path: Path, what: str, value: int, least: int, most: int) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self._refuse(path, f"{what} is a whole number from {least} to {most}, {value!r} came")

    def _unique(self, path: Path, names: Sequence[str], what: str) -> None:
        seen: set[str] = set()
        for name in names:
            if name in seen:
                self._refuse((*path, name), f"the {what} {name!r} is there twice")
            seen.add(name)

    def _sorted(self, path: Path, names: Sequence[str]) -> None:
        if list(names) != sorted(set(names)):
            self._refuse(path, f"the names under {'.'.join(path)} are sorted and different")

    def _refuse(self, path: Path, problem: str) -> None:
        raise TemplateError(problem, self._locate(path))


def fits(parameter: ParameterSpec, value: object) -> None:
    """Raise ValueError, with what was expected, unless the value is one that this parameter may have."""
    match parameter.type, value:
        case ParameterType.BOOL, bool():
            return
        case ParameterType.INT, int() if not isinstance(value, bool):
            low, high = parameter.min, parameter.max
            if (low is not None and value < low) or (high is not None and value > high):
                raise ValueError(f"a whole number from {low} to {high} was expected, {value} came")
        case ParameterType.STRING, str():
            if parameter.choices and value not in parameter.choices:
                raise ValueError(f"one of {', '.join(parameter.choices)} was expected, {value[:80]!r} came")
            size = len(value.encode(errors="surrogatepass"))
            if parameter.max_length is not None and size > parameter.max_length:
                raise ValueError(f"at most {parameter.max_length} bytes were expected, {size} came")
            if not value.isprintable():
                raise ValueError("printable characters only were expected")
        case _:
            raise ValueError(f"a value of type {parameter.type} was expected, {value!r:.80} came")


def _identifier(what: str, came: str) -> str:
    return f"{what} is named with a letter, then letters, digits and _, 63 at most; {came[:80]!r} came"
