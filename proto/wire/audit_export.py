"""Verify an exported audit log with nothing but the export and a public key: lines in, a report out; no network.

The leaf hash that the log kept beside an entry tells which entry was altered; when somebody altered both, the
checkpoints signed in between narrow it down. Integrity (what is here is what was signed) and completeness (nothing
was cut off or rewritten since a checkpoint that somebody else kept) are two verdicts. `wire.audit_lines` has the
form; `control_plane.audit` writes exports, `probegate audit verify` shows the report.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from wire import audit_lines, dsse, merkle
from wire import checkpoint as notes
from wire.audit_lines import Header, Unreadable
from wire.checkpoint import BadCheckpoint, Checkpoint

MAX_PROBLEMS: Final = 100  # listed, for people to read; all are counted


class ProblemKind(StrEnum):
    FORMAT = "format"  # it cannot be read
    SIGNATURE = "signature"  # a checkpoint is not signed by the given key
    ALTERED = "altered"  # the bytes of this entry are not those that were logged
    MISSING = "missing"  # entries are not there
    EXTRA = "extra"  # entries that nobody signed, or that stand here twice
    ROOT = "root"  # the entries up to a checkpoint are not those that it signed
    REWRITTEN = "rewritten"  # a checkpoint kept elsewhere contradicts this log


@dataclass(frozen=True)
class Problem:
    kind: ProblemKind
    index: int | None  # of the entry, or the first of several; None: of the export as a whole
    detail: str


@dataclass(frozen=True)
class ExportReport:
    """What was found. Two verdicts: `intact`, and `complete`, which is None when no checkpoint from outside was given."""

    tenant: str
    first: int
    entries: int
    checkpoint: Checkpoint | None  # the newest one in the export
    key_id: str
    problems: tuple[Problem, ...]
    problem_count: int
    warnings: tuple[str, ...]
    complete: bool | None

    @property
    def intact(self) -> bool:
        return self.problem_count == 0


def verify_export(lines: Iterable[bytes], key: Ed25519PublicKey, known: Sequence[str] = ()) -> ExportReport:
    """Check every entry, every checkpoint in the export, and the checkpoints `known` from elsewhere.

    Never raises for what the export holds: everything wrong is a problem in the report.
    """
    found = _Findings()
    source = iter(lines)
    try:
        header = audit_lines.read_header(next(source, b""))
    except Unreadable as error:
        found.add(ProblemKind.FORMAT, None, str(error))
        return _report(found, Header("", 0, merkle.Frontier(), ()), 0, None, key, complete=None)
    inside = _open_all(header.checkpoints, key, header.tenant, found)
    outside = _open_all(known, key, header.tenant, found)
    walk = _Walk(header, frozenset(point.size for point in (*inside, *outside)), found)
    for number, line in enumerate(source, start=2):
        if line.strip():
            walk.step(number, line)
    last = inside[-1] if inside else None
    if last is None:
        found.add(
            ProblemKind.SIGNATURE, None, "no checkpoint in the export is signed by the given key: nothing is proved"
        )
    else:
        _check_extent(header, last, walk.size, found)
    _check_roots(header.first, inside, walk, found, ProblemKind.ROOT)
    _check_roots(header.first, outside, walk, found, ProblemKind.REWRITTEN)
    complete = _completeness(outside, header.first, walk, found) if known else None
    return _report(found, header, walk.size - header.first, last, key, complete=complete)


class _Findings:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.count = 0
        self.warnings: list[str] = []

    def add(self, kind: ProblemKind, index: int | None, detail: str) -> None:
        self.count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(kind, index, detail))

    def warn(self, text: str) -> None:
        if len(self.warnings) < MAX_PROBLEMS:
            self.warnings.append(text)


class _Walk:
    """Rebuilds the tree twice: over the entries' bytes, and over the leaf hashes that were kept beside them."""

    def __init__(self, header: Header, wanted: frozenset[int], found: _Findings) -> None:
        self.size = header.first  # the index at which the next entry belongs
        self.gapless = True
        self.altered = False
        self.roots: dict[int, bytes] = {}  # size -> root over the bytes, while no entry was missing
        self.kept_roots: dict[int, bytes] = {}
        self._tree = self._kept = header.frontier
        self._wanted = wanted
        self._found = found
        self._time: datetime | None = None
        self._note_roots()

    def step(self, number: int, line: bytes) -> None:
        try:
            kept, entry = audit_lines.read_line(line)
        except Unreadable as error:
            self._broken(f"line {number}: {error}")
            return
        leaf = merkle.leaf_hash(entry)
        if kept != leaf:
            self.altered = True
            detail = f"entry {self.size} was altered: its bytes do not have the hash that was kept when it was written"
            self._found.add(ProblemKind.ALTERED, self.size, detail)
        elif not self._in_order(number, entry):
            return
        self._tree, _ = self._tree.append(leaf)
        self._kept, _ = self._kept.append(kept)
        self.size += 1
        self._note_roots()

    def _in_order(self, number: int, entry: bytes) -> bool:
        """Compare the entry's own index and time with its place; whether it belongs to the tree."""
        try:
            index, time = audit_lines.read_entry(entry)
        except Unreadable as error:
            self._broken(f"line {number}: {error}")
            return False
        if index < self.size:
            detail = f"line {number}: entry {index} stands where entry {self.size} belongs: twice, or out of order"
            self._found.add(ProblemKind.EXTRA, index, detail)
            return False
        if index > self.size:
            self._found.add(ProblemKind.MISSING, self.size, _missing(self.size, index - 1))
            self.gapless = False
            self.size = index
        if time and self._time and time < self._time:
            self._found.warn(f"entry {index} is dated before the one in front of it: a clock went backwards")
        self._time = time or self._time
        return True

    def _broken(self, detail: str) -> None:
        self._found.add(ProblemKind.FORMAT, self.size, f"{detail} (entry {self.size})")
        self.gapless = False
        self.size += 1

    def _note_roots(self) -> None:
        if self.gapless and self.size in self._wanted:
            self.roots[self.size] = self._tree.root()
            self.kept_roots[self.size] = self._kept.root()


def _check_roots(first: int, points: Sequence[Checkpoint], walk: _Walk, found: _Findings, kind: ProblemKind) -> None:
    """The first checkpoint that does not fit, and so between which entries the log was changed."""
    good = first
    for point in points:
        root = walk.roots.get(point.size)
        if root is None:
            continue  # beyond a gap
        if root == point.root or (walk.altered and walk.kept_roots[point.size] == point.root):
            good = point.size  # in the second case the altered entries that were named explain all of it
            continue
        what = (
            f"entry {good} is"
            if point.size == good + 1
            else f"one or more of the entries {good} to {point.size - 1} are"
        )
        whose = "the export's own checkpoint" if kind is ProblemKind.ROOT else "a checkpoint kept elsewhere"
        detail = f"{what} not what was signed: {whose} at {point.size} has root {point.root.hex()}, not {root.hex()}"
        found.add(kind, good, detail)
        return  # every later one differs as well


def _check_extent(header: Header, last: Checkpoint, size: int, found: _Findings) -> None:
    if size < last.size:
        found.add(ProblemKind.MISSING, size, _missing(size, last.size - 1) + ": the end was cut off")
    elif size > max(last.size, header.first):
        detail = f"entries {last.size} to {size - 1} stand under no signed checkpoint"
        found.add(ProblemKind.EXTRA, last.size, detail)


def _completeness(outside: Sequence[Checkpoint], first: int, walk: _Walk, found: _Findings) -> bool:
    """Whether every checkpoint kept elsewhere is of a beginning of this log."""
    complete = bool(outside)
    for point in outside:
        if point.size > walk.size:
            detail = (
                f"a checkpoint kept elsewhere is of {point.size} entries, this export ends after {walk.size}: "
                "entries were removed, or the export is older than the checkpoint"
            )
            found.add(ProblemKind.REWRITTEN, walk.size, detail)
        elif point.size < first:
            found.warn(f"the checkpoint at {point.size} cannot be compared: this export begins at entry {first}")
        complete = complete and walk.roots.get(point.size) == point.root
    return complete


def _open_all(texts: Sequence[str], key: Ed25519PublicKey, tenant: str, found: _Findings) -> tuple[Checkpoint, ...]:
    """The checkpoints that the key signed for this log, smallest first; the others are problems."""
    points = []
    for text in texts:
        try:
            point = notes.open_checkpoint(text, key)
        except BadCheckpoint as error:
            found.add(ProblemKind.SIGNATURE, None, str(error))
            continue
        if point.origin == notes.origin_of(tenant):
            points.append(point)
        else:
            detail = f"a checkpoint is of {point.origin}, the log is {notes.origin_of(tenant)}"
            found.add(ProblemKind.SIGNATURE, None, detail)
    return tuple(sorted(points, key=lambda point: point.size))


def _report(
    found: _Findings,
    header: Header,
    entries: int,
    last: Checkpoint | None,
    key: Ed25519PublicKey,
    *,
    complete: bool | None,
) -> ExportReport:
    return ExportReport(
        tenant=header.tenant,
        first=header.first,
        entries=entries,
        checkpoint=last,
        key_id=dsse.key_id(key),
        problems=tuple(found.problems),
        problem_count=found.count,
        warnings=tuple(found.warnings),
        complete=complete,
    )


def _missing(first: int, last: int) -> str:
    return f"entry {first} is missing" if first == last else f"entries {first} to {last} are missing"
