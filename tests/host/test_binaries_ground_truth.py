"""Resolved places hold the values that the program really passed, whatever language and optimiser made it.

The programs pass known values. They run under ptrace, stop at the resolved sites, and the bytes at the resolved places are
compared with what the source says.
"""

import pytest

from agents.absence import Absent
from agents.binaries.model import ResolvedProbe, ReturnMethod
from agents.binaries.service import Binaries
from language.model import At
from tests.builders.programs import PROGRAMS, build_c, build_go, build_rust
from tests.builders.ptrace_debugger import Stopped, run

pytestmark = pytest.mark.host
NATIVE = PROGRAMS / "native"
ONE_THREAD = {"GOMAXPROCS": "1", "GODEBUG": "asyncpreemptoff=1"}
WORD = 8


def number(raw: bytes, stopped: Stopped) -> int:
    return int.from_bytes(raw[:WORD], "little", signed=True)


def unsigned(raw: bytes, stopped: Stopped) -> int:
    return int.from_bytes(raw[:WORD], "little")


def text(raw: bytes, stopped: Stopped) -> str:
    """Go's string and Rust's &str: pointer, length."""
    return stopped.read(unsigned(raw, stopped), unsigned(raw[WORD:], stopped)).decode()


def c_text(raw: bytes, stopped: Stopped) -> str:
    return stopped.read(unsigned(raw, stopped), 64).partition(b"\0")[0].decode()


def numbers(raw: bytes, stopped: Stopped) -> list[int]:
    return [number(raw[at : at + WORD], stopped) for at in range(0, len(raw), WORD)]


def int32s(raw: bytes, stopped: Stopped) -> list[int]:
    return [int.from_bytes(raw[at : at + 4], "little", signed=True) for at in range(0, len(raw), 4)]


def named(raw: bytes, stopped: Stopped) -> tuple[int, str]:
    """Of the shapes' Derived: ID and Name."""
    return int.from_bytes(raw[:4], "little"), text(raw[16:32], stopped)


def not_null(raw: bytes, stopped: Stopped) -> bool:
    return unsigned(raw, stopped) != 0


# function -> (argument -> (reader, value), [(reader, value) of each result])
GO = {
    "main.integers": (
        {"a": (number, -1), "b": (number, 2), "d": (number, 4), "e": (number, 1), "f": (number, 5)},
        [(number, 0), (number, 0)],
    ),
    "main.blanks": ({"a": (number, 1), "b": (number, 2), "c": (number, 4)}, [(number, 9)]),
    "main.unused": ({"a": (number, 1), "b": (text, "b"), "c": (number, 3)}, [(number, 3)]),
    "main.unusedLast": ({"a": (number, 1), "b": (number, 3)}, []),
    "main.floats": ({"b": (number, 2)}, [None, (number, 3), None]),
    "main.onStack": ({"a": (numbers, [1, 2, 3]), "b": (number, 1)}, [(numbers, [6, 1]), (numbers, [0, 0])]),
    "main.blankOnStack": ({"b": (number, 5)}, [(numbers, [5, 6])]),
    "main.tooMany": (
        {name: (number, index + 1) for index, name in enumerate("abcdefghijk")},
        [(number, value) for value in (1, 2, 3, 4, 5, 6, 7, 8, 9, 11)],
    ),
    "main.wide": (
        {"d": (named, (7, "dee")), "one": (number, 9), "m": (not_null, True)},
        [(named, (7, "dee")), (numbers, None)],
    ),
    "main.empty": ({"b": (number, 1)}, [None, (number, 2)]),
    "main.complexes": ({"n": (number, 2)}, [None, (number, 2)]),
    "main.leaf": ({"a": (number, 1), "b": (number, 2)}, [(number, 3)]),
    "main.loops": ({"n": (number, 1000)}, [(number, 97)]),
    "main.pick[string]": ({"first": (text, "a"), "second": (text, "b"), "left": (number, 0)}, [(text, "b")]),
    "main.(*box[int64]).get": ({"extra": (number, 1)}, [(number, 5), (number, 2)]),
    "main.closures.func1": ({"m": (number, 2)}, [(number, 3)]),
    "main.walk": ({"depth": (number, 5)}, [(number, 3), (not_null, True)]),
    "main.panics": ({"n": (number, 1)}, [(number, 1)]),
}
C = {
    "integers": (
        {"a": (number, -1), "b": (number, 2), "c": (number, 3), "d": (number, 4), "e": (number, 1), "f": (number, 5)},
        [(number, 14)],
    ),
    "many": ({name: (number, index + 1) for index, name in enumerate("abcdefgh")}, [(number, 56)]),
    "small": ({"p": (int32s, [1, 2]), "scale": (number, 3)}, [(int32s, [3, 6])]),
    "two": ({"p": (number, 1), "s": (c_text, "four")}, [(number, 5)]),
    "big": ({"l": (numbers, [1, 2, 3, 4, 5]), "add": (number, 2)}, [(numbers, [3, 2, 3, 4, 5])]),
    "floats": ({"b": (number, 2)}, []),
    "flagged": ({"n": (number, 4), "f": (not_null, True)}, [(number, 9)]),
    "sum": ({"limit": (number, 10), "list": (not_null, True)}, [(number, 3)]),
    "nothing": ({"unused": (number, 1), "buffer": (c_text, "abc")}, []),
    "narrow": ({"a": (unsigned, 255)}, [(number, 0)]),
    "hidden": ({"a": (number, 1), "b": (number, 6)}, [(number, 7)]),
}
CPP = {
    "shop::Order::total": ({"this": (not_null, True), "factor": (number, 3)}, [(number, 4)]),
    "shop::charge(int)": ({"amount": (number, 1)}, [(number, 2)]),
    "shop::Order::count": ({"a": (number, 1)}, [(number, 2)]),
    "shop::largest<int>": ({"a": (number, 1), "b": (number, 7)}, [(number, 7)]),
    "shop::describe": (
        {"text": (text, "order ")},
        [(text, "order 1")],
    ),  # libstdc++'s string begins with pointer and length
    "shop::boxed": ({"value": (number, 1)}, [(not_null, True)]),
}
RUST = {
    "shapes::integers": (
        {"a": (number, -1), "b": (number, 2), "c": (number, ord("x")), "d": (number, 1), "e": (number, 1)},
        [(number, 123)],
    ),
    "shapes::texts": ({"name": (text, "h")}, [(number, 2)]),
    "shapes::run": ({"command": (not_null, True), "times": (number, 3)}, [(number, 0)]),
    "shapes::find": ({"order": (not_null, True), "id": (number, 1)}, [(not_null, True)]),
    "shapes::parse": ({"text": (text, "1")}, []),
    "Order::rename": ({"name": (text, "s")}, [(text, "s")]),
    "Order::rank": ({"level": (number, 1), "extra": (int32s, [1, 3])}, [(number, 6)]),
}
PROGRAMS_AND_TRUTHS = {
    "go": (lambda: build_go(PROGRAMS / "go_shapes"), GO),
    "go-unoptimised": (lambda: build_go(PROGRAMS / "go_shapes", "-gcflags=-N -l"), GO),
    "go-pie": (lambda: build_go(PROGRAMS / "go_shapes", "-buildmode=pie"), GO),
    "c-O0": (lambda: build_c(NATIVE / "shapes.c", "-O0"), C),
    "c-O2": (lambda: build_c(NATIVE / "shapes.c", "-O2"), C),
    "c-O2-cet": (lambda: build_c(NATIVE / "shapes.c", "-O2", "-fcf-protection"), C),
    "c++-O0": (lambda: build_c(NATIVE / "shapes.cpp", "-O0"), CPP),
    "c++-O2": (lambda: build_c(NATIVE / "shapes.cpp", "-O2"), CPP),
    "rust": (lambda: build_rust(NATIVE / "shapes.rs"), RUST),
    "rust-O": (lambda: build_rust(NATIVE / "shapes.rs", "-O"), RUST),
}
# What an optimiser may take away. Nothing else may be absent, and nothing may be wrong.
MAY_BE_ABSENT = {"rust-O"}


class Comparison:
    """Reads the values of one function at its sites, and keeps what differs."""

    def __init__(self, label: str, probe: ResolvedProbe, truth) -> None:
        self.label, self.probe = label, probe
        self.arguments, self.results = truth
        self.wrong: list[str] = []
        self.seen = {"entry": False, "return": False}

    def at_entry(self, stopped: Stopped):
        self.seen["entry"] = True
        by_name = {variable.name: variable for variable in self.probe.arguments}
        for name, (read, expected) in self.arguments.items():
            self._compare(name, by_name[name], read, expected, stopped)
        frame = stopped.registers[self.probe.entry.cfa_register.value] + self.probe.entry.cfa_displacement
        if self.probe.return_method is ReturnMethod.URETPROBE:
            return {int.from_bytes(stopped.read(frame - WORD, WORD), "little"): self.at_return}
        return {}

    def at_return(self, stopped: Stopped):
        if not self.seen["return"]:
            self.seen["return"] = True
            for index, expected in enumerate(self.results):
                if expected is not None:
                    self._compare(f"ret({index})", self.probe.results[index], *expected, stopped)
        return {}

    def _compare(self, name, variable, read, expected, stopped: Stopped) -> None:
        absent = isinstance(variable.location, Absent) or any(isinstance(p.place, Absent) for p in variable.location)
        if absent:
            if self.label not in MAY_BE_ABSENT:
                self.wrong.append(f"{self.probe.function}: {name} is absent: {variable.location}")
            return
        size = max(
            [getattr(self.probe.types[variable.type], "size", WORD), *(p.offset + p.size for p in variable.location)]
        )
        raw = stopped.value(variable, size)
        signed = (
            raw
            if len(raw) >= WORD or read is unsigned
            else raw + bytes([255 if raw[-1] & 0x80 and read is number else 0]) * (WORD - len(raw))
        )
        found = read(signed, stopped)
        if expected is not None and found != expected:
            self.wrong.append(f"{self.probe.function}: {name} is {found!r}, the program passed {expected!r}")


@pytest.mark.parametrize("label", PROGRAMS_AND_TRUTHS)
def test_every_place_holds_what_the_program_passed(label, tmp_path):
    build, truths = PROGRAMS_AND_TRUTHS[label]
    program = build()
    binaries = Binaries(tmp_path / "cache")
    comparisons = []
    addresses = {}
    for name, truth in truths.items():
        probe = binaries.resolve(str(program), name, At.ENTRY_AND_RETURN, None)
        comparison = Comparison(label, probe, truth)
        comparisons.append(comparison)
        at_both = {site.address for site in probe.returns} & {probe.entry.address}
        addresses |= {site.address: comparison.at_return for site in probe.returns}
        addresses[probe.entry.address] = comparison.at_entry
        if at_both:  # a function that is one RET
            comparison.seen["return"] = True

    run(program, addresses, ONE_THREAD)

    assert [text for comparison in comparisons for text in comparison.wrong] == []
    assert [c.probe.function for c in comparisons if not all(c.seen.values())] == []
