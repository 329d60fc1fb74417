"""Check an audit export without asking anybody: the file, a public key, and checkpoints kept from earlier.

The proof is `wire.audit_export`'s; here the file is read and the report put into words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from wire import audit_lines
from wire.audit_export import ExportReport, verify_export

from client.sdk.errors import BadExport


@dataclass(frozen=True)
class Verification:
    """What was found. `holds` is the verdict; `lines()` is for people."""

    report: ExportReport
    key_was_given: bool

    @property
    def holds(self) -> bool:
        return self.report.intact and self.report.complete is not False

    def lines(self) -> list[str]:
        report = self.report
        verdict = "VERIFIED" if self.holds else "NOT VERIFIED"
        said = [f"{verdict}: {report.entries} entries of {report.tenant}, from entry {report.first}"]
        if report.checkpoint is not None:
            said.append(f"signed at {report.checkpoint.size} entries, root {report.checkpoint.root.hex()}")
        whose = (
            "the key you gave" if self.key_was_given else "the key that the export names itself: compare it with yours"
        )
        said.append(f"by {report.key_id} ({whose})")
        if report.complete is None:
            said.append("completeness not judged: give earlier checkpoints with --checkpoint")
        said += [f"problem ({problem.kind}): {problem.detail}" for problem in report.problems]
        said += [f"warning: {warning}" for warning in report.warnings]
        return said


def verify_file(file: Path, key_hex: str = "", checkpoints: Sequence[Path] = ()) -> Verification:
    """Verify an export. Raises BadExport for a file, a key or a checkpoint that cannot be read at all."""
    try:
        known = [path.read_text() for path in checkpoints]
        with file.open("rb") as lines:
            key = _key(key_hex) if key_hex else audit_lines.claimed_key(lines.readline())
            lines.seek(0)
            return Verification(verify_export(lines, key, known), bool(key_hex))
    except OSError as problem:
        raise BadExport(f"cannot read {problem.filename}: {problem.strerror}") from problem
    except ValueError as problem:
        raise BadExport(f"{file} is not an audit export: {problem}") from problem


def _key(text: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    except ValueError as problem:
        raise BadExport(f"--key is 64 hex digits of an Ed25519 public key, not {text!r}") from problem
