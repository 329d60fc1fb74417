"""Where the entry is probed: cheaper than the first instruction where what the plan reads is still there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.binaries.model import EntryChoice, InMemory, Language, Register, Site, TrapClass
from agents.compiler.model import Role
from agents.compiler.service import compile_probe, dump
from language.model import At
from tests.builders.compiler_types import request, shop_probe

START = Site(0x1000, 0x1000, TrapClass.STEPPED, "sub rsp, 0x18", Register.RSP, 8)


def choice(address: int, *changed: Register, stored=False, moved=0, trap=TrapClass.EMULATED) -> EntryChoice:
    site = Site(address, address, trap, "call 0x2000", Register.RSP, 8 + moved)
    return EntryChoice(site, changed, stored, moved)


def entry_of(captures, *choices, where=None, at=At.ENTRY, language=Language.C):
    resolved = replace(shop_probe(language=language), entry=START, entries=choices)
    program = compile_probe(resolved, request(captures, where=where, at=at))
    return program.programs[-1].sites[0].address


def test_the_cheapest_place_is_taken_where_nothing_that_is_read_has_changed():
    assert entry_of({"n": "n"}, choice(0x1010, Register.RAX)) == 0x1010


@pytest.mark.parametrize("captures", [{"n": "n"}, {"t": "tid()"}])
def test_a_register_that_changed_matters_only_to_who_reads_it(captures):
    expected = 0x1000 if "n" in captures else 0x1010  # n is in rdi
    assert entry_of(captures, choice(0x1010, Register.RDI)) == expected


@pytest.mark.parametrize(
    ("captures", "expected"),
    [({"n": "n"}, 0x1010), ({"o": "o.Total"}, 0x1000), ({"text": "text"}, 0x1000), ({"c": "c.Cvv"}, 0x1000), ({"g": "global.Total"}, 0x1000)],
)  # fmt: skip
def test_a_store_matters_to_who_reads_memory(captures, expected):
    assert entry_of(captures, choice(0x1010, stored=True)) == expected


@pytest.mark.parametrize(
    ("where", "expected"), [("n > 3", 0x1000), ('name == "x"', 0x1010), ("u > 3", 0x1010), ("u > 3 and not n == 1", 0x1000)]
)  # fmt: skip
def test_what_the_predicate_reads_counts(where, expected):
    assert entry_of({"t": "tid()"}, choice(0x1010, Register.RDI), where=where) == expected


@pytest.mark.parametrize("where", ['name == "x"', "o.Total == 1", "o.Card == None", "name == o.Email"])
def test_a_predicate_that_reads_memory_stays_before_a_store(where):
    assert entry_of({"t": "tid()"}, choice(0x1010, stored=True), where=where) == 0x1000


def test_places_on_the_stack_are_expressed_where_the_stack_pointer_is():
    resolved = replace(shop_probe(language=Language.C), entry=START, entries=(choice(0x1010, moved=0x18),))
    text = "\n".join(dump(resolved, request({"cvv": "c.Cvv"})))
    (before,) = (p.place for v in resolved.arguments if v.name == "c" for p in v.location)
    assert before == InMemory(Register.RSP, 16)
    assert f"displacement={16 + 0x18 + 16}" in text  # Cvv is 16 bytes into c
    assert "== sites\nentry: 0x1010 call 0x2000 (emulated)" in text


def test_a_uretprobe_needs_the_return_address_on_top():
    captures = {"n": "n", "t": "total"}
    moved, still = choice(0x1010, moved=0x18), choice(0x1014)
    assert entry_of(captures, moved, still, at=At.ENTRY_AND_RETURN) == 0x1014
    assert entry_of({"n": "n"}, moved, still) == 0x1010
    assert entry_of(captures, moved, at=At.ENTRY_AND_RETURN, language=Language.GO) == 0x1010


def test_a_chain_of_frames_begins_where_the_frame_pointer_is_the_callers():
    assert entry_of({"stack": "stack()"}, choice(0x1010, Register.RBP)) == 0x1000


def test_in_go_the_goroutine_must_still_be_in_its_register():
    assert entry_of({"n": "n"}, choice(0x1010, Register.R14), language=Language.GO) == 0x1000


def test_a_place_that_is_no_cheaper_is_not_worth_a_move():
    assert entry_of({"n": "n"}, choice(0x1004, trap=TrapClass.STEPPED)) == 0x1000


def test_a_return_alone_does_not_mind_what_the_entry_changed():
    resolved = replace(
        shop_probe(language=Language.C), entry=START, entries=(choice(0x1010, Register.RDI, stored=True),)
    )
    (one,) = compile_probe(resolved, request({"t": "total"}, at=At.RETURN)).programs
    assert (one.role, one.sites[0].address) == (Role.RETURN, 0x1010)
