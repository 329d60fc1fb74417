"""`where` -> a typed test.

What a test means. Integers (enumerations, bool, len, pid, tid, goid, latency too) are evaluated in 64 bits and wrap
there; comparison is exact for every mix of signs and widths. `//` and `%` want a positive constant on the right and
round down as Python's do. Text is compared byte by byte. and/or stop as soon as the answer is known. A value that is
needed for the answer and cannot be read (nil on the way, no such page, index past the end) makes the whole test false,
under `not` too: the hit counts as filtered.

Next: `predicate_split` says which half of it an entry decides, `emit_predicate` writes the instructions. They run before
anything is reserved or copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from agents.absence import Absent
from agents.binaries import model as binary
from agents.binaries.model import PLAIN, Header, Language, ResolvedProbe
from agents.compiler.access import Access, Fixed, Known, LengthOf
from agents.compiler.bind import bind, through_pointers, type_of
from agents.compiler.extent import is_byte, is_char
from agents.compiler.model import CannotCompile, Refusal
from language import syntax as ex
from language.model import At

MAX_COUNTED_TEXT: Final = 256  # bytes of a constant: as many as a capture shows by default
MAX_TERMINATED_TEXT: Final = 120  # a C string is read onto the program's stack of 512 bytes in one piece
MAX_DEPTH: Final = 16  # of the expression: each level may keep an operand on the stack
INT64_END: Final = 1 << 63

# --- integers ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loaded:
    """An integer, bool, enumeration or pointer of the target."""

    access: Access
    size: int
    signed: bool
    boolean: bool = False


@dataclass(frozen=True)
class Measured:
    """len() of a string or list, or of a map (the first word of its header; 0 when nil)."""

    access: Access
    is_map: bool
    header: Header = PLAIN


@dataclass(frozen=True)
class Sensed:
    name: Literal["latency", "goid", "pid", "tid"]


@dataclass(frozen=True)
class Number:
    value: int  # -2**63 up to 2**64 - 1


@dataclass(frozen=True)
class Combined:
    op: Literal["+", "-", "*", "//", "%"]
    left: Term
    right: Term
    unsigned: bool


@dataclass(frozen=True)
class Stashed:
    """What the entry worked out and kept for its return, in this order."""

    index: int


Term = Loaded | Measured | Sensed | Number | Combined | Stashed

# --- tests -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    op: Literal["==", "!=", "<", "<=", ">", ">="]
    left: Term
    right: Term


@dataclass(frozen=True)
class TextIs:
    """The text equals the constant, or begins with it."""

    text: Access
    terminated: bool
    constant: bytes
    prefix: bool
    header: Header = PLAIN


@dataclass(frozen=True)
class TextsEqual:
    left: Access
    right: Access
    headers: tuple[Header, Header] = (PLAIN, PLAIN)


@dataclass(frozen=True)
class IsNil:
    """The first word of the value is 0: pointers, slices, maps, interfaces."""

    access: Access


@dataclass(frozen=True)
class Inverted:
    test: Test


@dataclass(frozen=True)
class All:
    tests: tuple[Test, ...]


@dataclass(frozen=True)
class AnyOf:
    tests: tuple[Test, ...]


@dataclass(frozen=True)
class Always:
    value: bool


@dataclass(frozen=True)
class Kept:
    """A test whose answer the entry kept for its return."""

    index: int


Test = Compared | TextIs | TextsEqual | IsNil | Inverted | All | AnyOf | Always | Kept


def read(where: ex.Expression | None, resolved: ResolvedProbe, at: At) -> Test:
    """Raises CannotCompile."""
    return Always(value=True) if where is None else _Reader(resolved, at).test(where, 0)


def unsigned_wide(term: Term) -> bool:
    """Whether the value may be 2**63 or more."""
    match term:
        case Loaded(size=size, signed=signed):
            return size == 8 and not signed
        case Number(value):
            return value >= INT64_END
        case Combined(unsigned=unsigned):
            return unsigned
        case Sensed(name):
            return name == "goid"
        case _:
            return False


def may_be_negative(term: Term) -> bool:
    match term:
        case Loaded(signed=signed):
            return signed
        case Number(value):
            return value < 0
        case Combined(unsigned=unsigned):
            return not unsigned
        case Stashed():
            return True
        case _:
            return False


@dataclass(frozen=True)
class _Reader:
    resolved: ResolvedProbe
    at: At

    def test(self, expression: ex.Expression, depth: int) -> Test:
        if depth > MAX_DEPTH:
            raise CannotCompile(Refusal.TOO_LARGE, f"where is nested deeper than {MAX_DEPTH} levels")
        match expression:
            case ex.Not(value):
                return Inverted(self.test(value, depth + 1))
            case ex.And(values):
                return All(tuple(self.test(value, depth + 1) for value in values))
            case ex.Or(values):
                return AnyOf(tuple(self.test(value, depth + 1) for value in values))
            case ex.Compare(op, left, right):
                return self._compare(op, left, right, depth)
            case ex.Constant(bool() as value):
                return Always(value)
            case _:
                term = self._term(expression, depth)
                if isinstance(term, Loaded) and term.boolean:
                    return Compared("!=", term, Number(0))
                raise _wrong("a condition is a comparison or a bool; compare the number with something")

    # --- comparisons --------------------------------------------------------------------------------------------

    def _compare(
        self, op: str, left: ex.Expression, right: ex.Expression | tuple[ex.Constant, ...], depth: int
    ) -> Test:
        if isinstance(right, tuple):
            return AnyOf(tuple(self._compare("==", left, each, depth) for each in right))
        if isinstance(left, ex.Constant) and not isinstance(right, ex.Constant) and op != "startswith":
            mirrored = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(op, op)
            return self._compare(mirrored, right, left, depth)
        if isinstance(right, ex.Constant):
            if right.value is None:
                return self._nil(op, left)
            if isinstance(right.value, str):
                return self._text(op, left, right.value)
        if (texts := self._both_texts(left, right)) is not None:
            if op not in {"==", "!="}:
                raise _wrong(f"two texts can be compared with == and != only, {op} came")
            same = TextsEqual(*texts, headers=(self._header(texts[0]), self._header(texts[1])))
            return same if op == "==" else Inverted(same)
        return self._ordered(op, left, right, depth)

    def _ordered(self, op: str, left: ex.Expression, right: ex.Expression, depth: int) -> Test:
        one, other = self._term(left, depth + 1), self._term(right, depth + 1)
        match op:
            case "==" | "!=" | "<" | "<=" | ">" | ">=":
                return Compared(op, one, other)
            case _:
                raise _wrong(f"{op} wants texts, numbers came")

    def _nil(self, op: str, left: ex.Expression) -> Test:
        access = self._access(left)
        held = type_of(self.resolved.types, access.type)
        if not isinstance(held, binary.Pointer | binary.Slice | binary.Map | binary.Interface):
            opaque = isinstance(held, binary.Opaque) and held.size == 8
            if not opaque:
                raise _wrong(f"{held.name} is never nil: only pointers, slices, maps, functions and interfaces can be")
        if op not in {"==", "!="}:
            raise _wrong(f"nil can be compared with == and != only, {op} came")
        return IsNil(access) if op == "==" else Inverted(IsNil(access))

    def _text(self, op: str, left: ex.Expression, constant: str) -> Test:
        access = self._text_access(left)
        held = type_of(self.resolved.types, access.type)
        if isinstance(held, binary.Enumeration):
            return self._member(op, access, held, constant)
        kind = self._text_kind(access)
        if kind is None:
            raise _wrong(f"{held.name} is no text: it cannot be compared with {constant!r}")
        raw = constant.encode()
        most = MAX_TERMINATED_TEXT if kind == "terminated" else MAX_COUNTED_TEXT
        if len(raw) > most:
            raise CannotCompile(Refusal.TOO_LARGE, f"a text in where has at most {most} bytes, this one has {len(raw)}")
        if kind == "terminated" and b"\0" in raw:
            return Always(value=op == "!=")
        match op:
            case "==" | "!=":
                same = TextIs(access, kind == "terminated", raw, prefix=False, header=self._header(access))
                return same if op == "==" else Inverted(same)
            case "startswith":
                return TextIs(access, kind == "terminated", raw, prefix=True, header=self._header(access))
            case _:
                raise _wrong(f"text can be compared with ==, !=, startswith and in; {op} came")

    def _member(self, op: str, access: Access, held: binary.Enumeration, name: str) -> Test:
        values = [value for member, value in held.members if member == name]
        if not values or op not in {"==", "!="}:
            names = ", ".join(member for member, _ in held.members[:16])
            raise _wrong(f"{held.name} can be == or != one of {names}; {op} {name!r} came")
        return Compared("==" if op == "==" else "!=", Loaded(access, held.size, held.signed), Number(values[0]))

    def _both_texts(self, left: ex.Expression, right: ex.Expression) -> tuple[Access, Access] | None:
        found = []
        for expression in (left, right):
            if isinstance(expression, ex.Name | ex.Attribute | ex.Index | ex.Ret | ex.Deref):
                access = self._text_access(expression)
                if (kind := self._text_kind(access)) is not None:
                    if kind == "terminated":
                        raise _wrong("C strings can be compared with constants only")
                    found.append(access)
        if len(found) == 1:
            raise _wrong("a text can be compared with a text only")
        return (found[0], found[1]) if found else None

    def _header(self, access: Access) -> Header:
        held = type_of(self.resolved.types, access.type)
        return held.header if isinstance(held, binary.String | binary.Slice) else PLAIN

    def _text_kind(self, access: Access) -> Literal["counted", "terminated"] | None:
        match type_of(self.resolved.types, access.type):
            case binary.String():
                return "counted"
            case binary.Slice(element=element) if is_byte(type_of(self.resolved.types, element)):
                return "counted"
            case binary.Pointer(target=target) if target is not None and is_char(type_of(self.resolved.types, target)):
                return "terminated"
            case _:
                return None

    # --- integers -----------------------------------------------------------------------------------------------

    def _term(self, expression: ex.Expression, depth: int) -> Term:
        if depth > MAX_DEPTH:
            raise CannotCompile(Refusal.TOO_LARGE, f"where is nested deeper than {MAX_DEPTH} levels")
        if isinstance(expression, ex.Arithmetic):
            return self._arithmetic(expression, depth)
        if isinstance(expression, ex.Compare | ex.Not | ex.And | ex.Or):
            raise _wrong("a comparison is no number: join conditions with and, or, not")
        match value := bind(expression, self.resolved, self.at):
            case Fixed(bool() | int() as constant):
                if not -INT64_END <= constant < 2 * INT64_END:
                    raise _wrong(f"{constant} does not fit 64 bits")
                return Number(int(constant))
            case Known("latency" | "goid" | "pid" | "tid" as name):
                return Sensed(name)
            case LengthOf(access):
                self._expect_place(access)
                is_map = isinstance(type_of(self.resolved.types, access.type), binary.Map)
                return Measured(access, is_map, self._header(access))
            case Access():
                return self._loaded(value)
            case _:
                raise _wrong("only numbers, bools, texts, lengths and nil can be compared")

    def _loaded(self, access: Access) -> Loaded:
        self._expect_place(access)
        match type_of(self.resolved.types, access.type):
            case binary.Integer(size=size, signed=signed) if size <= 8:
                return Loaded(access, size, signed)
            case binary.Boolean(size=size):
                return Loaded(access, size, signed=False, boolean=True)
            case binary.Enumeration(size=size, signed=signed):
                return Loaded(access, size, signed)
            case binary.Pointer():
                return Loaded(access, 8, signed=False)
            case binary.Float() as held:
                raise _wrong(f"{held.name} is a floating-point number: the kernel program has no arithmetic for it")
            case held:
                raise _wrong(
                    f"{held.name} is no number: only integers, bools, enumerations, texts and nil can be compared"
                )

    def _arithmetic(self, expression: ex.Arithmetic, depth: int) -> Term:
        left, right = self._term(expression.left, depth + 1), self._term(expression.right, depth + 1)
        if expression.op in {"//", "%"} and not (isinstance(right, Number) and 0 < right.value < 1 << 31):
            raise _wrong(f"{expression.op} wants a positive constant below 2**31 on its right")
        unsigned = unsigned_wide(left) or unsigned_wide(right)
        if unsigned and (may_be_negative(left) or may_be_negative(right)):
            raise _wrong(
                f"{expression.op} mixes an unsigned 64-bit number with one that may be negative: compare them apart"
            )
        return Combined(expression.op, left, right, unsigned)

    def _access(self, expression: ex.Expression) -> Access:
        value = bind(expression, self.resolved, self.at)
        if not isinstance(value, Access):
            raise _wrong("only a value of the program can be compared with a text or nil")
        self._expect_place(value)
        return value

    def _text_access(self, expression: ex.Expression) -> Access:
        """Rust compares a &String, and a &&str, as the text that it is."""
        access = self._access(expression)
        return through_pointers(access, self.resolved) if self.resolved.language is Language.RUST else access

    def _expect_place(self, access: Access) -> None:
        if isinstance(absent := access.variable.location, Absent):
            raise CannotCompile(
                Refusal.UNREADABLE,
                f"where needs {access.variable.name or 'a result'}, which is absent here: {absent.reason.value} "
                f"{absent.detail}".rstrip(),
            )


def _wrong(detail: str) -> CannotCompile:
    return CannotCompile(Refusal.WRONG_TYPE, detail)
