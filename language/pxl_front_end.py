"""A PxL script -> the probes it deploys, the tracepoints it deletes, the tables it shows.

Read with `ast`, statement by statement, and never executed: imports of px and pxtrace, names for constants, probe
functions, UpsertTracepoint, DeleteTracepoint, px.display. Anything else is refused with line, column and the nearest
supported name. Each deployment's template goes through the same rules as a YAML one.
"""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from datetime import timedelta
from typing import Final

from language import durations, rules
from language.errors import TemplateError
from language.model import Capture, LimitSpec, Position, ProbeSpec, Template
from language.pxl_frame import assigned, frame
from language.pxl_probe import probe_function
from language.pxl_source import MODULES, NOT_RUN, SIGNATURES, Source
from language.pxl_target import target
from language.pxl_values import Names, ProbeFunction
from language.script import Deployment, Display, Script

MAX_DEPLOYMENTS: Final = 16  # probes that one review can still look at
MAX_DISPLAYS: Final = 16
DEFAULT_DISPLAY: Final = "output"  # as PxL names it
_TRACEPOINT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)


def load(text: str) -> Script:
    """Read one script. Raises TemplateError, UnsupportedName for a name outside the supported set."""
    source = Source(text)
    reader = _Reader(source)
    for statement in source.tree.body:
        try:
            reader.statement(statement)
        except RecursionError:
            source.refuse(statement, "this is nested too deeply to be read")
    script = Script(tuple(reader.deployments), tuple(reader.deletions), tuple(reader.displays))
    if not (script.templates or script.deletions or script.displays):
        raise TemplateError("the script does nothing: it deploys no tracepoint, deletes none and shows no table")
    return script


def slug(name: str) -> str:
    """A tracepoint's name as the name of a template: `checkout_tracer` is `checkout-tracer`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-")


class _Reader:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._names = Names(source)
        self.deployments: list[Deployment] = []
        self.deletions: list[str] = []
        self.displays: list[Display] = []

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Import(names=aliases):
                self._import(node, aliases)
            case ast.ImportFrom():
                self._source.unknown(node, f"from {node.module} import", [f"import {module}" for module in MODULES])
            case ast.Expr(value=ast.Constant(value=str())):
                pass  # a docstring
            case ast.Expr(value=ast.Call() as call):
                self._call(call)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self._assign(name, value)
            case ast.Assign(targets=[(ast.Attribute() | ast.Subscript()) as target_], value=value):
                assigned(self._source, self._names, target_, value)
            case ast.FunctionDef(name=name):
                self._names.assign(name, probe_function(self._source, self._names, node))
            case _:
                self._source.refuse(
                    node,
                    "a script is made of imports, name = value, functions with @pxtrace.probe and calls of "
                    f"px and pxtrace; {type(node).__name__.lower()} came",
                )

    def _import(self, node: ast.Import, aliases: list[ast.alias]) -> None:
        for alias in aliases:
            if alias.name not in MODULES:
                self._source.unknown(node, f"import {alias.name}", [f"import {module}" for module in MODULES])
            if alias.asname is not None:
                self._source.refuse(node, f"modules keep their names: import {alias.name}")

    def _assign(self, name: str, value: ast.expr) -> None:
        if name in MODULES:
            self._source.refuse(value, f"{name} is a module, it cannot be assigned")
        table = frame(self._source, self._names, value)
        if table is not None:
            self._names.assign(name, table)
        elif isinstance(value, ast.Name):
            self._names.assign(name, self._names.get(value))
        elif isinstance(value, ast.Call):
            self._source.function(value)  # the right error for a name that is not supported at all
            self._source.refuse(value, "only px.DataFrame and what is done to one can be given a name")
        else:
            self._names.assign(name, self._names.constant(value, name))

    def _call(self, call: ast.Call) -> None:
        match self._source.function(call):
            case "pxtrace.UpsertTracepoint":
                self._upsert(call)
            case "pxtrace.DeleteTracepoint":
                name = self._source.arguments(call, SIGNATURES["pxtrace.DeleteTracepoint"])["name"]
                self.deletions.append(self._tracepoint(name))
            case "px.display":
                self._display(call)
            case other:
                self._source.refuse(call, f"{other} has no effect by itself")

    def _display(self, call: ast.Call) -> None:
        found = self._source.arguments(call, SIGNATURES["px.display"], {"name"})
        table = frame(self._source, self._names, found["out"])
        if table is None:
            if isinstance(found["out"], ast.Call):
                self._source.function(found["out"])  # the right error for a name that is not supported at all
            self._source.refuse(found["out"], "px.display shows a table: df = px.DataFrame('table'); px.display(df)")
        if table.by is not None:
            self._source.refuse(found["out"], "what was grouped is aggregated first: .agg(n=('units', px.count))")
        if len(self.displays) >= MAX_DISPLAYS:
            self._source.refuse(call, f"a script shows at most {MAX_DISPLAYS} tables")
        name = self._names.text(found["name"], "a display's name") if "name" in found else DEFAULT_DISPLAY
        self.displays.append(Display(table.table, name, table.operations))

    def _upsert(self, call: ast.Call) -> None:
        found = self._source.arguments(call, SIGNATURES["pxtrace.UpsertTracepoint"])
        probe = self._probe(found["probe_fn"])
        name = self._tracepoint(found["name"])
        if len(self.deployments) >= MAX_DEPLOYMENTS or slug(name) in [slug(other.name) for other in self.deployments]:
            self._source.refuse(
                call, f"a script deploys at most {MAX_DEPLOYMENTS} tracepoints, each name once; {name!r} came"
            )
        processes = target(self._source, self._names, found["target"])
        template = Template(
            name=slug(name),
            description=probe.description,
            labels=(),
            parameters=(),
            target=processes,
            probe=ProbeSpec(
                function=probe.function,
                at=probe.at,
                line=None,
                where=None,
                captures=tuple(Capture(column, expression) for column, expression, _ in probe.captures),
            ),
            table=self._names.text(found["table_name"], "a table"),
            masking=(),
            limits=replace(LimitSpec(), ttl=self._ttl(found["ttl"])),
        )
        rules.checked(template, lambda path: self._locate(path, found, probe))
        self._names.writes(template.table, tuple(capture.column for capture in template.probe.captures))
        self.deployments.append(Deployment(name, template.table, template, processes, template.limits.ttl))

    def _probe(self, node: ast.expr) -> ProbeFunction:
        if isinstance(node, ast.Constant | ast.JoinedStr | ast.List):
            self._source.refuse(node, f"a bpftrace program came: {NOT_RUN['pxtrace.TraceProgram']}")
        if isinstance(node, ast.Call):
            self._source.function(node)  # TraceProgram: refused with its reason
        if isinstance(node, ast.Name):
            value = self._names.get(node)
            if isinstance(value, str):
                self._source.refuse(node, f"a bpftrace program came: {NOT_RUN['pxtrace.TraceProgram']}")
            if isinstance(value, ProbeFunction):
                return value
        return self._source.refuse(node, "probe_fn is a function decorated with @pxtrace.probe")

    def _tracepoint(self, node: ast.expr) -> str:
        name = self._names.text(node, "a tracepoint's name")
        if not _TRACEPOINT.fullmatch(name) or not slug(name):
            self._source.refuse(node, f"a tracepoint's name is 1 to 63 letters, digits, _, . and -, {name[:80]!r} came")
        return name

    def _ttl(self, node: ast.expr) -> timedelta:
        text = self._names.text(node, "a ttl")
        try:
            return durations.parse(text)
        except TemplateError as error:
            self._source.refuse(node, f"ttl: {error.problem}")

    def _locate(self, path: rules.Path, found: dict[str, ast.expr], probe: ProbeFunction) -> Position:
        match path:
            case ("probe", "capture", column, *_):
                places = [place for name, _, place in probe.captures if name == column]
                return places[-1] if places else probe.position
            case ("probe", *_):
                return probe.position
            case ("table",):
                return self._source.place(found["table_name"])
            case ("limits", *_):
                return self._source.place(found["ttl"])
            case ("target", *_):
                return self._source.place(found["target"])
            case _:
                return self._source.place(found["name"])
