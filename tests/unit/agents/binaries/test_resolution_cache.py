"""The cache gives back what was put, or nothing."""

import stat

import pytest

from agents.absence import Absent, Reason
from agents.binaries.model import InMemory, InRegister, Piece, Register, TypeId, Variable
from agents.binaries.resolution_cache import ResolutionCache

VALUE = (
    Variable("a", TypeId(-7), (Piece(0, 8, InRegister(Register.RAX)), Piece(8, 8, InMemory(Register.RSP, -16)))),
    Variable("b", TypeId(7), Absent(Reason.OPTIMISED_OUT, "gone")),
)


@pytest.fixture
def cache(tmp_path):
    return ResolutionCache(tmp_path / "binaries")


def entry_of(tmp_path):
    (entry,) = (tmp_path / "binaries").glob("*.json")
    return entry


def test_what_was_put_is_given_back_equal(cache):
    cache.put("key", VALUE)

    assert cache.get("key") == VALUE


def test_another_key_is_a_miss(cache):
    cache.put("key", VALUE)

    assert cache.get("other") is None


def test_every_damaged_byte_is_a_miss(cache, tmp_path):
    cache.put("key", VALUE)
    entry = entry_of(tmp_path)
    whole = entry.read_bytes()

    for at in range(len(whole)):
        entry.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert cache.get("key") is None


def test_an_entry_under_another_name_is_a_miss(cache, tmp_path):
    cache.put("key", VALUE)
    whole = entry_of(tmp_path).read_bytes()
    cache.put("other", ())
    for entry in (tmp_path / "binaries").glob("*.json"):
        entry.write_bytes(whole)

    assert cache.get("other") is None


def test_only_the_agent_may_read_it(cache, tmp_path):
    cache.put("key", VALUE)

    assert stat.S_IMODE(entry_of(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "binaries").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path):
    (tmp_path / "binaries").write_text("a file in the way")
    cache = ResolutionCache(tmp_path / "binaries")

    cache.put("key", VALUE)

    assert cache.get("key") is None
