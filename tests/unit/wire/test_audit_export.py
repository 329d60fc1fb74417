"""Every change of an export is found, and named as exactly as the export allows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from wire import audit_lines, merkle
from wire.audit_export import ExportReport, ProblemKind, verify_export
from wire.checkpoint import Checkpoint, sign

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
START = datetime(2026, 11, 24, tzinfo=UTC)


def entry(index: int, text: str = "", *, seconds: int | None = None) -> bytes:
    time = START + timedelta(seconds=index if seconds is None else seconds)
    return json.dumps({"index": index, "time": time.isoformat(), "text": text}, separators=(",", ":")).encode()


def checkpoint(entries: Sequence[bytes], size: int, tenant: str = "acme") -> str:
    root = merkle.root_of(merkle.leaf_hash(each) for each in entries[:size])
    return sign(Checkpoint(f"probegate/{tenant}", size, root, START), KEY)


def export(entries: Sequence[bytes], sizes: Sequence[int] = (), first: int = 0) -> list[bytes]:
    """The lines of an honest log that was signed at `sizes` and at its end."""
    frontier = merkle.Frontier()
    for each in entries[:first]:
        frontier, _ = frontier.append(merkle.leaf_hash(each))
    notes = [checkpoint(entries, size) for size in sorted({*sizes, len(entries)})]
    header = audit_lines.header_line("acme", frontier, notes, KEY.public_key())
    return [header, *(audit_lines.entry_line(merkle.leaf_hash(each), each) for each in entries[first:])]


def verify(lines: Sequence[bytes], known: Sequence[str] = ()) -> ExportReport:
    return verify_export(lines, KEY.public_key(), known)


def kinds(report: ExportReport) -> list[tuple[ProblemKind, int | None]]:
    return [(problem.kind, problem.index) for problem in report.problems]


ENTRIES = [entry(index) for index in range(20)]


def test_an_untouched_export_is_intact() -> None:
    report = verify(export(ENTRIES, (5, 10)))
    assert report.intact
    assert (report.tenant, report.first, report.entries) == ("acme", 0, 20)
    assert report.checkpoint is not None
    assert report.checkpoint.size == 20
    assert report.complete is None


@given(st.integers(0, 19))
def test_an_export_may_begin_anywhere(first: int) -> None:
    report = verify(export(ENTRIES, (), first))
    assert report.intact
    assert (report.first, report.entries) == (first, 20 - first)


def test_an_export_is_json_lines_for_everybody() -> None:
    parsed = [json.loads(line) for line in export(ENTRIES)]
    assert parsed[0]["format"] == "probegate-audit-export/1"
    assert [line["entry"]["index"] for line in parsed[1:]] == list(range(20))


@given(st.integers(0, 19))
def test_an_altered_entry_is_named(index: int) -> None:
    lines = export(ENTRIES)
    lines[index + 1] = lines[index + 1].replace(b'"text":""', b'"text":"nothing happened"')
    report = verify(lines)
    assert kinds(report) == [(ProblemKind.ALTERED, index)]
    assert f"entry {index} was altered" in report.problems[0].detail


def test_an_entry_altered_together_with_its_hash_is_narrowed_down_by_the_checkpoints() -> None:
    lines = export(ENTRIES, (5, 10, 15))
    forged = entry(12, "nothing happened")
    lines[13] = audit_lines.entry_line(merkle.leaf_hash(forged), forged)
    report = verify(lines)
    assert kinds(report) == [(ProblemKind.ROOT, 10)]
    assert "one or more of the entries 10 to 14" in report.problems[0].detail


def test_an_altered_entry_does_not_hide_another_that_was_altered_with_its_hash() -> None:
    lines = export(ENTRIES, (5, 10))
    lines[3] = lines[3].replace(b'"text":""', b'"text":"x"')
    forged = entry(7, "nothing happened")
    lines[8] = audit_lines.entry_line(merkle.leaf_hash(forged), forged)
    assert kinds(verify(lines)) == [(ProblemKind.ALTERED, 2), (ProblemKind.ROOT, 5)]


@given(st.integers(0, 18))
def test_a_missing_entry_is_named(index: int) -> None:
    lines = export(ENTRIES)
    del lines[index + 1]
    report = verify(lines)
    assert kinds(report) == [(ProblemKind.MISSING, index)]
    assert f"entry {index} is missing" in report.problems[0].detail


def test_several_missing_entries_are_one_problem() -> None:
    lines = export(ENTRIES)
    del lines[4:7]
    assert [problem.detail for problem in verify(lines).problems] == ["entries 3 to 5 are missing"]


@given(st.integers(1, 20))
def test_a_cut_end_is_found(removed: int) -> None:
    report = verify(export(ENTRIES)[:-removed])
    assert kinds(report) == [(ProblemKind.MISSING, 20 - removed)]
    assert "the end was cut off" in report.problems[0].detail


def test_an_entry_that_stands_twice_is_named() -> None:
    lines = export(ENTRIES)
    lines.insert(8, lines[4])
    assert kinds(verify(lines)) == [(ProblemKind.EXTRA, 3)]


def test_entries_in_another_order_are_found() -> None:
    lines = export(ENTRIES)
    lines[4], lines[5] = lines[5], lines[4]
    assert (ProblemKind.MISSING, 3) in kinds(verify(lines))


def test_entries_after_the_last_checkpoint_are_proved_by_nothing() -> None:
    added = entry(20)
    lines = [*export(ENTRIES), audit_lines.entry_line(merkle.leaf_hash(added), added)]
    assert kinds(verify(lines)) == [(ProblemKind.EXTRA, 20)]


def test_a_log_signed_by_another_key_proves_nothing() -> None:
    report = verify_export(export(ENTRIES), Ed25519PrivateKey.generate().public_key())
    assert [problem.kind for problem in report.problems] == [ProblemKind.SIGNATURE, ProblemKind.SIGNATURE]
    assert report.checkpoint is None


def test_a_checkpoint_of_another_tenant_does_not_count() -> None:
    header = audit_lines.header_line(
        "acme", merkle.Frontier(), [checkpoint(ENTRIES, 20, tenant="globex")], KEY.public_key()
    )
    report = verify([header, *export(ENTRIES)[1:]])
    assert "probegate/globex" in report.problems[0].detail


def test_a_clock_that_went_backwards_is_a_warning() -> None:
    entries = [entry(0), entry(1, seconds=100), entry(2, seconds=50)]
    report = verify(export(entries))
    assert report.intact
    assert report.warnings == ("entry 2 is dated before the one in front of it: a clock went backwards",)


def test_a_checkpoint_kept_elsewhere_shows_that_nothing_was_taken_away() -> None:
    assert verify(export(ENTRIES), known=[checkpoint(ENTRIES, 7)]).complete is True


def test_a_log_that_was_rewritten_and_signed_again_contradicts_a_checkpoint_kept_elsewhere() -> None:
    kept = checkpoint(ENTRIES, 7)
    rewritten = [*ENTRIES[:3], entry(3, "nothing happened"), *ENTRIES[4:]]
    report = verify(export(rewritten), known=[kept])
    assert report.complete is False
    assert kinds(report) == [(ProblemKind.REWRITTEN, 0)]


def test_a_log_whose_end_was_removed_and_signed_again_contradicts_a_checkpoint_kept_elsewhere() -> None:
    report = verify(export(ENTRIES[:10]), known=[checkpoint(ENTRIES, 15)])
    assert report.complete is False
    assert kinds(report) == [(ProblemKind.REWRITTEN, 10)]


@given(st.data())
@settings(max_examples=300)
def test_no_byte_of_an_export_can_be_changed_without_being_found(data: st.DataObject) -> None:
    """All bytes count but those that a reader of the verdict does not see: the key that the export claims, spaces."""
    lines = export(ENTRIES[:5], (3,))
    at = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.integers(0, len(lines[at]) - 2))
    if at == 0 and place >= lines[0].index(b'"key"'):
        return
    changed = bytearray(lines[at])
    changed[place] ^= data.draw(st.integers(1, 255))
    lines[at] = bytes(changed)
    report = verify(b"".join(lines).splitlines(keepends=True))
    assert not report.intact


def test_a_leaf_in_capitals_is_another_spelling_and_so_no_leaf() -> None:
    first, line, *rest = export(ENTRIES[:5], (3,))
    leaf = line[9:73]
    assert not verify([first, line.replace(leaf, leaf.upper()), *rest]).intact


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_no_bytes_make_the_verifier_fail(lines: list[bytes]) -> None:
    assert not verify(lines).intact
    assert not verify([export(ENTRIES)[0], *lines]).intact


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b'{"format":"probegate-audit-export/2"}',
        b'{"format":"probegate-audit-export/1","tenant":"a","first":5,"peaks":[],"checkpoints":[]}',
        b'{"format":"probegate-audit-export/1","tenant":"a","first":-1,"peaks":[],"checkpoints":[]}',
        b'{"format":"probegate-audit-export/1","tenant":"a","first":0,"peaks":[],"checkpoints":"x"}',
    ],
)
def test_a_header_that_cannot_be_read_is_one_problem(header: bytes) -> None:
    assert kinds(verify([header])) == [(ProblemKind.FORMAT, None)]


def test_the_key_an_export_names_can_be_read() -> None:
    assert audit_lines.claimed_key(export(ENTRIES)[0]) == KEY.public_key()
