"""Keep what was resolved on disk, so that the next probe of the same function is bound in milliseconds.

In comes a key (which file, which question) and an answer, out comes the same answer or a miss. An entry is JSON, bound to
its key and to a digest of itself: one that is damaged, of another format or for another file is a miss, never an error.
Nothing that is read can run: only the classes listed here are made, from plain fields. The folder is the agent's own, 0700.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from agents import absence
from agents.binaries import model

FORMAT: Final = 8  # raised whenever a class below, or how it is found, changes its meaning
MAX_ENTRY: Final = 64 << 20  # bytes of one entry
MAX_ENTRIES: Final = 512  # of the folder: the oldest goes first, so that many binaries cannot fill the disk

_CLASSES: Final[Mapping[str, type]] = {
    cls.__name__: cls
    for cls in (
        absence.Absent, model.Integer, model.Boolean, model.Float, model.Enumeration, model.Pointer, model.Member, model.Struct,
        model.Variant, model.VariantPart, model.Array, model.String, model.Slice, model.Implementation, model.Interface,
        model.Header, model.Optional, model.MapGroups, model.Map, model.Opaque, model.InRegister, model.InMemory, model.Static, model.Constant, model.Piece, model.Variable,
        model.Site, model.EntryChoice, model.GoRuntime, model.BinaryIdentity, model.ResolvedProbe, model.FunctionSummary,
    )
}  # fmt: skip
_ENUMS: Final[Mapping[str, Callable[[str], Enum]]] = {
    cls.__name__: cls for cls in (absence.Reason, model.Language, model.Register, model.TrapClass, model.ReturnMethod)
}
_FIELDS: Final[Mapping[type, tuple[str, ...]]] = {cls: tuple(f.name for f in fields(cls)) for cls in _CLASSES.values()}


class ResolutionCache:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> object | None:
        """What was put under this key, or None."""
        with suppress(OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
            path = self._path(key)
            if path.stat().st_size > MAX_ENTRY:
                return None
            digest, _, body = path.read_bytes().partition(b"\n")
            if hashlib.sha256(body).hexdigest().encode() != digest:
                return None
            entry = json.loads(body)
            if entry["format"] != FORMAT or entry["key"] != key:
                return None
            value: object = _decoded(entry["value"])
            return value
        return None

    def put(self, key: str, value: object) -> None:
        """Keep a value. A folder that cannot be written only costs time: nothing is raised."""
        body = json.dumps({"format": FORMAT, "key": key, "value": _encoded(value)}, separators=(",", ":")).encode()
        if len(body) > MAX_ENTRY:
            return
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_room()
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=".new-")  # mode 0600
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
            Path(name).replace(self._path(key))

    def _path(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.json"

    def _make_room(self) -> None:
        entries = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in entries[: max(0, len(entries) - MAX_ENTRIES + 1)]:
            path.unlink(missing_ok=True)


def _encoded(value: object) -> Any:
    """[class name, field, ...]; enums and tuples and mappings under names that no class has."""
    if isinstance(value, Enum):
        return ["=", type(value).__name__, value.value]
    if is_dataclass(value):
        return [type(value).__name__, *(_encoded(getattr(value, name)) for name in _FIELDS[type(value)])]
    if isinstance(value, tuple):
        return ["()", *map(_encoded, value)]
    if isinstance(value, Mapping):
        return ["{}", *([_encoded(key), _encoded(each)] for key, each in value.items())]
    return value


def _decoded(value: Any) -> Any:
    if type(value) is not list:
        return value
    kind = value[0]
    if kind == "()":
        return tuple([_decoded(each) if type(each) is list else each for each in value[1:]])
    if kind == "=":
        return _ENUMS[value[1]](value[2])
    if kind == "{}":
        return {key: _decoded(each) for key, each in value[1:]}
    return _CLASSES[kind](*[_decoded(each) if type(each) is list else each for each in value[1:]])
