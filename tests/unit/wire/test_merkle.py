"""The incremental tree and its proofs against the recursive definition of RFC 6962, section 2.1."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire import merkle
from wire.merkle import BadProof, Frontier, Node, Range

# The tree that Certificate Transparency implementations test with (RFC 6962's reference code, merkletree tests).
REFERENCE_ENTRIES = [
    b"",
    bytes.fromhex("00"),
    bytes.fromhex("10"),
    bytes.fromhex("2021"),
    bytes.fromhex("3031"),
    bytes.fromhex("40414243"),
    bytes.fromhex("5051525354555657"),
    bytes.fromhex("606162636465666768696a6b6c6d6e6f"),
]
REFERENCE_ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}

sizes = st.integers(1, 130)


def definition(leaves: list[bytes]) -> bytes:
    """MTH, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return merkle.node_hash(definition(leaves[:split]), definition(leaves[split:]))


def leaves_of(size: int) -> list[bytes]:
    return [merkle.leaf_hash(b"entry %d" % index) for index in range(size)]


def proof_of(leaves: list[bytes], ranges: tuple[Range, ...]) -> list[bytes]:
    return [definition(leaves[part.start : part.end]) for part in ranges]


@pytest.mark.parametrize("size", REFERENCE_ROOTS)
def test_the_root_is_the_one_of_the_reference_implementation(size: int) -> None:
    leaves = [merkle.leaf_hash(entry) for entry in REFERENCE_ENTRIES[:size]]
    assert merkle.root_of(leaves).hex() == REFERENCE_ROOTS[size]


def test_an_empty_log_has_the_hash_of_nothing() -> None:
    assert merkle.root_of([]) == hashlib.sha256(b"").digest()


@given(sizes)
def test_the_incremental_root_equals_the_definition(size: int) -> None:
    leaves = leaves_of(size)
    assert merkle.root_of(leaves) == definition(leaves)


@given(sizes)
def test_the_nodes_that_appends_complete_are_all_perfect_subtrees_once(size: int) -> None:
    leaves, frontier, nodes = leaves_of(size), Frontier(), {}
    for leaf in leaves:
        frontier, completed = frontier.append(leaf)
        for node, value in completed:
            assert node not in nodes
            nodes[node] = value
    expected = {Node(level, index) for level in range(1, 8) for index in range(size >> level)}
    assert set(nodes) == expected
    for node, value in nodes.items():
        assert value == definition(leaves[node.number << node.level : (node.number + 1) << node.level])


@given(sizes)
def test_a_frontier_survives_being_stored(size: int) -> None:
    frontier = Frontier()
    for leaf in leaves_of(size):
        frontier, _ = frontier.append(leaf)
    assert Frontier.from_bytes(size, frontier.to_bytes()) == frontier


def test_a_frontier_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match="has 2 peaks, not 1"):
        Frontier.from_bytes(3, bytes(32))


@given(st.data())
def test_a_range_of_a_proof_is_made_of_the_perfect_subtrees_that_cover_it(data: st.DataObject) -> None:
    size = data.draw(sizes)
    leaves = leaves_of(size)
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(0, size))
    for part in (*merkle.inclusion_ranges(index, size), *merkle.consistency_ranges(old, size), Range(0, old)):
        found = merkle.range_hash(
            part, lambda node: definition(leaves[node.number << node.level : (node.number + 1) << node.level])
        )
        assert found == definition(leaves[part.start : part.end])


@given(st.data())
def test_every_entry_can_be_proved(data: st.DataObject) -> None:
    size = data.draw(sizes)
    index = data.draw(st.integers(0, size - 1))
    leaves = leaves_of(size)
    proof = proof_of(leaves, merkle.inclusion_ranges(index, size))
    assert len(proof) <= (size - 1).bit_length()
    merkle.verify_inclusion(leaves[index], index, size, proof, definition(leaves))


@given(st.data())
def test_an_inclusion_proof_proves_nothing_else(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 130))
    index = data.draw(st.integers(0, size - 1))
    leaves = leaves_of(size)
    proof, root = proof_of(leaves, merkle.inclusion_ranges(index, size)), definition(leaves)
    other = data.draw(st.integers(0, size - 1).filter(lambda value: value != index))
    at = data.draw(st.integers(0, len(proof) - 1))
    flipped = [*proof]
    flipped[at] = bytes([flipped[at][0] ^ 1]) + flipped[at][1:]
    for attempt in (
        (leaves[other], index, size, proof, root),
        (leaves[index], other, size, proof, root),
        (leaves[index], index, size, flipped, root),
        (leaves[index], index, size, proof[:-1], root),
        (leaves[index], index, size, [*proof, bytes(32)], root),
        (leaves[index], index, size, proof, merkle.EMPTY_ROOT),
        (leaves[index], size, size, proof, root),
    ):
        with pytest.raises(BadProof):
            merkle.verify_inclusion(*attempt)


@given(st.data())
@settings(max_examples=200)
def test_every_earlier_tree_is_proved_to_be_a_beginning(data: st.DataObject) -> None:
    new = data.draw(sizes)
    old = data.draw(st.integers(0, new))
    leaves = leaves_of(new)
    proof = proof_of(leaves, merkle.consistency_ranges(old, new))
    merkle.verify_consistency(old, definition(leaves[:old]), new, definition(leaves), proof)


@given(st.data())
def test_a_changed_history_has_no_consistency_proof(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, 130))
    old = data.draw(st.integers(1, new))
    leaves = leaves_of(new)
    changed = [*leaves]
    changed[data.draw(st.integers(0, old - 1))] = merkle.leaf_hash(b"something else")
    proof = proof_of(changed, merkle.consistency_ranges(old, new))
    with pytest.raises(BadProof):
        merkle.verify_consistency(old, definition(leaves[:old]), new, definition(changed), proof)


@given(st.data())
def test_a_consistency_proof_of_another_shape_is_refused(data: st.DataObject) -> None:
    new = data.draw(st.integers(3, 130))
    old = data.draw(st.integers(1, new - 1))
    leaves = leaves_of(new)
    old_root, new_root = definition(leaves[:old]), definition(leaves)
    proof = proof_of(leaves, merkle.consistency_ranges(old, new))
    for attempt in (proof[:-1], [*proof, bytes(32)], []):
        with pytest.raises(BadProof):
            merkle.verify_consistency(old, old_root, new, new_root, attempt)


def test_a_tree_of_absurd_size_is_refused_before_any_work() -> None:
    with pytest.raises(BadProof):
        merkle.verify_inclusion(bytes(32), 0, 1 << 70, [], bytes(32))
    with pytest.raises(ValueError, match="no entry"):
        merkle.inclusion_ranges(0, 1 << 70)
