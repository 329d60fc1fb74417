"""A private key that is made once, that only we can read, and that is refused when others could."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from control_plane.signing.key_file import BadKeyFile, KeyFile


def test_the_first_start_makes_a_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "spec-ed25519.key"
    key = KeyFile(path).load_or_create()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert bytes.fromhex(path.read_text().strip()) == key.private_bytes_raw()
    assert [each.name for each in path.parent.iterdir()] == ["spec-ed25519.key"]


def test_every_later_start_reads_the_same_key(tmp_path: Path) -> None:
    first, second = (KeyFile(tmp_path / "a.key").load_or_create() for _ in range(2))
    assert first.private_bytes_raw() == second.private_bytes_raw()


def test_starts_at_the_same_time_agree_on_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        keys = list(threads.map(lambda _: KeyFile(tmp_path / "a.key").load_or_create().private_bytes_raw(), range(8)))
    assert len(set(keys)) == 1


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    KeyFile(path).load_or_create()
    path.chmod(0o640)
    with pytest.raises(BadKeyFile, match="mode 0640"):
        KeyFile(path).load_or_create()


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "00" * 33, "00" * 32 + "\n\nmore"])
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.key"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(BadKeyFile, match="64 hex digits"):
        KeyFile(path).load_or_create()
