"""A reviewer's look on the host: some masked rows, nothing left behind. And builds that are locked, from the first moment."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from wire.dsse import key_id

from agents.admission.model import AdmittedDryRun, HostPolicy, RefusalReason, Refused
from agents.admission.seen_versions import SeenVersions
from agents.admission.service import Admission, Identity
from agents.stages.locked_builds import MAX_LOCKED, LockedBuilds
from agents.supervisor import dry_run
from language.model import LimitSpec
from tests.builders.probes import FakeHost
from tests.builders.specs import ME, envelope, spec, template


@pytest.fixture
def host(tmp_path):
    made = FakeHost(tmp_path)
    made.start(7)
    return made


def look_at(max_hits: int = 10) -> AdmittedDryRun:
    """What admission would let through; signatures and bounds are its own tests'."""
    key = Ed25519PrivateKey.generate()
    keys = {key_id(key.public_key()): key.public_key()}
    made = template(limits=LimitSpec(max_hits=max_hits))
    with tempfile.TemporaryDirectory() as folder:
        gate = Admission(Identity("acme", ME), keys, HostPolicy(), SeenVersions(Path(folder) / "seen.json"))
        return AdmittedDryRun(gate.admit(envelope(spec(made), key)), "staging")


def calling(host: FakeHost, *numbers: int) -> threading.Thread:
    """The program calls the function as soon as it is probed."""

    def call() -> None:
        while not host.in_kernel:
            time.sleep(0.001)
        host.in_kernel[0].fire(*numbers)

    thread = threading.Thread(target=call)
    thread.start()
    return thread


def test_rows_come_back_and_nothing_stays(host) -> None:
    admitted = look_at(max_hits=3)
    thread = calling(host, 1, 2, 3)
    found = dry_run.look(host.prober(), admitted)
    thread.join()
    assert found.batch is not None
    assert found.batch.columns.column("n").to_pylist() == [1, 2, 3]
    assert (found.accounting.hits, found.accounting.delivered) == (3, 3)
    assert host.in_kernel == []


def test_no_call_is_an_answer_too(host, monkeypatch) -> None:
    monkeypatch.setattr(dry_run, "LOOK_SECONDS", 0.0)
    found = dry_run.look(host.prober(), look_at())
    assert (found.batch, found.accounting.hits, host.in_kernel) == (None, 0, [])


def test_a_locked_build_is_never_armed(host) -> None:
    prober = host.prober()
    prober.locked.replace(["ab"])
    with pytest.raises(Refused) as refused:
        dry_run.look(prober, look_at())
    assert (refused.value.reason, host.armed, host.compilations) == (RefusalReason.LOCKED, [], 0)


def test_locks_are_replaced_as_a_whole_and_too_many_lock_all() -> None:
    locked = LockedBuilds()
    locked.replace(["ab", "cd"])
    assert (locked.holds("ab"), locked.holds("ef")) == (True, False)
    locked.replace([])
    assert not locked.holds("ab")
    locked.replace([str(number) for number in range(MAX_LOCKED + 1)])
    assert locked.holds("ab")
