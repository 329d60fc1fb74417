"""Absence has a reason: why a value cannot be had, in words that reach the row, `explain` and the reviewer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Stable words; they stand in `_absent` of a row and in `explain -o json`."""

    IN_VECTOR_REGISTER = "in_vector_register"  # pt_regs has no xmm: a float passed in one cannot be read
    OPTIMISED_OUT = "optimised_out"  # the compiler kept no copy at this address
    NO_LOCATION = "no_location"  # debug information names the variable but not where it is
    UNSUPPORTED_LOCATION = "unsupported_location"  # a DWARF expression outside the supported operations
    UNSUPPORTED_TYPE = "unsupported_type"
    NOT_RESIDENT = "not_resident"  # the page was not in memory and could not be faulted in
    BAD_ADDRESS = "bad_address"  # the pointer does not point into mapped memory
    NIL_POINTER = "nil_pointer"  # a field was asked for behind a pointer that is nil
    OUT_OF_RANGE = "out_of_range"  # x[i] with i >= len(x)
    LENGTH_UNKNOWN = "length_unknown"  # a C string whose end was not found: how much would be cut cannot be said
    DEPTH = "depth"  # deeper than limits.maxDepth
    DROPPED = "dropped"  # policy says never to read it
    NO_SYMBOL = "no_symbol"


@dataclass(frozen=True)
class Absent:
    """A value that is not there, and why. `detail` is for a person."""

    reason: Reason
    detail: str = ""
