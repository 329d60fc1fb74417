"""A PxL text as Python's syntax tree, never executed, and what every part of the front end needs of it.

Places for errors, constants and names that stand for them, calls matched to parameter names, and the refusal of every
name outside the supported set, with the nearest one inside it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final, NoReturn

from language.errors import TemplateError, UnsupportedName
from language.model import Position

MAX_SOURCE: Final = 65_536  # characters
MAX_NODES: Final = 8_192  # of Python's syntax tree

# Every supported function with the names of its parameters, in order.
SIGNATURES: Final[Mapping[str, tuple[str, ...]]] = {
    "pxtrace.probe": ("fn_name",),
    "pxtrace.ArgExpr": ("expr",),
    "pxtrace.RetExpr": ("expr",),
    "pxtrace.FunctionLatency": (),
    "pxtrace.UpsertTracepoint": ("name", "table_name", "probe_fn", "target", "ttl"),
    "pxtrace.DeleteTracepoint": ("name",),
    "pxtrace.PodProcess": ("pod_name", "container_name", "process_name"),
    "pxtrace.LabelSelector": ("labels", "namespace", "container_name", "process_name"),
    "pxtrace.SharedObject": ("name", "upid"),
    "px.uint128": ("value",),
    "px.DataFrame": ("table", "select", "start_time"),
    "px.display": ("out", "name"),
}
MODULES: Final = ("px", "pxtrace")
NOT_RUN: Final[Mapping[str, str]] = {
    "pxtrace.kprobe": "probes on the kernel are not run: they see every process of the host, in every tenant",
    "pxtrace.TraceProgram": (
        "bpftrace programs are not run: what they read cannot be reviewed field by field, nor masked; "
        "write a function with @pxtrace.probe"
    ),
    "import pxconfig": "agents are configured on their hosts, not by scripts",
    "px.GetTracepointStatus": "the state of tracepoints is shown by `probegate tracepoint ls`",
}


class Source:
    """One script: its syntax tree and its lines."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_SOURCE:
            raise TemplateError(f"a script has at most {MAX_SOURCE} characters, {len(text)} came")
        try:
            self.tree = ast.parse(text)
        except SyntaxError as error:
            place = Position(error.lineno or 1, error.offset or 1)
            raise TemplateError(f"not a PxL script: {error.msg}", place) from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise TemplateError("not a PxL script: a NUL byte, or nested too deeply") from error
        if sum(1 for _ in ast.walk(self.tree)) > MAX_NODES:
            raise TemplateError(f"a script has at most {MAX_NODES} parts")
        self._lines = text.splitlines()

    def place(self, node: ast.AST) -> Position:
        line: int = getattr(node, "lineno", 1)
        offset: int = getattr(node, "col_offset", 0)  # in UTF-8 bytes
        text = self._lines[line - 1] if line <= len(self._lines) else ""
        return Position(line, len(text.encode()[:offset].decode(errors="ignore")) + 1)

    def refuse(self, node: ast.AST, problem: str) -> NoReturn:
        raise TemplateError(problem, self.place(node))

    def unknown(self, node: ast.AST, name: str, supported: Iterable[str]) -> NoReturn:
        """Refuse a name; the nearest supported one is always named."""
        reason = NOT_RUN.get(name)
        if reason is not None:
            raise UnsupportedName(f"{name} is not supported: {reason}", self.place(node))
        names = sorted(supported)
        near = get_close_matches(name, names, 1, cutoff=0.0)
        nearest = f"the nearest supported name is {near[0]}" if near else "nothing of this kind is supported here"
        raise UnsupportedName(f"{name[:80]} is not supported; {nearest}", self.place(node))

    def function(self, call: ast.Call) -> str:
        """The qualified name of the px or pxtrace function that is called. Raises UnsupportedName for any other."""
        match call.func:
            case ast.Attribute(value=ast.Name(id=module), attr=name):
                qualified = f"{module}.{name}"
            case ast.Name(id=qualified):
                pass
            case _:
                self.refuse(call, "only functions of px and pxtrace can be called")
        if qualified not in SIGNATURES:
            module = qualified.partition(".")[0]
            inside = [name for name in SIGNATURES if name.startswith(f"{module}.")]
            self.unknown(call.func, qualified, inside or SIGNATURES)
        return qualified

    def arguments(self, call: ast.Call, names: tuple[str, ...], optional: Iterable[str] = ()) -> dict[str, ast.expr]:
        """The arguments of a call by parameter name; every one that is not optional is there."""
        word = ast.unparse(call.func)
        if len(call.args) > len(names) or any(isinstance(argument, ast.Starred) for argument in call.args):
            self.refuse(call, f"{word} takes {', '.join(names) or 'no arguments'}; {len(call.args)} arguments came")
        found = dict(zip(names, call.args, strict=False))
        for keyword in call.keywords:
            if keyword.arg is None or keyword.arg not in names:
                self.unknown(keyword, f"{word}({keyword.arg or '**'}=)", [f"{word}({name}=)" for name in names])
            if keyword.arg in found:
                self.refuse(keyword, f"{word} got {keyword.arg} twice")
            found[keyword.arg] = keyword.value
        for name in names:
            if name not in found and name not in optional:
                self.refuse(call, f"{word} needs {name}: {word}({', '.join(names)})")
        return found
