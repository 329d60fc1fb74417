"""A hand-made function with every kind of type, for tests of the compiler that need no binary.

`Types` collects types under numbers; `probe` makes a ResolvedProbe of arguments and results that lie in registers,
in the frame, at fixed addresses, or nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.absence import Absent, Reason
from agents.binaries.model import (
    Array,
    BinaryIdentity,
    Boolean,
    Enumeration,
    Float,
    GoRuntime,
    Implementation,
    InMemory,
    InRegister,
    Integer,
    Interface,
    Language,
    Location,
    Map,
    Member,
    Opaque,
    Piece,
    Pointer,
    Register,
    ResolvedProbe,
    ReturnMethod,
    Site,
    Slice,
    Static,
    String,
    Struct,
    TrapClass,
    Type,
    TypeId,
    Variable,
    Variant,
    VariantPart,
)
from agents.compiler.model import CaptureRequest, CompileRequest
from language.expressions import parse
from language.model import At, LimitSpec

ENTRY = Site(0x1004, 0x1004, TrapClass.EMULATED, "push rbp", Register.RSP, 8)
RETURN = Site(0x1100, 0x1100, TrapClass.STEPPED, "ret", Register.RSP, 8)
GO = GoRuntime("go1.27.3", 152, 8)


class Types(dict[TypeId, Type]):
    def add(self, held: Type) -> TypeId:
        key = TypeId(len(self) + 1)
        self[key] = held
        return key


def registers(*held: tuple[Register, int, int]) -> Location:
    """(register, offset, size) for each piece."""
    return tuple(Piece(offset, size, InRegister(register)) for register, offset, size in held)


def frame(size: int, displacement: int = 16) -> Location:
    return (Piece(0, size, InMemory(Register.RSP, displacement)),)


def static(size: int, address: int) -> Location:
    return (Piece(0, size, Static(address)),)


def shop_types() -> tuple[Types, dict[str, TypeId]]:
    """Types of a small shop, by name."""
    types = Types()
    t: dict[str, TypeId] = {}
    t["int"] = types.add(Integer("int", 8, signed=True))
    t["int8"] = types.add(Integer("int8", 1, signed=True))
    t["int32"] = types.add(Integer("int32", 4, signed=True))
    t["uint64"] = types.add(Integer("uint64", 8, signed=False))
    t["byte"] = types.add(Integer("uint8", 1, signed=False))
    t["u128"] = types.add(Integer("u128", 16, signed=False))
    t["char"] = types.add(Integer("char", 1, signed=True, character=True))
    t["scalar"] = types.add(Integer("char", 4, signed=False, character=True))
    t["bool"] = types.add(Boolean("bool", 1))
    t["float64"] = types.add(Float("float64", 8))
    t["string"] = types.add(String("string"))
    t["bytes"] = types.add(Slice("[]uint8", t["byte"]))
    t["strings"] = types.add(Slice("[]string", t["string"]))
    t["ints"] = types.add(Slice("[]int", t["int"]))
    t["hash"] = types.add(Array("[32]uint8", 32, t["byte"], 32))
    t["name"] = types.add(Array("char[16]", 16, t["char"], 16))
    t["color"] = types.add(Enumeration("enum color", 4, signed=False, members=(("RED", 0), ("BLUE", 7))))
    t["text"] = types.add(Pointer("char *", t["char"]))
    t["texts"] = types.add(Slice("[]*char", t["text"]))
    t["void"] = types.add(Pointer("void *", None))
    t["chan"] = types.add(Opaque("chan int", 8, "a channel"))
    t["card"] = types.add(
        Struct(
            "shop.Card",
            40,
            (
                Member("Number", 0, t["string"]),
                Member("Cvv", 16, t["int32"]),
                Member("Expiry", 24, t["string"]),
            ),
        )
    )
    t["*card"] = types.add(Pointer("*shop.Card", t["card"]))
    t["base"] = types.add(Struct("shop.Base", 8, (Member("ID", 0, t["int"]),)))
    t["order"] = types.add(
        Struct(
            "shop.Order",
            88,
            (
                Member("Base", 0, t["base"], embedded=True),
                Member("Email", 8, t["string"]),
                Member("Card", 24, t["*card"]),
                Member("Inline", 32, t["card"]),
                Member("Done", 72, t["bool"]),
                Member("Kind", 76, t["color"]),
                Member("Total", 80, t["int"]),
            ),
        )
    )
    t["*order"] = types.add(Pointer("*shop.Order", t["order"]))
    t["orders"] = types.add(Slice("[]shop.Order", t["order"]))
    t["*orders"] = types.add(Slice("[]*shop.Order", t["*order"]))
    t["flags"] = types.add(
        Struct(
            "struct flags",
            8,
            (
                Member("low", 0, t["int32"], bit_offset=0, bit_size=3),
                Member("high", 0, t["int32"], bit_offset=3, bit_size=13),
                Member("rest", 4, t["int32"]),
            ),
        )
    )
    t["union"] = types.add(Struct("union u", 8, (Member("n", 0, t["int"]), Member("raw", 0, t["float64"])), union=True))
    some = types.add(Struct("Some", 16, (Member("__0", 8, t["int"]),)))
    none = types.add(Struct("None", 16, ()))
    t["option"] = types.add(
        VariantPart(
            "Option<i64>", 16, 0, 8, False, (Variant("None", ((0, 0),), none), Variant("Some", ((1, 1),), some))
        )
    )
    t["plain"] = types.add(Struct("errors.errorString", 16, (Member("s", 0, t["string"]),)))
    t["*plain"] = types.add(Pointer("*errors.errorString", t["plain"]))
    t["error"] = types.add(
        Interface(
            "error",
            empty=False,
            implementations=(
                Implementation(0x5000, "*errors.errorString", t["*plain"]),
                Implementation(0x5100, "shop.Code", t["int"]),
                Implementation(0x5200, "*shop.Unseen", None),
            ),
        )
    )
    t["any"] = types.add(Interface("any", empty=True, implementations=types[t["error"]].implementations))
    t["map"] = types.add(Map("map[string]int", t["string"], t["int"]))
    return types, t


def probe(
    types: Types,
    arguments: Sequence[Variable] = (),
    results: Sequence[Variable] = (),
    *,
    go: GoRuntime | None = GO,
    language: Language = Language.GO,
) -> ResolvedProbe:
    is_go = language is Language.GO
    return ResolvedProbe(
        binary=BinaryIdentity("/bin/shop", "00", 1, 1),
        function="shop.Charge",
        language=language,
        file=None,
        line=None,
        low_pc=0x1000,
        high_pc=0x1200,
        arguments=tuple(arguments),
        results=tuple(results),
        entry=ENTRY,
        returns=(RETURN,) if is_go else (),
        return_method=ReturnMethod.RET_SITES if is_go else ReturnMethod.URETPROBE,
        inlined_copies=(),
        go=go if is_go else None,
        types=types,
    )


def shop_probe(**options: object) -> ResolvedProbe:
    """func Charge(o *Order, c Card, name string, n int, u uint64, small int8, f float64, ...) (total int, err error)."""
    types, t = shop_types()
    arguments = [
        Variable("o", t["*order"], registers((Register.RAX, 0, 8))),
        Variable("c", t["card"], frame(40)),
        Variable("name", t["string"], registers((Register.RBX, 0, 8), (Register.RCX, 8, 8))),
        Variable("n", t["int"], registers((Register.RDI, 0, 8))),
        Variable("u", t["uint64"], registers((Register.RSI, 0, 8))),
        Variable("small", t["int8"], registers((Register.R8, 0, 1))),
        Variable("f", t["float64"], Absent(Reason.IN_VECTOR_REGISTER)),
        Variable("list", t["orders"], frame(24, 64)),
        Variable("pointers", t["*orders"], frame(24, 88)),
        Variable("m", t["map"], registers((Register.R9, 0, 8))),
        Variable("e", t["error"], registers((Register.R10, 0, 8), (Register.R11, 8, 8))),
        Variable("v", t["any"], frame(16, 112)),
        Variable("text", t["text"], registers((Register.RDX, 0, 8))),
        Variable("flags", t["flags"], registers((Register.R12, 0, 8))),
        Variable("color", t["color"], registers((Register.R13, 0, 4))),
        Variable("global", t["order"], static(88, 0x601000)),
        Variable("option", t["option"], frame(16, 128)),
        Variable("wide", t["u128"], registers((Register.RDX, 0, 8), (Register.RCX, 8, 8))),
        Variable("hash", t["hash"], frame(32, 144)),
        Variable("label", t["name"], frame(16, 176)),
        Variable("done", t["bool"], registers((Register.R15, 0, 1))),
        Variable("blob", t["bytes"], frame(24, 192)),
        Variable("texts", t["texts"], frame(24, 216)),
        Variable("nothing", t["void"], registers((Register.R12, 0, 8))),
        Variable("channel", t["chan"], registers((Register.R12, 0, 8))),
        Variable("scalar", t["scalar"], registers((Register.R12, 0, 4))),
        Variable("either", t["union"], registers((Register.R12, 0, 8))),
    ]
    results = [
        Variable("total", t["int"], registers((Register.RAX, 0, 8))),
        Variable("err", t["error"], registers((Register.RBX, 0, 8), (Register.RCX, 8, 8))),
    ]
    return probe(types, arguments, results, **options)  # type: ignore[arg-type]


def request(
    captures: dict[str, str] | None = None,
    *,
    at: At = At.ENTRY,
    where: str | None = None,
    limits: LimitSpec | None = None,
    dropped: Sequence[str] = (),
    dropped_types: Sequence[str] = (),
) -> CompileRequest:
    return CompileRequest(
        at,
        None if where is None else parse(where),
        tuple(
            CaptureRequest(column, parse(text), tuple(dropped), tuple(dropped_types))
            for column, text in (captures or {}).items()
        ),
        limits or LimitSpec(),
    )
