"""What a binary says of one function: types, locations, sites. No I/O, no ELF, no DWARF from here on.

Entered by `agents.binaries.service` (which reads ELF and DWARF), left towards `agents.compiler`.
Addresses are virtual addresses as the ELF file states them; a site also carries its file offset,
which is what a uprobe is attached by. Sizes and offsets are bytes. The types are written down in `value_types`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agents.absence import Absent
from agents.binaries.value_types import (
    PLAIN,
    Array,
    Boolean,
    Enumeration,
    Float,
    Header,
    Implementation,
    Integer,
    Interface,
    Map,
    MapGroups,
    Member,
    Opaque,
    Optional,
    Pointer,
    Slice,
    String,
    Struct,
    Type,
    TypeId,
    TypeTable,
    Variant,
    VariantPart,
)

__all__ = [
    "PLAIN",
    "Array",
    "BinaryIdentity",
    "Boolean",
    "Constant",
    "EntryChoice",
    "Enumeration",
    "Float",
    "FunctionSummary",
    "GoRuntime",
    "Header",
    "Implementation",
    "InMemory",
    "InRegister",
    "Integer",
    "Interface",
    "Language",
    "Location",
    "Map",
    "MapGroups",
    "Member",
    "Opaque",
    "Optional",
    "Piece",
    "Place",
    "Pointer",
    "Register",
    "ResolvedProbe",
    "ReturnMethod",
    "Site",
    "Slice",
    "Static",
    "String",
    "Struct",
    "TrapClass",
    "Type",
    "TypeId",
    "TypeTable",
    "Unresolved",
    "UnresolvedReason",
    "Variable",
    "Variant",
    "VariantPart",
]


class Language(StrEnum):
    GO = "go"
    C = "c"
    CPP = "c++"
    RUST = "rust"


# --- places ----------------------------------------------------------------------------------------------------


class Register(StrEnum):
    """General registers of x86-64 and arm64 as their manuals spell them; compiler knows where pt_regs keeps each."""

    RAX = "rax"
    RBX = "rbx"
    RCX = "rcx"
    RDX = "rdx"
    RSI = "rsi"
    RDI = "rdi"
    RBP = "rbp"
    RSP = "rsp"
    R8 = "r8"
    R9 = "r9"
    R10 = "r10"
    R11 = "r11"
    R12 = "r12"
    R13 = "r13"
    R14 = "r14"
    R15 = "r15"
    X0 = "x0"
    X1 = "x1"
    X2 = "x2"
    X3 = "x3"
    X4 = "x4"
    X5 = "x5"
    X6 = "x6"
    X7 = "x7"
    X8 = "x8"
    X9 = "x9"
    X10 = "x10"
    X11 = "x11"
    X12 = "x12"
    X13 = "x13"
    X14 = "x14"
    X15 = "x15"
    X16 = "x16"
    X17 = "x17"
    X18 = "x18"
    X19 = "x19"
    X20 = "x20"
    X21 = "x21"
    X22 = "x22"
    X23 = "x23"
    X24 = "x24"
    X25 = "x25"
    X26 = "x26"
    X27 = "x27"
    X28 = "x28"
    X29 = "x29"
    X30 = "x30"
    SP = "sp"


@dataclass(frozen=True)
class InRegister:
    """The low `Piece.size` bytes of a register."""

    register: Register


@dataclass(frozen=True)
class InMemory:
    """At `register + displacement`, in the target's memory, at the moment the site's instruction is about to run."""

    register: Register
    displacement: int


@dataclass(frozen=True)
class Static:
    """At a fixed virtual address of the file (globals); add the load bias."""

    address: int


@dataclass(frozen=True)
class Constant:
    value: int


Place = InRegister | InMemory | Static | Constant | Absent


@dataclass(frozen=True)
class Piece:
    """Bytes [offset, offset + size) of a value are at `place`."""

    offset: int
    size: int
    place: Place


Location = tuple[Piece, ...]  # ordered by offset; padding may be uncovered; a zero-sized value has none


@dataclass(frozen=True)
class Variable:
    """An argument or result. `location` holds at the site it was resolved for, and only there."""

    name: str  # "" when unnamed; Go's blank "_" too
    type: TypeId
    location: Location | Absent


class TrapClass(StrEnum):
    """What the kernel does with the instruction under the probe: it decides the price of a hit."""

    NOP5 = "nop5"  # optimised call, cheapest; not in leaf functions that use the red zone
    EMULATED = "emulated"  # push, jcc, jmp, call, nop: about one trap
    STEPPED = "stepped"  # single-stepped out of line: a second exception, 12 to 30 times dearer in a guest


@dataclass(frozen=True)
class Site:
    address: int  # virtual address in the file
    offset: int  # file offset: what the kernel attaches by
    trap_class: TrapClass
    instruction: str  # as capstone prints it: "push rbp"
    # Canonical frame address = register + displacement, just before the instruction runs. Go and uretprobes
    # pair entry and return by it.
    cfa_register: Register
    cfa_displacement: int
    inlined: bool = False
    line: int | None = None


@dataclass(frozen=True)
class EntryChoice:
    """An instruction that every call runs once, near the function's start, and what has changed when it is about to run.

    Whether a probe may stand there depends on what it reads: `agents.compiler.sites`.
    """

    site: Site
    changed: tuple[Register, ...]  # other than the stack pointer
    stored: bool  # memory other than the function's own frame was written
    moved: int  # bytes that the stack pointer is below where it was at the first instruction


class ReturnMethod(StrEnum):
    RET_SITES = (
        "ret_sites"  # a probe at each RET: a uretprobe would break a Go stack that moves, and one that is unwound
    )
    URETPROBE = "uretprobe"  # where nothing can unwind: see `native_returns`


@dataclass(frozen=True)
class GoRuntime:
    """Offsets in runtime.g of this build; `register` holds g at entry and at RET (ABIInternal)."""

    version: str  # "go1.27.3"
    goid_offset: int
    stack_hi_offset: int
    register: Register = Register.R14  # holds g


@dataclass(frozen=True)
class BinaryIdentity:
    """Which file this is. `path` is how the agent opens it (through /proc/PID/root when the target is in a container)."""

    path: str
    build_id: str  # GNU build-id or Go build id hashed to hex; sha256 of the file when it has neither
    inode: int
    device: int


@dataclass(frozen=True)
class ResolvedProbe:
    """One function of one binary, ready to compile a probe for.

    Proves: the addresses and locations come from this very file's ELF and DWARF (`binary` names it) and the
    sites start instructions. Does not prove that a capture's expression fits the types: the compiler's first pass does.
    Minted by `agents.binaries.service` only.
    """

    binary: BinaryIdentity
    function: str
    language: Language
    file: str | None
    line: int | None
    low_pc: int
    high_pc: int
    arguments: tuple[Variable, ...]  # locations hold at the first instruction and at `entry`
    results: tuple[Variable, ...]  # locations hold at every one of `returns`, or after the return for a uretprobe
    entry: Site
    returns: tuple[
        Site, ...
    ]  # RET_SITES: each RET, none when it has none. URETPROBE: empty, `entry` is armed with the return flag
    return_method: ReturnMethod
    inlined_copies: tuple[Site, ...]  # where callers inlined it; `arguments` do not hold there
    go: GoRuntime | None
    types: TypeTable
    notes: tuple[str, ...] = ()  # what a person should know: "3 inlined copies are not probed"
    position_independent: bool = False  # ET_DYN: static addresses need the load bias
    entries: tuple[EntryChoice, ...] = ()  # where else an entry may be probed, best first


@dataclass(frozen=True)
class FunctionSummary:
    """One line of `probegate-agent functions`: what a template author needs to write captures."""

    name: str
    file: str | None
    line: int | None
    arguments: tuple[tuple[str, str], ...]  # (name, type), in order; "_" for a blank one
    results: tuple[tuple[str, str], ...]
    inlined_copies: int
    language: Language | None  # None: no debug information, only the symbol is known


# --- refusals --------------------------------------------------------------------------------------------------


class UnresolvedReason(StrEnum):
    """Stable words: they reach exit status 3's text and the reviewer."""

    NO_FILE = "no_file"
    NOT_ELF = "not_elf"
    WRONG_MACHINE = "wrong_machine"
    TOO_LARGE = "too_large"
    DAMAGED = "damaged"  # ELF or DWARF that contradicts its own format
    NO_FUNCTION = "no_function"
    AMBIGUOUS = "ambiguous"
    INLINED_AWAY = "inlined_away"
    NO_DEBUG_INFO = "no_debug_info"
    UNSUPPORTED_LANGUAGE = "unsupported_language"
    NO_LINE = "no_line"
    NO_SITE = "no_site"  # no instruction that every call executes exactly once


class Unresolved(Exception):  # named for what it is to the caller, like NoProcess
    """The function cannot be probed. `detail` says what was asked, what the binary holds and what to do."""

    def __init__(self, reason: UnresolvedReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
