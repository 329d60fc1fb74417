"""The service as a whole: what is no program, what is damaged, what the cache keeps, what the list shows."""

import os
import random
import resource
import shutil
import time
from collections import Counter

import pytest
from elftools.elf.elffile import ELFFile

from agents.binaries.model import Language, Unresolved, UnresolvedReason
from agents.binaries.service import Binaries
from language.model import At
from tests.builders.programs import PROGRAMS, build_c, build_go, build_rust

MUTATIONS = 400
DAMAGED = 300 if os.environ.get("PROBEGATE_LONG") else 60  # copies of large binaries
LARGEST_ANSWER_SECONDS = 20  # a damaged file must not keep the agent busy


def refusal(binaries, path, name="main") -> Unresolved:
    with pytest.raises(Unresolved) as refused:
        binaries.resolve(str(path), name, At.ENTRY, None)
    return refused.value


def test_a_missing_file_is_said(binaries, tmp_path):
    assert refusal(binaries, tmp_path / "none").reason is UnresolvedReason.NO_FILE


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\necho\n", b"\x7fEL"])
def test_what_is_no_elf_file_is_said(binaries, tmp_path, content):
    (tmp_path / "script").write_bytes(content)

    assert refusal(binaries, tmp_path / "script").reason is UnresolvedReason.NOT_ELF


def test_a_folder_or_a_pipe_is_no_program(binaries, tmp_path):
    assert refusal(binaries, tmp_path).reason in {UnresolvedReason.NOT_ELF, UnresolvedReason.NO_FILE}
    assert refusal(binaries, "/dev/null").reason is UnresolvedReason.NOT_ELF


@pytest.mark.parametrize(("at", "value"), [(4, 1), (18, 183)])  # ELFCLASS32; EM_AARCH64
def test_another_machines_program_is_said(binaries, tmp_path, c_shapes, at, value):
    raw = bytearray(c_shapes.read_bytes())
    raw[at] = value
    (tmp_path / "other").write_bytes(raw)

    refused = refusal(binaries, tmp_path / "other")
    assert refused.reason is UnresolvedReason.WRONG_MACHINE
    assert "x86-64" in refused.detail


def test_damage_is_refused_and_never_an_error_of_another_kind(binaries, tmp_path, c_shapes):
    whole = c_shapes.read_bytes()
    debug = whole.find(b"shapes.c")
    choose = random.Random(7)
    outcomes = set()
    for number in range(MUTATIONS):
        raw = bytearray(whole)
        for _ in range(choose.choice((1, 4, 64))):
            at = choose.randrange(64) if number % 8 == 0 else choose.randrange(min(debug, len(raw)) // 2, len(raw))
            raw[at] = choose.randrange(256)
        if number % 5 == 0:
            del raw[choose.randrange(len(raw)) :]
        target = tmp_path / f"damaged-{number}"
        target.write_bytes(raw)
        started = time.monotonic()
        try:
            binaries.resolve(str(target), "two", At.ENTRY_AND_RETURN, None)
            binaries.functions(str(target), None, 10)
            outcomes.add("resolved")
        except Unresolved as refused:
            outcomes.add(refused.reason)
        assert time.monotonic() - started < LARGEST_ANSWER_SECONDS
        target.unlink()
    assert UnresolvedReason.DAMAGED in outcomes


LARGEST_ANSWER_KIB = 600 << 10  # of memory more than before: what a damaged file claims must not be believed


@pytest.mark.parametrize("program", ["maps", "shapes.cpp", "shapes.rs"])
def test_damage_anywhere_in_a_real_binary_is_refused_in_bounded_time_and_memory(binaries, tmp_path, program):
    """Headers, symbols, pclntab, debug information, types: bytes changed in what each reader reads, and files cut short."""
    source, function = {
        "maps": (lambda: build_go(PROGRAMS / "maps"), "main.small"),
        "shapes.cpp": (lambda: build_c(PROGRAMS / "native" / "shapes.cpp", "-O2"), "shop::describe"),
        "shapes.rs": (lambda: build_rust(PROGRAMS / "native" / "shapes.rs"), "shapes::texts"),
    }[program]
    whole = source().read_bytes()
    with (tmp_path / "whole").open("wb") as file:
        file.write(whole)
    with (tmp_path / "whole").open("rb") as file:
        sections = [
            s.header for s in ELFFile(file).iter_sections() if s.header.sh_type != "SHT_NOBITS" and s.header.sh_size
        ]
    choose = random.Random(program)
    outcomes = Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(DAMAGED):
        raw = bytearray(whole)
        section = choose.choice(sections)
        for _ in range(choose.choice((1, 16, 400))):
            raw[section.sh_offset + choose.randrange(section.sh_size)] = choose.choice(
                (0, 0xFF, 0x80, choose.randrange(256))
            )
        if number % 6 == 0:
            del raw[choose.randrange(len(raw)) :]
        target = tmp_path / f"damaged-{number}"
        target.write_bytes(raw)
        started = time.monotonic()
        try:
            binaries.resolve(str(target), function, At.ENTRY_AND_RETURN, None)
            if number % 10 == 0:
                binaries.functions(str(target), None, 10)
            outcomes["resolved"] += 1
        except Unresolved as refused:
            outcomes[refused.reason] += 1
        assert time.monotonic() - started < LARGEST_ANSWER_SECONDS
        target.unlink()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < LARGEST_ANSWER_KIB
    assert outcomes["resolved"] > 0
    assert outcomes.total() - outcomes["resolved"] > 2


def test_the_second_answer_comes_from_the_cache_and_is_equal(tmp_path, shop):
    """Its debug information is gone by then, and only the cache can still know it: the file's identity is the same."""
    program = tmp_path / "program"
    shutil.copy2(shop, program)
    before = program.stat()
    first = Binaries(tmp_path / "cache").resolve(str(program), "money.Sum", At.ENTRY_AND_RETURN, None)

    with program.open("r+b") as file:
        (section,) = [s for s in ELFFile(file).iter_sections() if s.name in {".debug_info", ".zdebug_info"}]
        file.seek(section["sh_offset"])
        file.write(bytes(section["sh_size"]))
    os.utime(program, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert Binaries(tmp_path / "cache").resolve(str(program), "money.Sum", At.ENTRY_AND_RETURN, None) == first
    assert refusal(Binaries(tmp_path / "another"), program, "money.Sum").reason is not None


def test_a_copy_of_a_binary_has_its_own_identity(tmp_path, binaries, c_shapes):
    copied = tmp_path / "copy"
    shutil.copy2(c_shapes, copied)

    original = binaries.resolve(str(c_shapes), "two", At.ENTRY, None)
    copy = binaries.resolve(str(copied), "two", At.ENTRY, None)

    assert copy.binary.build_id == original.binary.build_id
    assert (copy.binary.path, copy.binary.inode) == (str(copied), copied.stat().st_ino)


def test_a_binary_that_changed_is_read_again(tmp_path, binaries, c_shapes):
    target = tmp_path / "program"
    shutil.copy(c_shapes, target)
    before = binaries.resolve(str(target), "two", At.ENTRY, None)
    other = build_c(PROGRAMS / "native" / "shapes.c", "-O0")
    target.unlink()
    shutil.copy(other, target)

    assert binaries.resolve(str(target), "two", At.ENTRY, None).low_pc != before.low_pc


def test_the_list_shows_arguments_results_and_places(binaries, shop):
    (found,) = binaries.functions(str(shop), "orders.Charge", 10)

    assert found.arguments[1:] == (
        ("total", "github.com/GoogleCloudPlatform/microservices-demo/src/checkoutservice/genproto.Money"),
        ("note", "string"),
    )
    assert found.results == (("", "string"), ("", "error"))
    assert found.language is Language.GO
    assert (found.file.rsplit("/", 1)[-1], found.line) == ("orders.go", 13)


def test_the_list_takes_a_part_a_glob_and_a_limit(binaries, go_shapes):
    program = str(go_shapes)

    assert [f.name for f in binaries.functions(program, "main.un*", 10)] == ["main.unused", "main.unusedLast"]
    assert len(binaries.functions(program, "runtime.", 7)) == 7
    assert binaries.functions(program, "nothing like it", 7) == ()
    assert binaries.functions(program, None, -1) == ()


def test_the_list_names_cpp_functions_as_a_template_takes_them(binaries, cpp_shapes):
    names = [f.name for f in binaries.functions(str(cpp_shapes), "shop::", 100)]

    assert {"shop::Order::total", "shop::charge(int)", "shop::largest<int>"} <= set(names)
    for name in names:
        assert binaries.resolve(str(cpp_shapes), name, At.ENTRY, None).function.startswith("shop::")
