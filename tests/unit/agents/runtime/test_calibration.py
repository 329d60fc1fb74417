"""What a hit is charged with, from the sites of a program."""

from __future__ import annotations

import dataclasses

from agents.binaries.model import TrapClass
from agents.compiler.model import Role
from agents.runtime.calibration import TrapCosts
from tests.builders.bpf_programs import counting_program

COSTS = TrapCosts(emulated_ns=1, stepped_ns=100, returned_ns=3)


def with_classes(program, *classes: TrapClass):
    (one,) = program.programs
    sites = tuple(dataclasses.replace(site, trap_class=each) for site, each in zip(one.sites, classes, strict=True))
    return dataclasses.replace(program, programs=(dataclasses.replace(one, sites=sites),))


def test_an_entry_costs_its_trap():
    assert COSTS.per_hit_ns(with_classes(counting_program((4,)), TrapClass.EMULATED)) == 1
    assert COSTS.per_hit_ns(with_classes(counting_program((4,)), TrapClass.STEPPED)) == 100


def test_of_several_sites_the_dearest_is_charged():
    program = counting_program((4, 8, 12), role=Role.RETURN)
    assert COSTS.per_hit_ns(with_classes(program, TrapClass.EMULATED, TrapClass.STEPPED, TrapClass.NOP5)) == 100


def test_a_uretprobe_costs_its_entry_and_its_return():
    program = counting_program((4,), role=Role.RETURN, on_return=True)
    assert COSTS.per_hit_ns(with_classes(program, TrapClass.EMULATED)) == 3
    assert COSTS.per_hit_ns(with_classes(program, TrapClass.STEPPED)) == 102
