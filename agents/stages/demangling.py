"""What a linker's name was in its source: C++ and older Rust through the C++ runtime's own demangler.

The names come out of the traced file: whoever built it may have made them up, hence the bound. Names of other languages
are their own; Rust's newer scheme (`_R…`) stays as it is.
"""

from __future__ import annotations

import ctypes
import re
from functools import lru_cache
from typing import Any, Final

MAX_MANGLED: Final = 1024  # bytes; the demangler recurses
_RUST_HASH: Final = re.compile(r"::h[0-9a-f]{16}$")
_RUST_ESCAPES: Final = {
    "$LT$": "<",
    "$GT$": ">",
    "$RF$": "&",
    "$BP$": "*",
    "$C$": ",",
    "$u20$": " ",
    "$LP$": "(",
    "$RP$": ")",
}
_RUST_ESCAPES_IN_NAME: Final = re.compile("|".join(map(re.escape, _RUST_ESCAPES)))


@lru_cache(maxsize=4096)  # functions on the stacks of some probes
def demangled(name: str) -> str:
    """The name itself when it is not mangled, or nobody here can tell."""
    if not name.startswith("_Z") or len(name) > MAX_MANGLED or (demangle := _demangler()) is None:
        return name
    status = ctypes.c_int()
    found = demangle(name.encode(), None, None, ctypes.byref(status))
    if not found:
        return name
    try:
        text = (ctypes.string_at(found)).decode("utf-8", "replace")
    finally:
        _libc().free(ctypes.c_void_p(found))
    return _as_rust(text) if _RUST_HASH.search(text) else text


def _as_rust(text: str) -> str:
    """`core::ptr::drop_in_place$LT$alloc..string..String$GT$::h0123456789abcdef` -> as its source spells it."""
    plain = _RUST_ESCAPES_IN_NAME.sub(lambda found: _RUST_ESCAPES[found[0]], _RUST_HASH.sub("", text))
    return plain.replace("..", "::").replace("::_<", "::<").removeprefix("_")


@lru_cache(maxsize=1)
def _demangler() -> Any:
    """`__cxa_demangle` of the Itanium C++ ABI; what it returns is to be freed."""
    try:
        demangle: Any = ctypes.CDLL("libstdc++.so.6")["__cxa_demangle"]
    except (OSError, AttributeError):
        return None  # then names stay mangled
    demangle.restype = ctypes.c_void_p
    demangle.argtypes = (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    return demangle


@lru_cache(maxsize=1)
def _libc() -> Any:
    return ctypes.CDLL(None)
