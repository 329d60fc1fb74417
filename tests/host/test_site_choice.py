"""The chosen site sees exactly what a probe at the function's first instruction sees, and what the program says it passed.

Every function of tests/programs/sites is traced at once by a probe where the engine chooses to stand, by one at
function+0, and by one with entry and return, during the very same calls. The programs are compiled in every way that
changes how a function begins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agents.binaries.machine import X86_64
from agents.binaries.model import Register, ResolvedProbe, Site, TrapClass
from agents.compiler.model import CaptureRequest, CompileRequest
from agents.compiler.service import compile_probe
from language.expressions import parse
from language.model import At, LimitSpec
from tests.builders.go_releases import RELEASES, toolchain
from tests.builders.programs import PROGRAMS, build_c, build_go, build_rust
from tests.builders.value_program import Seen, ValueProgram, balance

pytestmark = pytest.mark.host

SITES = PROGRAMS / "sites"
LIMITS = LimitSpec(max_string=32, max_items=8)
CET = "-fcf-protection=full"

C = {
    "leaf": "ab", "constant": "a", "empty": "a", "keeps": ("a", "text"), "calls_first": "ab", "swaps": "ab", "tail_call": "ab",
    "early": ("a", "list"), "early_twice": "abc", "loop_head": "n", "tail_recursive": ("n", "total"), "recursive": "n",
    "many": "abcdefgh", "by_value": ("w", "after"), "small_value": ("p", "after"), "returns_wide": "ab", "variadic": ("count",),
    "sized": "nb", "large_frame": "nb", "frame_only": "ab", "writes_first": "pv", "writes_through": "pvw", "narrow": "abcd",
    "text": "s", "chosen": "nb", "floats": "n", "clobbers": "abc",
}  # fmt: skip
RUST = {
    "leaf": "ab", "keeps": ("a", "text"), "early": "a", "loop_head": "n", "recursive": "n", "many": "abcdefgh",
    "by_value": ("w", "after"), "writes_first": "pv", "large_frame": "nb", "narrow": "abcd", "chosen": "nb", "calls_first": "ab",
}  # fmt: skip
GO = {
    "leaf": "ab", "keeps": ("a", "text"), "callsFirst": "ab", "early": "ap", "loopHead": "n", "recursive": "n",
    "many": "abcdefghijk", "byValue": ("w", "after"), "smallValue": ("p", "after"), "writesFirst": "pv", "middleFrame": "nb",
    "largeFrame": "nb", "hugeFrame": "nb", "narrow": "abcd", "chosen": "nb", "deferred": "ab", "recovered": "ab",
    "(*square).grown": ("s", "by"), "square.area": ("s", "scale"), "variadic": ("first", "rest"), "interfaces": "n",
    "floats": "n", "generic": "vn", "texts": "ab", "grown": "ab",
}  # fmt: skip
# Of their calls of themselves compilers make jumps, or copies of the body: only some are calls, the first one always.
SELF_CALLING = {"tail_recursive", "recursive"}
# Unoptimised code begins with `push rbp`, which is the cheapest site: nothing is gained elsewhere.
PUSH_FIRST = {"gcc-O0", "clang-O0"}
# Of what an optimiser may take away, nothing may be guessed; here it may be absent.
MAY_BE_ABSENT = {"rust-O2", "rust-O3"}

BUILDS: dict[str, tuple[Callable[[], Path], dict]] = {
    **{
        f"{'clang' if clang else 'gcc'}{level}{'-cet' * bool(flags)}": (
            lambda level=level, flags=flags, clang=clang: build_c(SITES / "sites.c", level, *flags, clang=clang),
            C,
        )
        for clang in (False, True)
        for level in ("-O0", "-O2", "-O3")
        for flags in ((), (CET,))
        if not (clang and flags and level != "-O2")
    },
    **{
        f"gcc-O1-{word}": (lambda flag=flag: build_c(SITES / "sites.c", "-O1", flag, "-fstack-protector-strong"), C)
        for word, flag in (("shrink-wrap", "-fshrink-wrap"), ("no-shrink-wrap", "-fno-shrink-wrap"))
    },
    "gcc-O2-clash-protection": (lambda: build_c(SITES / "sites.c", "-O2", "-fstack-clash-protection", "-fno-plt"), C),
    **{
        f"rust-O{level}": (lambda level=level: build_rust(SITES / "sites.rs", "-C", f"opt-level={level}"), RUST)
        for level in "023"
    },
    **{
        f"go-{release}": (lambda release=release: build_go(SITES / "go", toolchain=toolchain(release)), GO)
        for release in RELEASES
    },
    "go-unoptimised": (lambda: build_go(SITES / "go", "-gcflags=-N -l"), GO),
    "go-pie": (lambda: build_go(SITES / "go", "-buildmode=pie"), GO),
}


def qualified(resolved_name: str, functions: dict) -> str:
    if functions is not GO:
        return resolved_name
    return "main.generic[go.shape.string]" if resolved_name == "generic" else f"main.{resolved_name}"


def at_start(resolved: ResolvedProbe) -> ResolvedProbe:
    """The same function as a tracer without a choice would probe it."""
    offset = resolved.entry.offset - (resolved.entry.address - resolved.low_pc)
    start = Site(resolved.low_pc, offset, TrapClass.STEPPED, "", Register.RSP, X86_64.pushed)
    return replace(resolved, entry=start, entries=())


def request(names: tuple[str, ...], at: At, resolved: ResolvedProbe) -> CompileRequest:
    returned = ("ret(0)",) if at is At.ENTRY_AND_RETURN and resolved.results else ()
    captures = tuple(CaptureRequest(text.replace("ret(0)", "result"), parse(text)) for text in (*names, *returned))
    return CompileRequest(at, None, captures, LIMITS)


def shown(seen: Seen, columns: tuple[str, ...]) -> list[dict]:
    return [{column: row[column] for column in columns} | {"_absent": row.get("_absent", {})} for row in seen.rows]


def differences(label: str, name: str, seen: list[Seen], columns: tuple[str, ...], *, tails: bool) -> list[str]:
    chosen, start, paired = seen
    told = [call["arguments"] for call in chosen.told]
    rows, there, wrong = shown(chosen, columns), shown(start, columns), []
    if name in SELF_CALLING and rows[:1] == shown(chosen, columns)[:1]:
        told = [call for call in told if any(all(row[c] == call[c] for c in columns) for row in rows)]
    if len(rows) != len(told):
        return [f"{label} {name}: {len(rows)} rows for {len(told)} calls"]
    for row, truth in zip(rows, told, strict=True):
        for column in columns:
            if column in row["_absent"] and row[column] is None:
                wrong += [] if label in MAY_BE_ABSENT else [f"{label} {name}: {column} is {row['_absent']}"]
            elif row[column] != truth[column]:
                wrong.append(f"{label} {name}: {column} is {row[column]}, the program passed {truth[column]}")
    if name == "grown" and len(there) == len(rows):
        wrong.append(f"{label} {name}: the stack never grew, so this shows nothing")
    if label.startswith("go-"):  # where the stack grows, the first instruction runs twice
        there = [row for row, before in zip(there, [None, *there], strict=False) if row != before]
    if there != rows and not jumped_to(start, chosen):
        wrong.append(f"{label} {name}: function+0 saw {there}, the chosen site {rows}")
    return wrong + returned(label, name, paired, tails=tails)


def jumped_to(start: Seen, chosen: Seen) -> bool:
    """A loop that begins where the function does: its first instruction runs more often than it is called."""
    return len(start.rows) > len(chosen.rows)


def returned(label: str, name: str, paired: Seen, *, tails: bool) -> list[str]:
    """`tails`: calls that leave by a tail call have no return event; those that are seen belong to their entries still."""
    wrong = [] if balance(paired) else [f"{label} {name}: the counters do not add up: {paired.counters}"]
    told = [(call["arguments"], call["result"]) for call in paired.told]
    if any(result is None for _, result in told):
        return wrong
    rows = [row for row in paired.rows if "result" in row and "result" not in row.get("_absent", {})]
    left = iter(told)
    for row in rows:
        if not any(row["result"] == result and _same(row, given) for given, result in left):
            wrong.append(f"{label} {name}: {row} is no call that comes now; the program told {told}")
    if rows and len(rows) != len(told) and not tails:
        wrong.append(f"{label} {name}: {len(rows)} returns of {len(told)} calls")
    return wrong


def _same(row: dict, given: dict) -> bool:
    return all(row[column] in (value, None) for column, value in given.items() if column in row)


@pytest.mark.parametrize("label", BUILDS)
def test_the_chosen_site_sees_what_the_first_instruction_sees(label):
    build, functions = BUILDS[label]
    wrong, elsewhere = [], 0
    with ValueProgram(binary=build()) as program:
        for name, given in functions.items():
            columns = tuple(given)
            entry = program.resolve(qualified(name, functions), At.ENTRY)
            both = program.resolve(qualified(name, functions), At.ENTRY_AND_RETURN)
            here = request(columns, At.ENTRY, entry)
            probes = [(entry, here), (at_start(entry), here), (both, request(columns, At.ENTRY_AND_RETURN, both))]
            site = compile_probe(entry, here).programs[0].sites[0]
            elsewhere += site.address != entry.low_pc
            tails = any("tail call" in note for note in both.notes)
            wrong += differences(label, name, program.trace_all(name, probes), columns, tails=tails)
    assert wrong == []
    assert elsewhere >= 3 or label in PUSH_FIRST  # else this would compare sites with themselves
