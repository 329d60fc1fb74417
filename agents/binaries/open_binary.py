"""One open file with its symbols, its debug information and its language, each read when first asked for."""

from __future__ import annotations

from functools import cache, cached_property

from agents.binaries import dwarf_constants as dw
from agents.binaries.dwarf_entries import DebugInformation, Sections, Unit
from agents.binaries.elf_image import ElfImage
from agents.binaries.function_names import NamedFunction, symbol_functions
from agents.binaries.go_pclntab import function_names
from agents.binaries.model import Language


class OpenBinary:
    def __init__(self, image: ElfImage) -> None:
        self.image = image

    @cached_property
    def debug(self) -> DebugInformation:
        return DebugInformation(_kept(self.image))

    @cached_property
    def has_debug_information(self) -> bool:
        return self.image.has_section(".debug_info")

    @cached_property
    def is_go(self) -> bool:
        return any(self.image.has_section(name) for name in (".gopclntab", ".go.buildinfo", ".note.go.buildid"))

    @cached_property
    def symbols(self) -> tuple[NamedFunction, ...]:
        return symbol_functions(self.image)

    @cached_property
    def names_by_address(self) -> dict[int, str]:
        return {function.address: function.name for function in self.symbols}

    @cached_property
    def pclntab_names(self) -> tuple[str, ...]:
        section = self.image.section(".gopclntab") or self.image.section(".data.rel.ro.gopclntab")
        return function_names(section)

    def language_of(self, unit: Unit) -> Language | None:
        number = self.debug.top(unit).number(dw.AT_LANGUAGE)
        if number == dw.LANGUAGE_GO:
            return Language.GO
        if number == dw.LANGUAGE_RUST:
            return Language.RUST
        if number in dw.LANGUAGES_CPP:
            return Language.CPP
        return Language.C if number in dw.LANGUAGES_C else None


def _kept(image: ElfImage) -> Sections:
    """Sections are decompressed once for one opening of the file."""
    return cache(image.section)
