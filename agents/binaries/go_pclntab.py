"""Read the names of Go's functions from .gopclntab, which `strip` and `-ldflags=-s -w` leave in place.

In come the section's bytes, out come names: enough to tell "no such function" from "no debug information"
(Go's runtime/symtab.go, `pcHeader` and `funcnametab`; the layout since Go 1.18). Addresses are not taken from it.
"""

from __future__ import annotations

from typing import Final

MAGICS: Final = frozenset({0xFFFFFFF0, 0xFFFFFFF1})  # Go 1.18 and 1.20
MAX_NAMES: Final = 64 << 20  # bytes of names; Kubernetes' kubelet has 6 MB


def function_names(section: bytes) -> tuple[str, ...]:
    """Every function's name, inlined ones included; empty when the format is unknown."""
    if len(section) < 72 or int.from_bytes(section[:4], "little") not in MAGICS or section[7] != 8:
        return ()
    # magic u32, 0 u8, 0 u8, minLC u8, ptrSize u8, nfunc, nfiles, textStart, funcnameOffset, cuOffset, ... (8 bytes each)
    names, units = (int.from_bytes(section[at : at + 8], "little") for at in (32, 40))
    if not 0 < names < units <= len(section) or units - names > MAX_NAMES:
        return ()
    return tuple(dict.fromkeys(filter(None, section[names:units].decode("utf-8", "replace").split("\0"))))
