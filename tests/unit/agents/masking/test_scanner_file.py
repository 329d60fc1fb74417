"""The compiled scanner on disk: the same answers in a hundredth of the time, and no trust in a file that is not ours."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from agents.masking import scanner_file
from agents.masking.scanning import Deferred, NoVectorscan, Vectorscan

MADE_OF = scanner_file.fingerprint("engine 1", ["a+", "b"])
TEXTS = pa.array(["nothing", "card 4111 1111 1111 1111", "a@example.com", "10.0.0.1 and 10.0.0.2"])
FEW_PATTERNS = (r"[0-9]{4}", r"[a-z]+@[a-z]+", r"\.[0-9]")


@pytest.fixture
def folder(tmp_path):
    scanner_file.keep(tmp_path / "cache", MADE_OF, b"engine")
    return tmp_path / "cache"


def test_what_was_kept_comes_back(folder):
    assert scanner_file.kept(folder, MADE_OF) == b"engine"
    assert (folder.stat().st_mode & 0o777, (folder / scanner_file.FILE).stat().st_mode & 0o777) == (0o700, 0o600)


@pytest.mark.parametrize(
    ("engine", "patterns"), [("engine 2", ["a+", "b"]), ("engine 1", ["a+b"]), ("engine 1", ["b", "a+"])]
)
def test_what_was_made_of_anything_else_is_not_used(folder, engine, patterns):
    assert scanner_file.kept(folder, scanner_file.fingerprint(engine, patterns)) is None


def test_every_process_makes_the_same_triggers():
    code = "from agents.masking.scanning import TRIGGERS; print(TRIGGERS)"
    printed = {
        subprocess.check_output([sys.executable, "-c", code], env={"PYTHONPATH": ".:proto", "PYTHONHASHSEED": seed})
        for seed in "12"
    }
    assert len(printed) == 1


def test_a_damaged_file_is_a_miss_at_every_byte(folder):
    path = folder / scanner_file.FILE
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert scanner_file.kept(folder, MADE_OF) is None
        path.write_bytes(whole[:place])
        assert scanner_file.kept(folder, MADE_OF) is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_a_miss(folder, mode):
    (folder / scanner_file.FILE).chmod(mode)
    assert scanner_file.kept(folder, MADE_OF) is None


def test_a_link_to_a_file_is_a_miss(folder, tmp_path):
    path = folder / scanner_file.FILE
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert scanner_file.kept(folder, MADE_OF) is None


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(tmp_path):
    (tmp_path / "file").write_text("no folder")
    scanner_file.keep(tmp_path / "file", MADE_OF, b"engine")
    assert scanner_file.kept(tmp_path / "file", MADE_OF) is None


def test_a_loaded_scanner_answers_as_the_compiled_one():
    compiled = Vectorscan.compiled(FEW_PATTERNS)
    loaded = Vectorscan.loaded(compiled.serialised())
    assert loaded.bits(TEXTS) == compiled.bits(TEXTS) != {}


@pytest.mark.parametrize("cut", [0, 10, 1000])
def test_bytes_that_are_no_engine_are_refused(cut):
    with pytest.raises(NoVectorscan):
        Vectorscan.loaded(Vectorscan.compiled(FEW_PATTERNS).serialised()[:cut])


def test_the_next_start_reads_what_this_one_compiled(tmp_path):
    first, second = Deferred(patterns=FEW_PATTERNS), Deferred(patterns=FEW_PATTERNS)
    first.kept_in(tmp_path)
    first.prepare()
    written = (tmp_path / scanner_file.FILE).stat()
    second.kept_in(tmp_path)
    second.prepare()
    assert (tmp_path / scanner_file.FILE).stat() == written
    assert second.bits(TEXTS) == first.bits(TEXTS) != {}


def test_a_kept_engine_that_does_not_load_is_compiled_again(tmp_path):
    made_of = scanner_file.fingerprint(f"hyperscan {__import__('hyperscan').__version__}", FEW_PATTERNS)
    scanner_file.keep(tmp_path, made_of, b"of another processor")
    one = Deferred(patterns=FEW_PATTERNS)
    one.kept_in(tmp_path)
    one.prepare()
    assert one.bits(TEXTS)
    assert Vectorscan.loaded(scanner_file.kept(tmp_path, made_of)).bits(TEXTS) == one.bits(TEXTS)
