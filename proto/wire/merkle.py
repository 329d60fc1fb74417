"""The Merkle tree of an append-only log (RFC 6962, section 2; RFC 9162, section 2.1): hashes in, roots and proofs out.

A log keeps a `Frontier` (the roots of its perfect subtrees, one for each bit of its size) and every node that an
append completes, so that an append and a proof both cost O(log n). Which nodes a proof needs is said first
(`*_ranges`, `cover`), so that a caller can fetch them from wherever it keeps them; no I/O happens here.
`control_plane.audit` writes with it, `wire.audit_export` and every auditor verify with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

HASH_SIZE: Final = 32  # SHA-256
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()  # RFC 6962, 2.1: MTH({}) = SHA-256()
MAX_SIZE: Final = 1 << 62  # fits a signed 64-bit column, and bounds the loops over a size that somebody claims


class BadProof(Exception):
    """A proof that does not lead from what it starts with to the root that was signed."""


class Node(NamedTuple):
    """A perfect subtree by place: it holds the leaves from number << level to (number + 1) << level."""

    level: int
    number: int


class Range(NamedTuple):
    """The leaves from `start` up to, not including, `end`."""

    start: int
    end: int


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True)
class Frontier:
    """All that an append needs of a tree: its size, and the roots of its perfect subtrees, largest first."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE or len(self.peaks) != self.size.bit_count():
            raise ValueError(f"a tree of {self.size} leaves has {self.size.bit_count()} peaks, not {len(self.peaks)}")

    def append(self, leaf: bytes) -> tuple[Frontier, tuple[tuple[Node, bytes], ...]]:
        """The tree with one more leaf hash, and the nodes above the leaves that it completed, lowest first."""
        peaks = list(self.peaks)
        completed = []
        root, level, rest = leaf, 0, self.size
        while rest & 1:
            root = node_hash(peaks.pop(), root)
            level += 1
            rest >>= 1
            completed.append((Node(level, self.size >> level), root))
        return Frontier(self.size + 1, (*peaks, root)), tuple(completed)

    def root(self) -> bytes:
        return _fold(self.peaks) if self.peaks else EMPTY_ROOT

    def to_bytes(self) -> bytes:
        """The peaks one after the other; the size is kept beside them."""
        return b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, size: int, peaks: bytes) -> Frontier:
        """Raises ValueError when the bytes are not the peaks of a tree of that size."""
        if len(peaks) % HASH_SIZE:
            raise ValueError(f"{len(peaks)} bytes are no whole number of {HASH_SIZE}-byte hashes")
        return cls(size, tuple(peaks[at : at + HASH_SIZE] for at in range(0, len(peaks), HASH_SIZE)))


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier, _ = frontier.append(leaf)
    return frontier.root()


def cover(of: Range) -> tuple[Node, ...]:
    """The perfect subtrees whose hashes make the hash of a range that a proof names, left to right.

    The range is a subtree of some tree: it starts at a multiple of the smallest power of two that covers it.
    """
    nodes = []
    start, left = of.start, of.end - of.start
    while left:
        level = left.bit_length() - 1
        nodes.append(Node(level, start >> level))
        start += 1 << level
        left -= 1 << level
    return tuple(nodes)


def range_hash(of: Range, node: Callable[[Node], bytes]) -> bytes:
    """The hash of a subtree, given the hashes of the perfect ones that `cover` names."""
    return _fold([node(part) for part in cover(of)]) if of.end > of.start else EMPTY_ROOT


def inclusion_ranges(index: int, size: int) -> tuple[Range, ...]:
    """The subtrees whose hashes prove the leaf at `index` in a tree of `size`, leaf to root: PATH of RFC 6962, 2.1.1."""
    if not 0 <= index < size <= MAX_SIZE:
        raise ValueError(f"a tree of {size} entries has no entry {index}")
    ranges = []
    start, end = 0, size
    while end - start > 1:
        split = start + _largest_power_below(end - start)
        if index < split:
            ranges.append(Range(split, end))
            end = split
        else:
            ranges.append(Range(start, split))
            start = split
    return tuple(reversed(ranges))


def consistency_ranges(old: int, new: int) -> tuple[Range, ...]:
    """The subtrees that prove a tree of `old` to be the beginning of one of `new`: PROOF of RFC 6962, 2.1.2."""
    if not 0 <= old <= new <= MAX_SIZE:
        raise ValueError(f"a tree of {old} entries cannot be the beginning of one of {new}")
    if old in {0, new}:
        return ()
    ranges = []
    start, end, whole = 0, new, True  # whole: the subtree at hand is the old tree itself, whose root the verifier has
    while old != end:
        split = start + _largest_power_below(end - start)
        if old <= split:
            ranges.append(Range(split, end))
            end = split
        else:
            ranges.append(Range(start, split))
            start, whole = split, False
    if not whole:
        ranges.append(Range(start, end))
    return tuple(reversed(ranges))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """RFC 9162, 2.1.3.2. Raises BadProof unless the leaf hash stands at `index` of the tree of `size` under `root`."""
    if not 0 <= index < size <= MAX_SIZE:
        raise BadProof(f"a tree of {size} entries has no entry {index}")
    position, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise BadProof(f"the proof is too long: {len(proof)} hashes for entry {index} of {size}")
        if position & 1 or position == last:
            found = node_hash(sibling, found)
            while position and not position & 1:  # the last node of a level without a sibling moves up as it is
                position >>= 1
                last >>= 1
        else:
            found = node_hash(found, sibling)
        position >>= 1
        last >>= 1
    if last != 0:
        raise BadProof(f"the proof is too short: {len(proof)} hashes for entry {index} of {size}")
    if found != root:
        raise BadProof(f"entry {index} is not in the tree of {size} entries with root {root.hex()}")


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """RFC 9162, 2.1.4.2. Raises BadProof unless the tree of `old` entries is the beginning of the tree of `new`."""
    if not 0 <= old <= new <= MAX_SIZE:
        raise BadProof(f"a tree of {old} entries cannot be the beginning of one of {new}")
    if old in {0, new}:
        expected = EMPTY_ROOT if old == 0 else new_root
        if proof or old_root != expected:
            raise BadProof(f"the trees of {old} and {new} entries do not agree")
        return
    path = list(proof)
    if old & (old - 1) == 0:  # a perfect old tree is its own first node
        path.insert(0, old_root)
    if not path:
        raise BadProof("the proof is empty")
    position, last = old - 1, new - 1
    while position & 1:
        position >>= 1
        last >>= 1
    found_old = found_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise BadProof(f"the proof is too long: {len(proof)} hashes from {old} to {new}")
        if position & 1 or position == last:
            found_old = node_hash(sibling, found_old)
            found_new = node_hash(sibling, found_new)
            while position and not position & 1:
                position >>= 1
                last >>= 1
        else:
            found_new = node_hash(found_new, sibling)
        position >>= 1
        last >>= 1
    if last != 0:
        raise BadProof(f"the proof is too short: {len(proof)} hashes from {old} to {new}")
    if found_old != old_root or found_new != new_root:
        raise BadProof(f"the tree of {old} entries is not the beginning of the tree of {new}: history was changed")


def _fold(parts: Sequence[bytes]) -> bytes:
    """Join perfect subtrees, largest first, from the right: the shape that the recursive definition gives."""
    found = parts[-1]
    for part in reversed(parts[:-1]):
        found = node_hash(part, found)
    return found


def _largest_power_below(size: int) -> int:
    """The largest power of two smaller than `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)
