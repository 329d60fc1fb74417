"""Which concrete types a Go interface value may hold, by the address of their type descriptors.

In come the binary's own tables (runtime.moduledata, the itabs that the linker laid out) and DWARF's DW_AT_go_runtime_type,
out come Implementations for `go_types`. A value may also hold a type that was only ever converted at run time: then its
word is in no list, and the reader says so instead of guessing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from agents.binaries import dwarf_constants as dw
from agents.binaries.dwarf_entries import DebugInformation, Entry, Unit
from agents.binaries.elf_image import ElfImage
from agents.binaries.function_entries import entry_named
from agents.binaries.model import Implementation, TypeId

MAX_ITABS: Final = 200_000  # of one binary; Kubernetes' kubelet has some 20,000
MAX_METHODS: Final = 10_000  # of one interface
MAX_TYPED: Final = 48  # implementations whose type comes along: the program compares the words one after the other
MAX_NAMED: Final = 512  # implementations in all
TYPED_LEVELS: Final = 2  # pointers from an argument within which an interface's types come along

# internal/abi: Type has 48 bytes, InterfaceType{Type; PkgPath; Methods []Imethod}, ITab{Inter, Type, Hash, Fun [1]uintptr}
METHODS_LENGTH: Final = 64
ITAB_SIZE: Final = 32
ITAB_FUN: Final = 24

_TYPE_TAGS: Final = frozenset(
    {
        dw.TAG_BASE_TYPE,
        dw.TAG_STRUCTURE_TYPE,
        dw.TAG_POINTER_TYPE,
        dw.TAG_ARRAY_TYPE,
        dw.TAG_TYPEDEF,
        dw.TAG_SUBROUTINE_TYPE,
    }
)
_PREDECLARED: Final = frozenset(
    {"string", "int", "int64", "int32", "uint", "uint64", "uint32", "uint8", "bool", "float64", "float32", "error", "[]uint8",
     "[]string", "*errors.errorString", "*fmt.wrapError", "time.Time", "time.Duration"}
)  # fmt: skip


@dataclass(frozen=True)
class RuntimeType:
    """A type descriptor in the binary and the DWARF entry that describes it."""

    word: int
    name: str
    entry: TypeId


class GoInterfaces:
    def __init__(self, image: ElfImage, debug: DebugInformation, package: str) -> None:
        self._image = image
        self._debug = debug
        self._package = package  # of the probed function: its types come first

    def implementations(self, interface: Entry, empty: bool, level: int) -> tuple[Implementation, ...]:
        if empty:
            words = [each.word for each in self._ranked]
        else:
            word = self._word(interface)
            words = self._itabs.get(word, []) if word is not None else []
        types = self.by_word
        known = [types[word] for word in words if word in types][:MAX_NAMED]
        typed = MAX_TYPED if level <= TYPED_LEVELS else 0
        return tuple(
            Implementation(each.word, each.name, each.entry if index < typed else None)
            for index, each in enumerate(known)
        )

    @cached_property
    def by_word(self) -> dict[int, RuntimeType]:
        """Every type with a descriptor. Go keeps all types in one unit, found by a name that is always there."""
        base = self._member_word("types")
        if base is None:
            return {}
        found: dict[int, RuntimeType] = {}
        for unit in self._type_units():
            for offset, tag, depth in self._debug.walk(unit, _TYPE_TAGS):
                if depth != 1:
                    continue
                entry = self._debug.entry(unit, offset)
                runtime = entry.number(dw.AT_GO_RUNTIME_TYPE)
                if runtime and (tag != dw.TAG_TYPEDEF or entry.number(dw.AT_GO_KIND)):
                    found.setdefault(base + runtime, RuntimeType(base + runtime, entry.name, TypeId(offset)))
        return found

    def member_offset(self, struct: str, *path: str) -> int | None:
        """The offset of a field, through nested structs: ("runtime.g", "stack", "hi")."""
        entry, offset = entry_named(self._debug, struct, dw.TAG_STRUCTURE_TYPE), 0
        for name in path:
            if entry is None:
                return None
            member = next((child for child in self._debug.children(entry) if child.name == name), None)
            if member is None:
                return None
            offset += member.number(dw.AT_DATA_MEMBER_LOCATION) or 0
            entry = self._debug.entry_at(member.number(dw.AT_TYPE) or 0)
            while entry.tag == dw.TAG_TYPEDEF:
                entry = self._debug.entry_at(entry.number(dw.AT_TYPE) or 0)
        return offset

    @cached_property
    def _ranked(self) -> list[RuntimeType]:
        """Types for an empty interface: those that programs put there, then the function's package, then the rest."""
        types = self.by_word
        in_itabs = {word for words in self._itabs.values() for word in words}

        def rank(each: RuntimeType) -> tuple[int, str]:
            name = each.name.lstrip("*[]")
            if each.name.startswith("**"):
                return 5, each.name  # nobody passes these about; only the first MAX_TYPED get their values read
            if each.name in _PREDECLARED:
                return 0, each.name
            if name.startswith(self._package + "."):
                return 1, each.name
            if name.startswith("main."):
                return 2, each.name
            return (3 if each.word in in_itabs else 4), each.name

        return sorted(types.values(), key=rank)

    @cached_property
    def _itabs(self) -> dict[int, list[int]]:
        """Interface type's address -> concrete types' addresses."""
        found: dict[int, dict[int, None]] = defaultdict(dict)
        for itab in self._itab_addresses():
            interface, concrete = self._image.word(itab), self._image.word(itab + 8)
            if interface and concrete:
                found[interface][concrete] = None
        return {interface: list(concrete) for interface, concrete in found.items()}

    def _itab_addresses(self) -> Iterator[int]:
        types, offset, size = self._member_word("types"), self._member_word("itaboffset"), self._member_word("itabsize")
        if types is not None and offset is not None and size is not None:  # Go >= 1.27: one after the other
            at, end = types + offset, types + offset + size
            for _ in range(MAX_ITABS):
                if at + ITAB_SIZE > end:
                    return
                yield at
                methods = self._image.word((self._image.word(at) or 0) + METHODS_LENGTH) or 0
                has_methods = self._image.word(at + ITAB_FUN)
                at += ITAB_SIZE + (8 * (min(methods, MAX_METHODS) - 1) if has_methods and methods else 0)
            return
        start, count = self._member_word("itablinks"), self._member_word("itablinks", 8)  # a slice of pointers
        for index in range(min(count or 0, MAX_ITABS)):
            itab = self._image.word((start or 0) + 8 * index)
            if itab:
                yield itab

    def _member_word(self, name: str, extra: int = 0) -> int | None:
        """A word of runtime.firstmoduledata, laid out as this binary's own DWARF says."""
        offset = self.member_offset("runtime.moduledata", name)
        return (
            None
            if offset is None or self._module_data is None
            else self._image.word(self._module_data + offset + extra)
        )

    @cached_property
    def _module_data(self) -> int | None:
        section = self._image.section_address(".go.module")  # Go >= 1.26
        if section is not None:
            return section
        symbols = self._image.symbols
        start = symbols.strings.find(b"\0runtime.firstmoduledata\0") + 1
        index = [] if start == 0 else (symbols.names == start).nonzero()[0].tolist()
        return int(symbols.values[index[0]]) if index else None

    def _word(self, interface: Entry) -> int | None:
        runtime, base = interface.number(dw.AT_GO_RUNTIME_TYPE), self._member_word("types")
        return base + runtime if runtime and base is not None else None

    def _type_units(self) -> list[Unit]:
        entry = entry_named(self._debug, "runtime.g", dw.TAG_STRUCTURE_TYPE)
        return [entry.unit] if entry is not None else []
