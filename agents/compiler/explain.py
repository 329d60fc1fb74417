"""What each capture of a template will be on this binary, said before anything is armed: for reviewers and `explain`.

Enters: what `service.compile_probe` takes. Leaves: one Explanation a capture, and the plan as text after each pass.
Nothing here decides; it reads what the passes made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass

from agents.absence import Absent
from agents.binaries.model import ResolvedProbe
from agents.compiler import disasm, emit, layout
from agents.compiler.bind import bind, type_name
from agents.compiler.layout import Node
from agents.compiler.model import CannotCompile, CompileRequest
from agents.compiler.plan import Part, Plan
from agents.compiler.reads import Body, Guarded, Switch
from language import expressions


@dataclass(frozen=True)
class Explanation:
    """One capture. `absent`: the whole value will never be there; `parts`: what of it will not, by path.

    `refused`: it does not fit the function at all, and no program can be made while it is in the template.
    """

    column: str
    expression: str
    type_name: str
    absent: Absent | None = None
    parts: tuple[tuple[str, Absent], ...] = ()
    refused: CannotCompile | None = None

    @property
    def readable(self) -> bool:
        return self.absent is None and self.refused is None


def refusals(resolved: ResolvedProbe, request: CompileRequest) -> tuple[Explanation, ...]:
    """Every capture by itself, those that cannot be bound with the reason."""
    explained = []
    for capture in request.captures:
        text = expressions.render(capture.expression)
        try:
            value = bind(capture.expression, resolved, request.at)
        except CannotCompile as refused:
            refused.column = capture.column
            explained.append(Explanation(capture.column, text, "", refused=refused))
        else:
            explained.append(Explanation(capture.column, text, type_name(value)))
    return tuple(explained)


def explanations(plan: Plan) -> tuple[Explanation, ...]:
    """Every capture of a plan."""
    return tuple(
        Explanation(
            column.name,
            column.expression,
            column.type_name,
            Absent(column.node.reason, column.node.detail) if isinstance(column.node, layout.Missing) else None,
            () if isinstance(column.node, layout.Missing) else tuple(_missing(column.node, column.name)),
        )
        for column in plan.layout.columns
    )


def _missing(node: Node, path: str) -> Iterator[tuple[str, Absent]]:
    match node:
        case layout.Missing(reason, detail):
            yield path, Absent(reason, detail)
        case layout.Fields(fields=members):
            for name, each in members:
                yield from _missing(each, f"{path}.{name}")
        case layout.Pointee(target=target):
            yield from _missing(target, path)
        case layout.Pairs(entries=entries) if entries:
            yield from _missing(entries[0].key, f"{path}[]")
            yield from _missing(entries[0].value, f"{path}[]")
        case layout.Items(items=items) if items:
            yield from _missing(items[0], f"{path}[]")


# --- the passes as text ------------------------------------------------------------------------------------------


def dump(resolved: ResolvedProbe, request: CompileRequest, plan: Plan, *, sleepable: bool) -> Iterator[str]:
    """What each pass made, line by line: values, test, reads, layout, instructions."""
    yield "== bind"
    for capture in request.captures:
        yield f"{capture.column} = {bind(capture.expression, resolved, request.at)}"
    yield "== predicate"
    yield f"at entry: {plan.test.entry}"
    yield f"at return: {plan.test.returned}"
    yield f"kept for the return: {plan.test.kept}"
    yield "== sites"
    yield f"entry: {resolved.entry.address:#x} {resolved.entry.instruction} ({resolved.entry.trap_class})"
    yield from (f"return: {site.address:#x} {site.instruction} ({site.trap_class})" for site in resolved.returns)
    for name, parts in (("entry", plan.entry), ("return", plan.returned)):
        yield f"== reads at {name}"
        yield from _parts(parts)
    yield f"== layout ({plan.layout.record_size} bytes, {plan.layout.stash_size} of them stashed)"
    for column in plan.layout.columns:
        yield f"{column.name}: {column.type_name}"
        yield from _node(column.node, 1)
    for each in emit.emit(resolved, request, plan, sleepable=sleepable):
        yield f"== instructions of {each.role}, {len(each.text.instructions) // 8} slots"
        yield from disasm.lines(each.text)


def _parts(parts: Sequence[Part]) -> Iterator[str]:
    for part in parts:
        if part.body:
            yield f"{part.column or 'status bytes'}:"
            yield from _body(part.body, 1)


def _body(body: Body, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for read in body:
        match read:
            case Guarded(conditions, inner):
                yield f"{indent}when {', '.join(map(str, conditions))}:"
                yield from _body(inner, depth + 1)
            case Switch(offset, cases):
                yield f"{indent}switch on {offset}:"
                for word, inner in cases:
                    yield f"{indent}  0x{word:x}:"
                    yield from _body(inner, depth + 2)
            case _:
                yield f"{indent}{read}"


def _node(node: object, depth: int) -> Iterator[str]:
    """A node with its children indented below it."""
    if not is_dataclass(node) or isinstance(node, type):
        return
    plain = {f.name: getattr(node, f.name) for f in fields(node)}
    inner = {name: value for name, value in plain.items() if _has_nodes(value)}
    said = ", ".join(f"{name}={value!r}" for name, value in plain.items() if name not in inner)
    yield f"{'  ' * depth}{type(node).__name__}({said})"
    for name, value in inner.items():
        for label, each in _children(name, value):
            yield f"{'  ' * depth}  {label}:"
            yield from _node(each, depth + 2)


def _has_nodes(value: object) -> bool:
    if isinstance(value, tuple):
        return any(_has_nodes(each) for each in value)
    return is_dataclass(value)


def _children(name: str, value: object) -> Iterator[tuple[str, object]]:
    if not isinstance(value, tuple):
        yield name, value
        return
    for index, each in enumerate(value):
        if isinstance(each, tuple):
            yield str(each[0]), each[1]
        else:
            yield getattr(each, "name", str(index)), getattr(each, "node", each)
