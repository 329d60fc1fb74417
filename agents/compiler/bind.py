"""Expression + ResolvedProbe -> which value is meant, and its type; or CannotCompile with the nearest names.

Nothing is read here and no place is looked at: a value that binds may still be absent where the probe stands.
`plan` decides how to copy what is bound here, `predicate` uses it inside `where`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from agents.binaries import model as binary
from agents.binaries.model import Language, ResolvedProbe, TypeId, TypeTable
from agents.compiler.access import Access, Fixed, Follow, Known, LengthOf, Pick, Step, Value, Within
from agents.compiler.model import CannotCompile, Refusal
from language import syntax as ex
from language.model import At

SHOWN_NAMES: Final = 16  # as many names as a person still reads in an error
MAX_INDEX: Final = (1 << 31) - 1  # an immediate operand has 32 bits with a sign
UNSIGNED_BYTE: Final = binary.Integer("byte", 1, signed=False)
BYTE: Final = TypeId(-(1 << 62))  # what s[i] of a string is; no type table has this key


def bind(expression: ex.Expression, resolved: ResolvedProbe, at: At) -> Value:
    """The value that the expression means. Raises CannotCompile (column left empty)."""
    return _Binder(resolved, at).value(expression)


def through_pointers(access: Access, resolved: ResolvedProbe) -> Access:
    """What a pointer, or a pointer to one, leads to."""
    return _Binder(resolved, At.ENTRY)._through_pointers(access)  # noqa: SLF001 -- where it is captured changes nothing


def type_name(value: Value) -> str:
    """As DWARF spells it; for what no DWARF describes, the nearest word of the target's language."""
    if isinstance(value, Access):
        return value.type_names[-1]
    if isinstance(value, Fixed):
        return {bool: "bool", int: "int", str: "string"}.get(type(value.value), "nil")
    if isinstance(value, LengthOf):
        return "int"
    return {"stack": "[]uintptr", "comm": "string", "latency": "time.Duration"}.get(value.name, "int")


def size_of(types: TypeTable, type_id: TypeId) -> int:
    return type_of(types, type_id).size


def type_of(types: TypeTable, type_id: TypeId) -> binary.Type:
    return UNSIGNED_BYTE if type_id == BYTE else types[type_id]


@dataclass(frozen=True)
class _Binder:
    resolved: ResolvedProbe
    at: At

    @property
    def types(self) -> TypeTable:
        return self.resolved.types

    def value(self, expression: ex.Expression) -> Value:
        match expression:
            case ex.Name() | ex.Ret() | ex.Attribute() | ex.Index() | ex.Deref():
                return self.access(expression)
            case ex.Slice(value, count):
                return self._window(self.access(value), count)
            case ex.Len(value):
                return self._length(value)
            case ex.Builtin(name):
                return self._builtin(name)
            case ex.Constant(constant):
                return Fixed(constant)
            case ex.Param(name):
                raise CannotCompile(
                    Refusal.UNSUPPORTED, f"params.{name} has no value yet: parameters are bound before compiling"
                )
            case _:
                raise CannotCompile(
                    Refusal.UNSUPPORTED,
                    "a capture names one value (a field, an item, a length); comparisons and arithmetic belong in where",
                )

    def access(self, expression: ex.Expression) -> Access:
        match expression:
            case ex.Name(name):
                return self._named(name)
            case ex.Ret(index):
                return self._result(index)
            case ex.Attribute(value, field):
                return self._field(self.access(value), field)
            case ex.Index(value, index):
                return self._item(self.access(value), index)
            case ex.Deref(value):
                return self._deref(self.access(value))
            case ex.Slice():
                raise _wrong("a slice x[:n] is shown as it is: take the field or item of x itself")
            case _:
                raise _wrong("only an argument, a result, or a part of one can be looked into")

    # --- roots --------------------------------------------------------------------------------------------------

    def _named(self, name: str) -> Access:
        for variable in self.resolved.arguments:
            if variable.name == name:
                return self._root(variable, is_result=False)
        for variable in self.resolved.results:
            if variable.name == name:
                self._need_return(f"{name} is a result of {self.resolved.function}")
                return self._root(variable, is_result=True)
        names = [v.name for v in (*self.resolved.arguments, *self.resolved.results) if v.name and v.name != "_"]
        has = f"it has {_listed(names)}" if names else "it has no named arguments"
        near = _nearest(name, names)
        raise CannotCompile(
            Refusal.UNKNOWN_NAME, f"no argument or result {name!r} in {self.resolved.function}; {has}{near}"
        )

    def _result(self, index: int) -> Access:
        self._need_return(f"ret({index}) is a result")
        results = self.resolved.results
        if index >= len(results):
            has = (
                f"it has {len(results)}: {', '.join(f'ret({i})' for i in range(len(results)))}"
                if results
                else "it has none"
            )
            raise CannotCompile(
                Refusal.UNKNOWN_NAME, f"no ret({index}): {self.resolved.function} has no such result; {has}"
            )
        return self._root(results[index], is_result=True)

    def _need_return(self, what: str) -> None:
        if self.at not in {At.RETURN, At.ENTRY_AND_RETURN}:
            raise CannotCompile(
                Refusal.NOT_HERE,
                f"{what} and is not known at {self.at.value}: use `at: return` or `at: entry+return`",
            )

    def _root(self, variable: binary.Variable, *, is_result: bool) -> Access:
        root = Access(variable, is_result, (), variable.type, (self._type(variable.type).name,))
        return self._through_reference(root)

    def _builtin(self, name: str) -> Known:
        match name:
            case "latency":
                self._need_return("latency() is the time from entry to return")
                return Known("latency")
            case "goid":
                if self.resolved.go is None:
                    raise CannotCompile(
                        Refusal.UNSUPPORTED, f"goid() needs a Go program; this one is {self.resolved.language.value}"
                    )
                return Known("goid")
            case "stack" | "pid" | "tid" | "comm":
                return Known(name)
            case _:
                raise CannotCompile(Refusal.UNKNOWN_NAME, f"no function {name}()")

    # --- steps --------------------------------------------------------------------------------------------------

    def _type(self, type_id: TypeId) -> binary.Type:
        return type_of(self.types, type_id)

    def _step(self, access: Access, step: Step, type_id: TypeId) -> Access:
        """One step further; steps that only add an offset are joined with the one before."""
        steps = access.steps
        last = steps[-1] if steps else None
        if isinstance(step, Within) and isinstance(last, Within | Follow):
            steps = (*steps[:-1], replace(last, offset=last.offset + step.offset))
        elif step != Within(0):
            steps = (*steps, step)
        return replace(access, steps=steps, type=type_id, type_names=(*access.type_names, self._type(type_id).name))

    def _deref(self, access: Access) -> Access:
        match self._type(access.type):
            case binary.Pointer(target=target) if target is not None:
                return self._step(access, Follow(), target)
            case other:
                raise _wrong(f"deref() wants a pointer to a known type, {other.name} is none")

    def _through_pointers(self, access: Access) -> Access:
        while isinstance(pointer := self._type(access.type), binary.Pointer) and pointer.target is not None:
            access = self._step(access, Follow(), pointer.target)
        return access

    def _looked_into(self, access: Access) -> Access:
        """Through the pointers that Go and Rust follow by themselves; in C a pointer has items of its own."""
        follows = self.resolved.language in {Language.GO, Language.RUST}
        return self._through_pointers(access) if follows else access

    def _through_reference(self, access: Access) -> Access:
        """A C++ reference is what it refers to."""
        held = self._type(access.type)
        if isinstance(held, binary.Pointer) and held.reference and held.target is not None:
            return self._step(access, Follow(), held.target)
        return access

    def _field(self, access: Access, field: str) -> Access:
        access = self._through_pointers(access)
        match self._type(access.type):
            case binary.Struct(incomplete=True) as struct:
                raise _wrong(
                    f"{struct.name} is only declared in this binary's debug information: its fields are not known"
                )
            case binary.Struct() as struct:
                return self._member(access, struct, field)
            case binary.Interface() as interface:
                raise _wrong(
                    f"{interface.name} is an interface: which fields it has depends on the value; capture it whole"
                )
            case binary.Optional() as optional:
                raise _wrong(f"{optional.name} may hold nothing: capture it whole")
            case binary.VariantPart() as variants:
                raise _wrong(
                    f"{variants.name} has variants: which fields it has depends on the value; capture it whole"
                )
            case other:
                raise CannotCompile(Refusal.UNKNOWN_FIELD, f"no field {field!r} in {other.name}: it is no struct")

    def _member(self, access: Access, struct: binary.Struct, field: str) -> Access:
        """Breadth first through embedded fields, as the Go specification's selectors (and C++ bases) find them."""
        level = [(access, struct)]
        seen = {struct.name}
        while level:
            found = [self._at_member(a, m) for a, s in level for m in s.members if m.name == field and m.name]
            if len(found) > 1:
                raise _wrong(
                    f"{field!r} is ambiguous in {struct.name}: several embedded types have it; name the embedded field"
                )
            if found:
                return found[0]
            level = [inner for a, s in level for inner in self._embedded(a, s, seen)]
        names = [member.name for member in struct.members if member.name and member.name != "_"]
        has = f"it has {_listed(names)}" if names else "it has no fields"
        raise CannotCompile(
            Refusal.UNKNOWN_FIELD, f"no field {field!r} in {struct.name}; {has}{_nearest(field, names)}"
        )

    def _embedded(
        self, access: Access, struct: binary.Struct, seen: set[str]
    ) -> Iterable[tuple[Access, binary.Struct]]:
        for member in struct.members:
            if not member.embedded:
                continue
            inner = self._through_pointers(self._at_member(access, member))
            held = self._type(inner.type)
            if isinstance(held, binary.Struct) and (not held.name or held.name not in seen):
                seen.add(held.name)
                yield inner, held

    def _at_member(self, access: Access, member: binary.Member) -> Access:
        if member.bit_size is not None and member.bit_offset is not None:
            return replace(self._step(access, Within(0), member.type), bits=(member.bit_offset, member.bit_size))
        return self._through_reference(self._step(access, Within(member.offset), member.type))

    def _item(self, access: Access, index: int) -> Access:
        if index > MAX_INDEX:
            raise _wrong(f"[{index}] is past the end of any list: at most {MAX_INDEX} can be asked for")
        access = self._looked_into(access)  # Go indexes through a pointer to an array
        match self._type(access.type):
            case binary.Array(element=element, count=count):
                if index >= count:
                    raise _wrong(f"[{index}] is past the end: {self._type(access.type).name} has {count} items")
                return self._step(access, Within(index * size_of(self.types, element)), element)
            case binary.Slice(element=element, header=header):
                return self._step(access, Pick(index, size_of(self.types, element), header), element)
            case binary.String(header=header):
                return self._step(access, Pick(index, 1, header), BYTE)
            case binary.Pointer(target=target) if target is not None:
                return self._step(access, Follow(index * size_of(self.types, target)), target)
            case other:
                raise _wrong(f"{other.name} has no items: only strings, slices, arrays and C pointers have")

    def _window(self, access: Access, count: int) -> Access:
        access = self._looked_into(access)
        match self._type(access.type):
            case binary.Array() | binary.Slice() | binary.String():
                return replace(access, window=count)
            case binary.Pointer(target=target) if target is not None:
                return replace(access, window=count)
            case other:
                raise _wrong(f"{other.name} cannot be sliced: only strings, slices, arrays and C pointers can")

    def _length(self, expression: ex.Expression) -> LengthOf | Fixed:
        if isinstance(expression, ex.Slice):
            raise _wrong("len(x[:n]) is at most n: ask for len(x)")
        access = self.access(expression)
        access = self._looked_into(access)
        match self._type(access.type):
            case binary.Array(count=count):
                return Fixed(count)
            case binary.String() | binary.Slice() | binary.Map():
                return LengthOf(access)
            case other:
                raise _wrong(f"{other.name} has no length: only strings, slices, arrays and maps have")


def _wrong(detail: str) -> CannotCompile:
    return CannotCompile(Refusal.WRONG_TYPE, detail)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN_NAMES]) + (
        f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    )


def _nearest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1) or [n for n in names if n.lower() == name.lower()]
    return f"; did you mean {close[0]!r}?" if close and len(names) > SHOWN_NAMES else ""
