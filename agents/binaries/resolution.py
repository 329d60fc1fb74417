"""From a name to a described function: which symbol, which debug entry, which language reads it.

In comes an open binary and a name, out comes a ProbedFunction with its language, and then what that language's reader
says of it. Every way to fail has its own reason and says what to do. `service` mints the ResolvedProbe.
"""

from __future__ import annotations

from agents.absence import Absent
from agents.binaries import dwarf_constants as dw
from agents.binaries import go_functions, native_functions
from agents.binaries.dwarf_entries import Entry, Unit
from agents.binaries.dwarf_expressions import PieceList
from agents.binaries.function_entries import entry_named, function_at, inlined_copies, unit_of_address
from agents.binaries.function_names import NamedFunction, find, nearest
from agents.binaries.go_interfaces import GoInterfaces
from agents.binaries.go_types import GoTypes
from agents.binaries.line_sites import line_site, visible_variables
from agents.binaries.model import Language, Location, ReturnMethod, Unresolved, UnresolvedReason
from agents.binaries.native_names import Definition, all_names, find_native
from agents.binaries.native_types import NativeTypes
from agents.binaries.open_binary import OpenBinary
from agents.binaries.probed_function import Described, ProbedFunction, located
from agents.binaries.type_closure import close
from language.model import At


def open_function(binary: OpenBinary, asked: str) -> tuple[ProbedFunction, Language]:
    """The function that `asked` means, with its debug entry. Raises Unresolved."""
    symbol = _symbol(binary, asked)
    if isinstance(symbol, Definition):
        return _opened(binary, symbol.unit, symbol.entry, symbol.name)
    if not binary.has_debug_information:
        raise _stripped(binary, symbol.name)
    unit = unit_of_address(binary.debug, symbol.address)
    entry = None if unit is None else function_at(binary.debug, unit, symbol.address)
    if unit is None or entry is None:
        raise Unresolved(
            UnresolvedReason.NO_DEBUG_INFO,
            f"{symbol.name} is in {binary.image.path}, but the debug information does not describe it: it is written in"
            " assembly or was built without -g; rebuild that part with debug information",
        )
    return _opened(binary, unit, entry, symbol.name)


def describe(function: ProbedFunction, language: Language, at: At, line: tuple[str, int] | None) -> Described:
    if at is At.LINE:
        if line is None:
            raise Unresolved(UnresolvedReason.NO_LINE, "at: line needs a file and a line, like `line:money.go:42`")
        return _described_line(function, language, line)
    returns = at in {At.RETURN, At.ENTRY_AND_RETURN}
    if language is Language.GO:
        return go_functions.describe(function, returns=returns)
    return native_functions.describe(function, language)


def _opened(binary: OpenBinary, unit: Unit, entry: Entry, name: str) -> tuple[ProbedFunction, Language]:
    language = binary.language_of(unit)
    if language is None:
        raise Unresolved(
            UnresolvedReason.UNSUPPORTED_LANGUAGE,
            f"{name} is neither Go, C, C++ nor Rust (DW_AT_language {binary.debug.top(unit).number(dw.AT_LANGUAGE)})",
        )
    return ProbedFunction(binary.image, binary.debug, unit, entry, name, binary.names_by_address), language


def _described_line(function: ProbedFunction, language: Language, line: tuple[str, int]) -> Described:
    site, notes = line_site(function, line)
    if language is not Language.GO:
        native = NativeTypes(function.debug, rust=language is Language.RUST)
        seen = visible_variables(function, site.address, lambda pieces, type_id: located(pieces, native.size(type_id)))
        table = close([v.type for v in seen], native.read)
        return Described(seen, (), site, (), ReturnMethod.URETPROBE, table, notes)
    interfaces = GoInterfaces(function.image, function.debug, go_functions.package_of(function.name))
    types = GoTypes(function.debug, interfaces.implementations)

    def locate(pieces: PieceList | None, type_id: int) -> Location | Absent:
        shape = types.shape(type_id)
        return (go_functions.matched_with_leaves(pieces, shape) if pieces else None) or located(pieces, shape.size)

    variables = visible_variables(function, site.address, locate)
    table = close([v.type for v in variables], types.read)
    go = go_functions.runtime(function, interfaces)
    return Described(variables, (), site, (), ReturnMethod.RET_SITES, table, notes, go)


def _symbol(binary: OpenBinary, asked: str) -> NamedFunction | Definition:
    path = binary.image.path
    try:
        return find(binary.symbols, asked, path)
    except Unresolved as refusal:
        if refusal.reason is not UnresolvedReason.NO_FUNCTION:
            raise
        if binary.is_go and (inlined := _without_symbol(binary, asked, path)) is not None:
            raise inlined from refusal
        definition = find_native(binary.debug, asked, path)
        if definition is None:
            known = tuple(NamedFunction(name, 0, 0) for name in all_names(binary.debug)) if not binary.is_go else ()
            if known:
                text = f"{path} has no function {asked!r}{nearest(known, asked)}"
                raise Unresolved(UnresolvedReason.NO_FUNCTION, text) from refusal
            raise
        if definition.address is None:
            raise _inlined_away(binary, definition.name, definition.entry, "mark it noinline and rebuild") from refusal
        return definition


def _without_symbol(binary: OpenBinary, asked: str, path: str) -> Unresolved | None:
    """Go's own table also names functions that were inlined everywhere, and survives `strip`."""
    names = tuple(NamedFunction(name, index, 0) for index, name in enumerate(binary.pclntab_names))
    try:
        name = find(names, asked, path).name
    except Unresolved as refusal:
        return refusal if not binary.symbols else None
    if not binary.image.has_symtab:
        return _stripped(binary, name)
    abstract = entry_named(binary.debug, name, dw.TAG_SUBPROGRAM)
    return _inlined_away(binary, name, abstract, "add //go:noinline above it and rebuild")


def _inlined_away(binary: OpenBinary, name: str, abstract: Entry | None, advice: str) -> Unresolved:
    copies = len(inlined_copies(binary.debug, abstract)) if abstract is not None else 0
    where = f"at {copies} place{'s' * (copies != 1)}" if copies else "everywhere"
    return Unresolved(
        UnresolvedReason.INLINED_AWAY,
        f"{name} has no code of its own: the compiler inlined it {where}; probe a calling function, or {advice}",
    )


def _stripped(binary: OpenBinary, name: str) -> Unresolved:
    how = (
        "rebuild without -ldflags=-s -w and do not run `strip` on it"
        if binary.is_go
        else "rebuild with -g, without `strip`"
    )
    return Unresolved(
        UnresolvedReason.NO_DEBUG_INFO,
        f"{binary.image.path} has {name}, but no debug information (it is stripped), so its arguments cannot be read: {how}",
    )
