"""Standard library classes that are a text, a list or a pointer to whoever uses them: std::string, std::vector, String, Vec.

In comes a struct's entry, out comes the model type that says what it is, or None: then it is shown as the struct it is.
Known by the names of the fields that only the library may use (libstdc++ and libc++ reserve `_M_` and `__` names), and
never by a layout that is assumed: offsets are those of this binary's debug information.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agents.binaries import dwarf_constants as dw
from agents.binaries.model import Header, Optional, Pointer, Slice, String, TypeId
from agents.binaries.type_closure import ReadType

if TYPE_CHECKING:
    from agents.binaries.dwarf_entries import Entry
    from agents.binaries.native_types import NativeTypes

MAX_PARTS: Final = 64  # fields looked at in one class, those of its bases and members included
MAX_LEVELS: Final = 8  # of bases and members in each other: std::vector needs four
POINTER: Final = 8
_TEXT_CHARACTERS: Final = frozenset({"char", "char8_t"})


@dataclass(frozen=True)
class Part:
    name: str
    offset: int
    type: TypeId


def library_type(types: NativeTypes, entry: Entry, name: str, size: int, *, rust: bool) -> ReadType | None:
    kind = entry.name.split("<")[0]
    reader = (_RUST if rust else _CPP).get(kind)
    if reader is None or not size or entry.flag(dw.AT_DECLARATION):
        return None
    parts = list(_parts(types, entry, 0, 0, [MAX_PARTS]))
    return reader(types, entry, name, size, parts)


def _parts(types: NativeTypes, entry: Entry, at: int, level: int, left: list[int]) -> Iterator[Part]:
    """Every field that is no class itself, and the classes too, with offsets from the outermost one."""
    for member in types.members(entry):
        left[0] -= 1
        if left[0] < 0 or member.bit_size is not None:
            return
        yield Part(member.name, at + member.offset, member.type)
        inner, _ = types.named(member.type)
        if level < MAX_LEVELS and inner.tag in {dw.TAG_STRUCTURE_TYPE, dw.TAG_CLASS_TYPE, dw.TAG_UNION_TYPE}:
            yield from _parts(types, inner, at + member.offset, level + 1, left)


def _named(parts: list[Part], *names: str) -> Part | None:
    return next((part for part in parts if part.name in names), None)


def _target(types: NativeTypes, part: Part | None) -> TypeId | None:
    """What a field points at, when it is a plain pointer."""
    if part is None:
        return None
    entry, _ = types.named(part.type)
    target = entry.number(dw.AT_TYPE)
    return TypeId(target) if entry.tag == dw.TAG_POINTER_TYPE and target is not None else None


def _is_text(types: NativeTypes, target: TypeId | None) -> bool:
    return target is not None and types.named(target)[0].name in _TEXT_CHARACTERS


# --- C++ ---------------------------------------------------------------------------------------------------------


def _string(types: NativeTypes, entry: Entry, name: str, size: int, parts: list[Part]) -> ReadType | None:
    """libstdc++'s since GCC 5: the pointer is right for short texts too, which stand within the object.

    clang leaves the class around the pointer to the library's own debug information: its 8 bytes can hold nothing else.
    """
    pointer, length = _named(parts, "_M_p"), _named(parts, "_M_string_length")
    around = _named(parts, "_M_dataplus")
    if length is None or around is None:
        return None
    if pointer is not None and _is_text(types, _target(types, pointer)):
        return ReadType(String(name, size, Header(pointer.offset, length.offset)))
    alone = pointer is None and around.offset + POINTER == length.offset and entry.name.startswith("basic_string<char,")
    return ReadType(String(name, size, Header(around.offset, length.offset))) if alone else None


def _string_view(types: NativeTypes, entry: Entry, name: str, size: int, parts: list[Part]) -> ReadType | None:
    del entry
    pointer, length = _named(parts, "_M_str", "__data", "__data_"), _named(parts, "_M_len", "__size", "__size_")
    if pointer is None or length is None or not _is_text(types, _target(types, pointer)):
        return None
    return ReadType(String(name, size, Header(pointer.offset, length.offset)))


def _vector(types: NativeTypes, entry: Entry, name: str, size: int, parts: list[Part]) -> ReadType | None:
    """vector<bool> has iterators where others have pointers, and stays what it is."""
    del entry
    start, end = _named(parts, "_M_start", "__begin_"), _named(parts, "_M_finish", "__end_")
    element = _target(types, start)
    if start is None or end is None or element is None or _target(types, end) is None or not types.size(element):
        return None
    header = Header(start.offset, end.offset, unit=types.size(element))
    return ReadType(Slice(name, element, size, header), behind=(element,))


def _owner(types: NativeTypes, entry: Entry, name: str, size: int, parts: list[Part]) -> ReadType | None:
    """unique_ptr and shared_ptr are the pointer that they begin with; one to an array says nothing of its length."""
    argument = next((c for c in types.debug.children(entry) if c.tag == dw.TAG_TEMPLATE_TYPE_PARAMETER), None)
    held = argument.number(dw.AT_TYPE) if argument is not None else None
    pointer = next((part for part in parts if part.offset == 0 and _target(types, part) is not None), None)
    target = _target(types, pointer)
    if target is None or held is None or types.named(held)[0].offset != types.named(target)[0].offset:
        return None
    return ReadType(Pointer(name, target, size), behind=(target,))


def _optional(types: NativeTypes, entry: Entry, name: str, size: int, parts: list[Part]) -> ReadType | None:
    del entry
    flag, value = _named(parts, "_M_engaged", "__engaged_"), _named(parts, "_M_value", "__val_")
    if flag is None or value is None or types.size(flag.type) != 1:
        return None
    return ReadType(Optional(name, size, flag.offset, value.offset, value.type), inside=(value.type,))


def _array(types: NativeTypes, entry: Entry, name: str, size: int, parts: list[Part]) -> ReadType | None:
    del entry, name
    elements = _named(parts, "_M_elems", "__elems_")
    if elements is None or elements.offset or types.size(elements.type) != size:
        return None
    return types.read(elements.type, 0)


# --- Rust --------------------------------------------------------------------------------------------------------


def _rust_string(types: NativeTypes, entry: Entry, name: str, size: int, parts: list[Part]) -> ReadType | None:
    del entry
    header = _vec_header(types, parts)
    held = _named(parts, "vec")
    if header is None or held is None or not types.named(held.type)[0].name.startswith("Vec<u8"):
        return None
    return ReadType(String(name, size, header))


def _rust_vec(types: NativeTypes, entry: Entry, name: str, size: int, parts: list[Part]) -> ReadType | None:
    """The buffer's pointer is one to bytes: what it holds is the class's parameter."""
    header = _vec_header(types, parts)
    argument = next((c for c in types.debug.children(entry) if c.tag == dw.TAG_TEMPLATE_TYPE_PARAMETER), None)
    element = argument.number(dw.AT_TYPE) if argument is not None else None
    if header is None or element is None or not types.size(element):
        return None
    return ReadType(Slice(name, TypeId(element), size, header), behind=(TypeId(element),))


def _vec_header(types: NativeTypes, parts: list[Part]) -> Header | None:
    pointers = [part for part in parts if _target(types, part) is not None]
    length = _named(parts, "len")
    return Header(pointers[0].offset, length.offset) if len(pointers) == 1 and length is not None else None


_CPP: Final = {
    "basic_string": _string,
    "basic_string_view": _string_view,
    "vector": _vector,
    "unique_ptr": _owner,
    "shared_ptr": _owner,
    "optional": _optional,
    "array": _array,
}
_RUST: Final = {"String": _rust_string, "Vec": _rust_vec}
