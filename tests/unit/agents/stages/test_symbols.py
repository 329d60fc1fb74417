"""An address of a stack gets the name of what is mapped there, or the file's build-id and the place in it, never a guess."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.binaries.elf_image import opened
from agents.binaries.function_names import symbol_functions
from agents.processes.model import Process
from agents.stages.demangling import MAX_MANGLED, demangled
from agents.stages.symbols import StackSymbols
from tests.builders.traced import Counted, counted_binary


class Bound:
    """As much of a BoundFile as symbols need."""

    def __init__(self, process: Process) -> None:
        self.processes = ((process, 0),)


@pytest.fixture(scope="module")
def running() -> Iterator[Counted]:
    with Counted(counted_binary()) as program:
        yield program


def symbols(program: Counted) -> StackSymbols:
    return StackSymbols(Bound(program.process()))


def mapped_at(pid: int, name: str) -> int:
    """Where the first byte of a file is mapped."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return next(int(line.split("-")[0], 16) for line in lines if name in line and line.split()[2] == "00000000")


def address_of(file: str, function: str) -> int:
    with opened(file) as image:
        return next(each.address for each in symbol_functions(image) if each.name == function)


def libc(pid: int) -> str:
    return next(line.split()[5] for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "libc.so" in line)


def test_a_function_of_the_executable_has_its_name(running):
    _, bias = running.target()
    at = address_of(str(running.binary), "probed") + bias
    assert symbols(running)(running.pid, at + 5) == "probed+0x5"


def test_the_return_address_after_a_call_at_the_very_end_belongs_to_the_caller(running):
    with opened(str(running.binary)) as image:
        twice = next(each for each in symbol_functions(image) if each.name == "twice")
    _, bias = running.target()
    assert symbols(running)(running.pid, twice.address + twice.size + bias) == f"twice+{twice.size:#x}"


def test_a_function_of_a_shared_library_has_its_name(running):
    library = libc(running.pid)
    at = mapped_at(running.pid, library) + address_of(library, "fgets")
    assert symbols(running)(running.pid, at + 7) == "fgets+0x7"


def test_without_a_symbol_the_build_id_and_the_place_stay(tmp_path):
    stripped = tmp_path / "without-names"
    shutil.copy(counted_binary(), stripped)
    at = address_of(str(stripped), "probed")
    subprocess.run(["strip", str(stripped)], check=True)
    with opened(str(stripped)) as image:
        build_id = image.identity.build_id
    with Counted(stripped) as program:
        _, bias = program.target()
        assert symbols(program)(program.pid, at + bias + 5) == f"without-names[{build_id}]+{at + 5:#x}"


def test_what_no_file_stands_behind_has_no_name(running):
    assert symbols(running)(running.pid, 0x1234) is None
    assert symbols(running)(running.pid + 1, 0x1234) is None


def test_names_stay_known_after_the_process_has_ended():
    with Counted(counted_binary()) as program:
        named, (_, bias) = symbols(program), program.target()
        at = address_of(str(program.binary), "probed") + bias
        named(program.pid, at + 5)
        pid = program.pid
    assert named(pid, at + 6) == "probed+0x6"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("main.placeOrder", "main.placeOrder"),
        ("_ZN4shop5Order5placeERKSsi", "shop::Order::place(std::string const&, int)"),
        ("_ZN4shop6ledger4post17h0123456789abcdefE", "shop::ledger::post"),
        (
            "_ZN4core3ptr42drop_in_place$LT$alloc..string..String$GT$17h0123456789abcdefE",
            "core::ptr::drop_in_place<alloc::string::String>",
        ),
        ("_Znonsense", "_Znonsense"),
        ("_Z" + "9" * MAX_MANGLED, "_Z" + "9" * MAX_MANGLED),
    ],
)
def test_a_linkers_name_is_shown_as_its_source_spells_it(name, shown):
    assert demangled(name) == shown
