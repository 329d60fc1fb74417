"""Open an ELF file: its sections, its segments, its symbol table, its identity. The adapter of pyelftools.

In comes a path, out come bytes and addresses; nothing is taken from the file without a bound. Reads go through
`pread`, not a mapping: a file that somebody truncates must not end the agent with SIGBUS. Symbols go on to
`function_names`, debug sections to `dwarf_entries`.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from elftools.common.exceptions import ELFError
from elftools.construct.lib.container import Container
from elftools.elf.elffile import ELFFile

from agents.binaries.machine import X86_64, Machine
from agents.binaries.model import BinaryIdentity, Unresolved, UnresolvedReason

MAX_FILE: Final = 8 << 30  # larger than any program that people run; bounds what the sha256 of an anonymous file costs
MAX_SECTION: Final = 1 << 30  # a section, decompressed: Chromium's .debug_info is 0.9 GB
MAX_SECTIONS: Final = 4096  # -ffunction-sections stays in object files; executables have some dozens
MAX_SEGMENTS: Final = 1024
CHUNK: Final = 1 << 20

ELFCOMPRESS_ZLIB: Final = 1  # gABI, "Section Compression"
ELFCOMPRESS_ZSTD: Final = 2
STT_FUNC: Final = 2

_SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
_RELOCATION = np.dtype([("offset", "<u8"), ("info", "<u8"), ("addend", "<i8")])


@dataclass(frozen=True)
class Symbols:
    """A symbol table as columns, sorted by nothing: `names[i]` indexes `strings` (NUL-terminated)."""

    names: npt.NDArray[np.uint32]
    kinds: npt.NDArray[np.uint8]
    values: npt.NDArray[np.uint64]
    sizes: npt.NDArray[np.uint64]
    strings: bytes

    def name(self, index: int) -> str:
        start = int(self.names[index])
        return self.strings[start : self.strings.find(b"\0", start)].decode("utf-8", "replace")


@dataclass(frozen=True)
class Segment:
    address: int
    offset: int
    size: int  # bytes in the file
    executable: bool


class ElfImage:
    """One open ELF file of 64 bits. Use `opened`, which closes it."""

    def __init__(self, path: str, file: io.FileIO, elf: Any, status: os.stat_result, machine: Machine) -> None:
        self.path = path
        self.machine = machine
        self.status = status
        self._file = file
        self._sections: dict[str, Container] = {}
        for index, section in enumerate(elf.iter_sections()):
            if index > MAX_SECTIONS:
                raise Unresolved(UnresolvedReason.DAMAGED, f"{path}: more than {MAX_SECTIONS} sections")
            self._sections.setdefault(section.name, section.header)
        self.segments = tuple(
            Segment(s.header.p_vaddr, s.header.p_offset, s.header.p_filesz, bool(s.header.p_flags & 1))
            for s in elf.iter_segments()
            if s.header.p_type == "PT_LOAD"
        )
        self.position_independent = elf.header.e_type == "ET_DYN"

    def has_section(self, name: str) -> bool:
        return name in self._sections or _old_name(name) in self._sections

    def section_address(self, name: str) -> int | None:
        header = self._sections.get(name)
        return None if header is None else int(header.sh_addr)

    def section(self, name: str) -> bytes:
        """The section's bytes, decompressed; empty when there is none."""
        header = self._sections.get(name)
        if header is not None and header.sh_type != "SHT_NOBITS":
            raw = self._pread(header.sh_offset, self._bounded(name, header.sh_size))
            return self._decompressed(name, raw) if header.sh_flags & 0x800 else raw  # SHF_COMPRESSED
        old = self._sections.get(_old_name(name))
        if old is None:
            return b""
        raw = self._pread(old.sh_offset, self._bounded(name, old.sh_size))  # GNU's older form: "ZLIB", size, stream
        if raw[:4] != b"ZLIB":
            return raw
        return self._inflated(name, raw[12:], int.from_bytes(raw[4:12], "big"))

    def offset_of(self, address: int) -> int | None:
        """The file offset of a virtual address: what a uprobe is attached by."""
        for segment in self.segments:
            if segment.address <= address < segment.address + segment.size:
                return address - segment.address + segment.offset
        return None

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes at a virtual address as the file holds them; shorter at the end of a segment."""
        for segment in self.segments:
            if segment.address <= address < segment.address + segment.size:
                size = min(size, segment.address + segment.size - address, MAX_SECTION)
                return self._pread(address - segment.address + segment.offset, size)
        return b""

    def word(self, address: int) -> int | None:
        """The pointer stored at an address, with RELATIVE relocations applied at load bias 0."""
        if address in self._relocations:
            return self._relocations[address]
        raw = self.read(address, 8)
        return int.from_bytes(raw, "little") if len(raw) == 8 else None

    @cached_property
    def symbols(self) -> Symbols:
        """.symtab; .dynsym when it was stripped (a shared library's exported functions)."""
        name = ".symtab" if ".symtab" in self._sections else ".dynsym"
        raw, strings = self.section(name), self.section({".symtab": ".strtab", ".dynsym": ".dynstr"}[name])
        table = np.frombuffer(raw[: len(raw) // _SYMBOL.itemsize * _SYMBOL.itemsize], _SYMBOL)
        table = table[(table["section"] != 0) & (table["name"] < len(strings))]
        return Symbols(
            np.ascontiguousarray(table["name"]),
            np.ascontiguousarray(table["info"] & 0xF),
            np.ascontiguousarray(table["value"]),
            np.ascontiguousarray(table["size"]),
            strings + b"\0",
        )

    @cached_property
    def has_symtab(self) -> bool:
        return ".symtab" in self._sections

    @cached_property
    def go_build_id(self) -> bytes:
        note = self.section(".note.go.buildid")
        return _note(note, b"Go\0\0")

    @cached_property
    def identity(self) -> BinaryIdentity:
        gnu = _note(self.section(".note.gnu.build-id"), b"GNU\0")
        if gnu:
            build_id = gnu.hex()
        elif self.go_build_id:
            build_id = hashlib.sha256(self.go_build_id).hexdigest()
        else:
            build_id = self._sha256()
        return BinaryIdentity(self.path, build_id, self.status.st_ino, self.status.st_dev)

    @cached_property
    def _relocations(self) -> dict[int, int]:
        raw = self.section(".rela.dyn") if self.position_independent else b""
        table = np.frombuffer(raw[: len(raw) // _RELOCATION.itemsize * _RELOCATION.itemsize], _RELOCATION)
        table = table[(table["info"] & 0xFFFFFFFF) == self.machine.relative]
        return dict(zip(table["offset"].tolist(), table["addend"].tolist(), strict=True))

    def _sha256(self) -> str:
        digest, at = hashlib.sha256(), 0
        while chunk := self._pread(at, CHUNK):
            digest.update(chunk)
            at += len(chunk)
        return digest.hexdigest()

    def _pread(self, offset: int, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = os.pread(self._file.fileno(), size - len(parts), offset + len(parts))
            if not part:
                break
            parts += part
        return bytes(parts)

    def _bounded(self, name: str, size: int) -> int:
        if size > MAX_SECTION:
            raise Unresolved(
                UnresolvedReason.TOO_LARGE, f"{self.path}: {name} has {size} bytes, at most {MAX_SECTION} are read"
            )
        return int(size)

    def _decompressed(self, name: str, raw: bytes) -> bytes:
        kind, size = int.from_bytes(raw[:4], "little"), int.from_bytes(raw[8:16], "little")  # Elf64_Chdr
        if kind == ELFCOMPRESS_ZLIB:
            return self._inflated(name, raw[24:], size)
        if kind == ELFCOMPRESS_ZSTD:
            return _unzstd(raw[24:], self._bounded(name, size))
        raise Unresolved(UnresolvedReason.DAMAGED, f"{self.path}: {name} is compressed with an unknown method {kind}")

    def _inflated(self, name: str, raw: bytes, size: int) -> bytes:
        try:
            return zlib.decompressobj().decompress(raw, self._bounded(name, size))
        except zlib.error as error:
            raise Unresolved(UnresolvedReason.DAMAGED, f"{self.path}: {name} does not decompress: {error}") from error


@contextmanager
def opened(path: str, machine: Machine = X86_64) -> Iterator[ElfImage]:
    """Open an ELF executable or library for a machine. Raises Unresolved."""
    try:
        file = io.FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), closefd=True)
    except OSError as error:
        raise Unresolved(UnresolvedReason.NO_FILE, f"{path} cannot be opened: {error.strerror}") from error
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE:
            raise Unresolved(UnresolvedReason.NOT_ELF, f"{path} is not a regular file of at most {MAX_FILE} bytes")
        yield _parsed(path, file, status, machine)


def go_buildinfo(image: ElfImage) -> str | None:
    """The toolchain's version, "go1.27.3", from .go.buildinfo (Go >= 1.18: an inline string after a 32 byte header)."""
    raw = image.section(".go.buildinfo")[:4096]
    if not raw.startswith(b"\xff Go buildinf:") or len(raw) < 34 or not raw[15] & 2:
        return None
    length, at, shift = 0, 32, 0
    while at < len(raw):
        byte = raw[at]
        length, at, shift = length | (byte & 0x7F) << shift, at + 1, shift + 7
        if byte < 0x80:
            break
    return raw[at : at + min(length, 64)].decode("utf-8", "replace").split(" ")[0]


def _parsed(path: str, file: io.FileIO, status: os.stat_result, wanted: Machine) -> ElfImage:
    magic = os.pread(file.fileno(), 20, 0)
    if magic[:4] != b"\x7fELF":
        raise Unresolved(
            UnresolvedReason.NOT_ELF, f"{path} is not an ELF file; name the program itself, not a script that starts it"
        )
    machine = int.from_bytes(magic[18:20], "little")
    if magic[4] != 2 or magic[5] != 1 or machine != wanted.elf:  # ELFCLASS64, ELFDATA2LSB
        raise Unresolved(
            UnresolvedReason.WRONG_MACHINE,
            f"{path} is a {'64' if magic[4] == 2 else '32'}-bit ELF file for machine {machine}; this agent probes {wanted.name} programs",
        )
    try:
        elf = ELFFile(file)
        if elf.num_segments() > MAX_SEGMENTS:
            raise Unresolved(UnresolvedReason.DAMAGED, f"{path}: more than {MAX_SEGMENTS} program headers")
        return ElfImage(path, file, elf, status, wanted)
    except (ELFError, ValueError, KeyError, AttributeError, TypeError, OverflowError, OSError, AssertionError) as error:
        # pyelftools raises all of these on damaged files
        raise Unresolved(UnresolvedReason.DAMAGED, f"{path}: damaged ELF headers: {error}") from error


def _old_name(name: str) -> str:
    return ".z" + name[1:]


def _unzstd(raw: bytes, size: int) -> bytes:
    import pyarrow as pa  # zstd without another dependency: Arrow brings it

    try:
        return bytes(pa.Codec("zstd").decompress(raw, decompressed_size=size))
    except (pa.ArrowException, ValueError) as error:
        raise Unresolved(
            UnresolvedReason.DAMAGED, f"a zstd-compressed debug section does not decompress: {error}"
        ) from error


def _note(raw: bytes, owner: bytes) -> bytes:
    """The descriptor of an ELF note whose owner's name is 4 bytes long, padded."""
    if len(raw) < 16 or raw[12:16] != owner:
        return b""
    size = int.from_bytes(raw[4:8], "little")
    return raw[16 : 16 + min(size, 4096)]
