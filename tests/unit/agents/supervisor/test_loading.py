"""What took an agent down while it was being loaded is remembered, until the tracepoint changes."""

from __future__ import annotations

import json

import pytest

from agents.supervisor.loading import MAX_TOMBSTONES, Loading


def died_while_loading(path, tracepoint_id: str = "tp_1", version: int = 3) -> None:
    """The file as a SIGKILL leaves it."""
    loading = Loading(path)
    with loading.entered(tracepoint_id, version):
        kept = path.read_bytes()
    path.write_bytes(kept)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "loading.json"


def test_it_is_on_disk_before_anything_is_loaded_and_gone_afterwards(path):
    loading = Loading(path)
    with loading.entered("tp_1", 3):
        assert json.loads(path.read_text()) == {"tp_1": 3}
    assert json.loads(path.read_text()) == {}
    assert not Loading(path).died_with("tp_1", 3)


def test_a_refusal_of_the_kernel_is_no_death(path):
    loading = Loading(path)
    with pytest.raises(ValueError, match="verifier"), loading.entered("tp_1", 3):
        raise ValueError("verifier")
    assert not Loading(path).died_with("tp_1", 3)


def test_what_was_loading_at_the_death_is_known_in_all_later_lives(path):
    died_while_loading(path)
    for _ in range(3):
        again = Loading(path)
        assert again.died_with("tp_1", 3)
        assert not again.died_with("tp_1", 4)
        with again.entered("tp_2", 1):
            pass


def test_another_version_lifts_it(path):
    died_while_loading(path)
    with Loading(path).entered("tp_1", 4):
        pass
    assert not Loading(path).died_with("tp_1", 3)


def test_several_that_were_loading_at_once_are_all_remembered(path):
    loading = Loading(path)
    with loading.entered("tp_1", 1), loading.entered("tp_2", 2):
        kept = path.read_bytes()
    path.write_bytes(kept)
    again = Loading(path)
    assert again.died_with("tp_1", 1)
    assert again.died_with("tp_2", 2)


def test_it_stays_small(path):
    path.parent.mkdir()
    path.write_text(json.dumps({f"tp_{n}": 1 for n in range(MAX_TOMBSTONES + 10)}))
    with Loading(path).entered("tp_new", 1):
        pass
    assert len(json.loads(path.read_text())) == MAX_TOMBSTONES


def test_a_damaged_file_does_not_stop_the_agent(path):
    path.parent.mkdir()
    path.write_text("[")
    assert not Loading(path).died_with("tp_1", 3)
