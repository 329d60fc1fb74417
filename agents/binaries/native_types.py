"""C, C++ and Rust types from DWARF into the type table.

In come entries of .debug_info, out come model types (`type_closure` closes the table over them). Qualifiers are dropped,
typedefs keep their name, base classes and anonymous members become embedded ones, and what Rust writes as a struct of two
words becomes the string or slice that it is. A class whose definition is in another unit stays incomplete.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agents.binaries import dwarf_constants as dw
from agents.binaries.dwarf_entries import DebugInformation, Entry
from agents.binaries.dwarf_forms import BadDwarf
from agents.binaries.library_types import library_type
from agents.binaries.model import (
    Array,
    Boolean,
    Enumeration,
    Float,
    Integer,
    Member,
    Opaque,
    Pointer,
    Slice,
    String,
    Struct,
    TypeId,
    Variant,
    VariantPart,
)
from agents.binaries.type_closure import ReadType

MAX_NAMES: Final = 32  # typedefs and qualifiers on one type
MAX_ENUMERATORS: Final = 4096
MAX_DIMENSIONS: Final = 8  # of one array
POINTER: Final = 8
BOX: Final = "alloc::boxed::Box<"  # of a str or a slice: a pointer and a length, like &str

_QUALIFIERS: Final = frozenset({dw.TAG_CONST_TYPE, dw.TAG_VOLATILE_TYPE, dw.TAG_RESTRICT_TYPE, dw.TAG_ATOMIC_TYPE})
POINTERS: Final = frozenset({dw.TAG_POINTER_TYPE, dw.TAG_REFERENCE_TYPE, dw.TAG_RVALUE_REFERENCE_TYPE})
STRUCTS: Final = frozenset({dw.TAG_STRUCTURE_TYPE, dw.TAG_CLASS_TYPE, dw.TAG_UNION_TYPE})


class NativeTypes:
    """Reads the types of one binary that is not Go."""

    def __init__(self, debug: DebugInformation, *, rust: bool) -> None:
        self.debug = debug
        self._rust = rust
        self._synthetic: dict[TypeId, ReadType] = {}

    def read(self, type_id: TypeId, level: int) -> ReadType:
        """One type for `type_closure.close`."""
        del level
        if type_id in self._synthetic:
            return self._synthetic[type_id]
        entry, name = self.named(type_id)
        size = entry.number(dw.AT_BYTE_SIZE) or 0
        if entry.tag in POINTERS:
            return self._pointer(entry, name)
        if entry.tag in STRUCTS:
            return self._struct(entry, name, size)
        if entry.tag == dw.TAG_ENUMERATION_TYPE:
            return ReadType(self._enumeration(entry, name, size))
        if entry.tag == dw.TAG_ARRAY_TYPE:
            return self._array(entry, name)
        if entry.tag == dw.TAG_BASE_TYPE:
            return ReadType(_base(name, size, entry.number(dw.AT_ENCODING)))
        if entry.tag == dw.TAG_SUBROUTINE_TYPE:
            return ReadType(Opaque(name or "function", 0, "a function"))
        why = (
            "a pointer to a member"
            if entry.tag == dw.TAG_PTR_TO_MEMBER_TYPE
            else "a type that debug information does not describe"
        )
        return ReadType(Opaque(name or "unspecified", size, why))

    def named(self, offset: int) -> tuple[Entry, str]:
        """The entry behind typedefs and qualifiers, and the first name on the way."""
        entry, name = self.debug.entry_at(offset), ""
        for _ in range(MAX_NAMES):
            elsewhere = entry.number(dw.AT_SIGNATURE)  # a declaration of what a type unit defines
            entry = entry if elsewhere is None else self.debug.entry_at(elsewhere)
            name = name or entry.name
            if entry.tag != dw.TAG_TYPEDEF and entry.tag not in _QUALIFIERS:
                return entry, name
            target = entry.number(dw.AT_TYPE)
            if target is None:
                return entry, name or "void"
            entry = self.debug.entry_at(target)
        raise BadDwarf(f"the type at {offset:#x} names itself")

    def size(self, offset: int) -> int:
        """Bytes; 0 when the debug information does not say."""
        entry, _ = self.named(offset)
        if entry.tag in POINTERS:
            return POINTER
        if entry.tag == dw.TAG_ARRAY_TYPE and entry.number(dw.AT_BYTE_SIZE) is None:
            element = entry.number(dw.AT_TYPE)
            count = 1
            for dimension in self.dimensions(entry):
                count *= dimension
            return 0 if element is None else count * self.size(element)
        return entry.number(dw.AT_BYTE_SIZE) or 0

    def members(self, entry: Entry) -> Iterator[Member]:
        """Data members and base classes; static members and virtual bases have no fixed place and are left out."""
        for child in self.debug.children(entry):
            target = child.number(dw.AT_TYPE)
            offset = child.attributes.get(dw.AT_DATA_MEMBER_LOCATION, 0)
            if (
                child.tag not in {dw.TAG_MEMBER, dw.TAG_INHERITANCE}
                or target is None
                or isinstance(offset, bytes | str)
            ):
                continue
            if child.flag(dw.AT_EXTERNAL) or child.flag(dw.AT_DECLARATION):
                continue
            bits, bit_offset = child.number(dw.AT_BIT_SIZE), child.number(dw.AT_DATA_BIT_OFFSET)
            if bits is not None and bit_offset is None:
                continue  # DWARF 3's big-endian bit offsets: no compiler of this decade writes them
            embedded = child.tag == dw.TAG_INHERITANCE or not child.name
            name = child.name or (self.named(target)[1] if child.tag == dw.TAG_INHERITANCE else "")
            place = int(offset) if bits is None else (bit_offset or 0) // 8
            yield Member(name, place, TypeId(target), embedded, bit_offset if bits is not None else None, bits)

    def dimensions(self, entry: Entry) -> tuple[int, ...]:
        """Counts, outermost first; 0 for a flexible or variable one."""
        found: list[int] = []
        for child in self.debug.children(entry):
            if child.tag == dw.TAG_SUBRANGE_TYPE and len(found) < MAX_DIMENSIONS:
                count, upper = child.number(dw.AT_COUNT), child.number(dw.AT_UPPER_BOUND)
                found.append(count if count is not None else 0 if upper is None else max(upper + 1, 0) & 0xFFFFFFFF)
        return tuple(found)

    def _pointer(self, entry: Entry, name: str) -> ReadType:
        target = entry.number(dw.AT_TYPE)
        if target is None:
            return ReadType(Pointer(name or "void *", None))
        inner, inner_name = self.named(target)
        if inner.tag == dw.TAG_SUBROUTINE_TYPE:
            return ReadType(Opaque(name or "function pointer", POINTER, "a function pointer"))
        mark = {dw.TAG_REFERENCE_TYPE: "&", dw.TAG_RVALUE_REFERENCE_TYPE: "&&"}.get(entry.tag, "*")
        shown = name or f"{inner_name or 'unnamed'} {mark}"
        return ReadType(Pointer(shown, TypeId(target), reference=mark != "*"), behind=(TypeId(target),))

    def _struct(self, entry: Entry, name: str, size: int) -> ReadType:
        special = self._rust_special(entry, name, size) if self._rust else None
        special = special or library_type(self, entry, name, size, rust=self._rust)
        if special is not None:
            return special
        members = tuple(self.members(entry))
        union = entry.tag == dw.TAG_UNION_TYPE
        incomplete = entry.flag(dw.AT_DECLARATION)
        return ReadType(Struct(name, size, members, union, incomplete), inside=tuple(m.type for m in members))

    def _rust_special(self, entry: Entry, name: str, size: int) -> ReadType | None:
        """&str and &[T] are structs of data_ptr and length; an enum with data holds a variant part."""
        children = list(self.debug.children(entry))
        fields = [child.name for child in children if child.tag == dw.TAG_MEMBER]
        if fields == ["data_ptr", "length"] and size == 2 * POINTER and name.startswith(("&", "*", BOX)):
            if name.removeprefix("&").removeprefix("mut ") == "str" or name.startswith(f"{BOX}str,"):
                return ReadType(String(name))
            pointer = self.debug.entry_at(children[0].number(dw.AT_TYPE) or 0)
            element = pointer.number(dw.AT_TYPE)
            if element is not None:
                return ReadType(Slice(name, TypeId(element), size), behind=(TypeId(element),))
        part = next((child for child in children if child.tag == dw.TAG_VARIANT_PART), None)
        return None if part is None else self._variant_part(part, name, size)

    def _variant_part(self, part: Entry, name: str, size: int) -> ReadType:
        discriminant = part.number(dw.AT_DISCR)
        variants: list[Variant] = []
        tag = self.debug.entry_at(discriminant) if discriminant is not None else None
        tag_type = tag.number(dw.AT_TYPE) if tag is not None else None
        tag_size = self.size(tag_type) if tag_type is not None else 0
        encoding = self.named(tag_type)[0].number(dw.AT_ENCODING) if tag_type is not None else None
        signed = encoding in {dw.ATE_SIGNED, dw.ATE_SIGNED_CHAR}
        for child in self.debug.children(part):
            if child.tag != dw.TAG_VARIANT or len(variants) >= MAX_ENUMERATORS:
                continue
            member = next((m for m in self.debug.children(child) if m.tag == dw.TAG_MEMBER), None)
            if member is None or member.number(dw.AT_TYPE) is None or member.number(dw.AT_DATA_MEMBER_LOCATION):
                return ReadType(Opaque(name, size, "an enum laid out in a way that is not known"))
            value = child.number(dw.AT_DISCR_VALUE)
            if value is None and dw.AT_DISCR_LIST in child.attributes:
                return ReadType(Opaque(name, size, "an enum whose variants share a list of tags"))
            tags = () if value is None else ((_sized(value, tag_size, signed),) * 2,)
            variants.append(Variant(member.name, tags, TypeId(member.number(dw.AT_TYPE) or 0)))
        inside = tuple(variant.type for variant in variants)
        if tag is None or not tag_size:
            if len(variants) == 1:  # one variant: nothing to tell apart
                members = (Member(variants[0].name, 0, variants[0].type, embedded=True),)
                return ReadType(Struct(name, size, members), inside=inside)
            return ReadType(Opaque(name, size, "an enum without a tag"))
        offset = tag.number(dw.AT_DATA_MEMBER_LOCATION) or 0
        return ReadType(VariantPart(name, size, offset, tag_size, signed, tuple(variants)), inside=inside)

    def _enumeration(self, entry: Entry, name: str, size: int) -> Enumeration:
        members: list[tuple[str, int]] = []
        for child in self.debug.children(entry):
            value = child.number(dw.AT_CONST_VALUE)
            if child.tag == dw.TAG_ENUMERATOR and value is not None and len(members) < MAX_ENUMERATORS:
                members.append((child.name, value))
        underlying = entry.number(dw.AT_TYPE)
        encoding = entry.number(dw.AT_ENCODING)
        if encoding is None and underlying is not None:
            encoding = self.named(underlying)[0].number(dw.AT_ENCODING)
        signed = encoding in {dw.ATE_SIGNED, dw.ATE_SIGNED_CHAR} or any(value < 0 for _, value in members)
        width = size or (self.size(underlying) if underlying is not None else 4)
        return Enumeration(
            name, width, signed, tuple((label, _sized(value, width, signed)) for label, value in members)
        )

    def _array(self, entry: Entry, name: str) -> ReadType:
        """An array of several dimensions is an array of arrays; the inner ones have no entry of their own."""
        element = TypeId(entry.number(dw.AT_TYPE) or 0)
        counts = self.dimensions(entry) or (0,)
        size, text = self.size(element), self.named(element)[1]
        for index in range(len(counts) - 1, 0, -1):
            size *= counts[index]
            text = f"{text}[{counts[index]}]"
            inner = TypeId(-(entry.offset * MAX_DIMENSIONS + index) - 2)
            self._synthetic[inner] = ReadType(Array(text, size, element, counts[index]), inside=(element,))
            element = inner
        shown = name or f"{text}[{counts[0]}]"
        return ReadType(Array(shown, size * counts[0], element, counts[0]), inside=(element,))


def _base(name: str, size: int, encoding: int | None) -> Integer | Boolean | Float | Opaque:
    if encoding == dw.ATE_BOOLEAN:
        return Boolean(name, size)
    if encoding == dw.ATE_FLOAT:
        return Float(name, size) if size in {4, 8} else Opaque(name, size, "an extended floating-point number")
    if encoding == dw.ATE_UTF:
        return Integer(name, size, signed=False, character=True)
    if encoding in {dw.ATE_SIGNED_CHAR, dw.ATE_UNSIGNED_CHAR}:
        return Integer(name, size, signed=encoding == dw.ATE_SIGNED_CHAR, character=name == "char")
    if encoding in {dw.ATE_SIGNED, dw.ATE_UNSIGNED}:
        return Integer(name, size, signed=encoding == dw.ATE_SIGNED)
    return Opaque(name, size, "a complex number" if encoding == dw.ATE_COMPLEX_FLOAT else "a type of unknown encoding")


def _sized(value: int, size: int, signed: bool) -> int:
    """DWARF writes -1 of a byte as 255 in some forms: bring it into the range of its type."""
    bits = 8 * (size or 8)
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value
